"""Cross-scale correlation of two feature maps, CVNet's input to its 4D convolutions.

Every position of one image is compared with every position of the other, at each pair of three scales; all volumes are
resized to that of the full scale and their negative values dropped. Resizing is linear in the features of either image,
so they are normalised and resized once per image here, which gives the same volumes as resizing these, and any part of
them without the rest.

Source: Lee et al., "Correlation Verification for Image Retrieval", CVPR 2022, sec. 3.2; sungonce/CVNet
``model/base/correlation.py``.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.pooling.precision import at_least_float32

AREAS = (0.25, 0.5, 1.0)
"""Areas of the scales, relative to the feature map; sides go with the root."""

EPS = 1e-8
"""Of the published cosine, ``q . k / (|q| |k| + EPS)``."""


def scaled_size(height: int, width: int, area: float) -> tuple[int, int]:
    """``(h, w)`` of a map resized to a share of its area.

    Halves round to the even number, as published; a side never falls below 1, where the published code fails.
    """
    sides = (max(1, round(side * math.sqrt(area))) for side in (height, width))
    return next(sides), next(sides)


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B, C, h, w)`` -> ``(B, C, *size)``, bilinear with corners aligned."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=True)


def unit_features(maps: Tensor) -> Tensor:
    """``(B, C, h, w)`` -> the same at unit L2 norm over channels, which is taken in float32 at least; zero stays zero.

    Published cosines add `EPS` to the product of two norms. Adding it under the root of either squared norm gives the
    same where the two norms are equal, and otherwise differs by less than ``EPS / (2 n^2)``, n the smaller norm.
    """
    exact = at_least_float32(maps)
    return (exact * (exact.square().sum(dim=1, keepdim=True) + EPS).rsqrt()).to(maps.dtype)


def aligned_levels(levels: list[Tensor]) -> Tensor:
    """Features at S scales, the last one the largest -> ``(B, S, C, h, w)``, unit norm, all of the largest size.

    The norm is taken before resizing; features in between are shorter than 1, as published.
    """
    size = (levels[-1].shape[-2], levels[-1].shape[-1])
    return torch.stack([resized(unit_features(level), size) for level in levels], dim=1)


def correlate(pivots: Tensor, planes: Tensor) -> Tensor:
    """Compare chosen positions of one image with all positions of another.

    Args:
        pivots: ``(B, S, C, m)`` features of m positions, or ``(1, S, C, m)`` for all pairs.
        planes: ``(B, S, C, h, w)`` features, or ``(1, S, C, h, w)`` for all pairs.

    Returns:
        ``(B, m, S * S, h, w)`` cosines, negative ones set to 0; the scale of the pivot counts first: channel
        ``S * pivot scale + plane scale``.
    """
    _, scales, channels, height, width = planes.shape
    left = pivots.permute(0, 3, 1, 2).reshape(len(pivots), -1, channels)
    right = planes.transpose(1, 2).reshape(len(planes), channels, -1)
    cosines = (left @ right).relu_()
    return cosines.view(len(cosines), -1, scales * scales, height, width)
