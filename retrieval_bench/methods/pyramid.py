"""The image pyramid: one image batch at several scales."""

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.methods.grey_levels import resize_grey_levels
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol


def image_pyramid(images: Tensor, scales: Sequence[float], protocol: Protocol) -> Iterator[tuple[float, Tensor]]:
    """(scale, images at that scale) for every scale that the protocol keeps.

    Scales at which a side falls below ``small_side`` are left out (SpCa, ``extract_vectors``); where none is left, the
    image is enlarged until its shorter side has ``small_target`` pixels.

    Args:
        images: ``(B, 3, H, W)`` RGB in [0, 1].
        scales: at least one.

    Raises:
        InputError: no scale, or one that is not positive.
    """
    if not scales:
        raise InputError("scales must hold at least one image scale; None is the published protocol")
    for scale in scales:
        if scale <= 0:
            raise InputError(f"an image scale must be positive, got {scale}")
    kept = [scale for scale in scales if min(sides_at(images, scale, protocol)) >= protocol.small_side]
    for scale in kept or [protocol.small_target / min(images.shape[-2:])]:
        yield scale, resize_to_scale(images, scale, protocol)


def sides_at(images: Tensor, scale: float, protocol: Protocol) -> list[int]:
    """Height and width of ``(B, 3, H, W)`` images at a scale, at least 1: rounded half to even, or rounded down."""
    if protocol.scale_resize in ("size", "cv2-area"):
        return [max(1, round(side * scale)) for side in images.shape[-2:]]
    return [max(1, int(side * scale)) for side in images.shape[-2:]]


def resize_to_scale(images: Tensor, scale: float, protocol: Protocol) -> Tensor:
    """Resize ``(B, 3, H, W)`` RGB images in [0, 1] by `scale`, as ``scale_resize`` says.

    ``size`` and ``truncate`` sample like ``cv2.resize`` (INTER_LINEAR) to the sides of `sides_at`,
    ``truncate-antialias`` like torchvision's tensor resize; ``scale-factor`` keeps the grid of
    ``F.interpolate(scale_factor=scale)``, as cirtorch does; ``cv2-area``: see `resize_grey_levels`.
    """
    sides = sides_at(images, scale, protocol)
    if scale == 1:
        return images
    if protocol.scale_resize == "cv2-area":
        return resize_grey_levels(images, scale, sides)
    if protocol.scale_resize == "scale-factor" and min(images.shape[-2:]) * scale >= 1:
        return F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
    if sides == list(images.shape[-2:]):
        return images
    antialias = protocol.scale_resize == "truncate-antialias"
    return F.interpolate(images, size=sides, mode="bilinear", align_corners=False, antialias=antialias)
