"""Hide-and-Seek on feature maps: positions vanish in training, more of them as it goes on.

Lee et al., "Correlation Verification for Image Retrieval", CVPR 2022, drop positions of the feature map, each of which
stands for a region of the image (after Singh and Lee, "Hide-and-Seek", ICCV 2017). Which maps are hidden, the value put
in place, and how the probability grows are not known from published code: every image hides positions of its own, they
become 0, and the probability is linear in the progress of training.
"""

import torch
from torch import Tensor

from retrieval_bench.settings.errors import InputError


def hide_positions(maps: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Set positions of feature maps to 0.

    Args:
        maps: ``(B, C, h, w)``.
        share: probability of each position of each map, in [0, 1).
        generator: of the choice, on the device of the maps; None takes torch's own.

    Returns:
        ``(B, C, h, w)``; what is kept is not rescaled.

    Raises:
        InputError: a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise InputError(f"the share of hidden positions must be in 0 .. 1, 1 excluded, got {share}")
    if share == 0:
        return maps
    kept = torch.rand((len(maps), 1, *maps.shape[-2:]), generator=generator, device=maps.device) >= share
    return maps * kept.to(maps.dtype)


def hide_share(progress: float, start: float = 0.0, end: float = 0.5) -> float:
    """The share to hide at a point of training; from `start` to `end` it grows linearly.

    Args:
        progress: 0 at the beginning of training, 1 at its end.
        start, end: unverified, as the form.

    Raises:
        InputError: a progress outside [0, 1], or shares outside [0, 1).
    """
    if not 0 <= progress <= 1:
        raise InputError(f"the progress of training must be in 0 .. 1, got {progress}")
    if not (0 <= start < 1 and 0 <= end < 1):
        raise InputError(f"the share of hidden positions must be in 0 .. 1, 1 excluded, got {start} to {end}")
    return start + (end - start) * progress
