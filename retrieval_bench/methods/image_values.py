"""The images that methods take: RGB, `uint8` or float in [0, 1]."""

from torch import Tensor, uint8

from retrieval_bench.settings.errors import InputError


def require_rgb(images: Tensor) -> None:
    """Refuse what has not the shape ``(B, 3, H, W)``, B, H and W from 1 up."""
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise InputError(f"images must be (B, 3, H, W) RGB, got shape {tuple(images.shape)}")


def as_unit_range(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1].

    Raises:
        InputError: values that are neither `uint8` nor floats of that range.
    """
    if images.dtype == uint8:
        return images.float() / 255
    if not images.dtype.is_floating_point:
        raise InputError(f"images must be uint8 or float in [0, 1], got {str(images.dtype).removeprefix('torch.')}")
    low, high = images.aminmax()
    # Resampling may overshoot [0, 1] a little; 0..255 or already normalised values lie far outside.
    if not (float(low) >= -1 and float(high) <= 2):
        raise InputError(
            f"float images must be RGB in [0, 1], got values from {float(low):.3g} to {float(high):.3g}; "
            "give uint8 or divide by 255, and leave normalisation to the method"
        )
    return images.float()
