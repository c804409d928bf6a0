"""``cv2.resize(image, (0, 0), fx=s, fy=s)`` of 8-bit images, in torch: INTER_AREA below scale 1, INTER_LINEAR above.

CVNet's and SENet's loaders resize so. OpenCV steps by ``1/s`` exactly, whatever the rounded side, and rounds its
results to whole grey levels; its bilinear kernel has 11-bit weights. Both are kept: a descriptor tells them apart.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

WEIGHT = 2048
"""One, in the fixed-point weights of the bilinear kernel."""

LEAST_SHARE = 1e-3
"""Of a pixel at the edge of a cell: what OpenCV leaves out."""


def resize_grey_levels(images: Tensor, scale: float, sides: Sequence[int]) -> Tensor:
    """Resize images as OpenCV does.

    Args:
        images: ``(B, 3, H, W)`` in [0, 1]; rounded to whole grey levels first.
        scale: fx and fy.
        sides: height and width of the result.

    Returns:
        ``(B, 3, h, w)`` in [0, 1], whole grey levels / 255.
    """
    levels = (images * 255).round().clamp(0, 255)
    resized = area(levels, scale, sides) if scale < 1 else bilinear(levels, scale, sides)
    return resized.to(images.dtype) / 255


def area(levels: Tensor, scale: float, sides: Sequence[int]) -> Tensor:
    """The mean over each cell of ``1/scale`` pixels: ``(B, 3, H, W)`` grey levels -> ``(B, 3, h, w)``."""
    rows, columns = (
        _cells(before, after, 1 / scale).to(levels) for before, after in zip(levels.shape[-2:], sides, strict=True)
    )
    mean = torch.einsum("hy,bcyx,wx->bchw", rows, levels, columns)
    rounded = mean.round()
    if scale == 0.5:
        # OpenCV rounds halves of whole 2 x 2 cells up, and all others to even.
        height, width = (side // 2 for side in levels.shape[-2:])
        rounded[..., :height, :width] = (mean[..., :height, :width] + 0.5).floor()
    return rounded


def _cells(before: int, after: int, step: float) -> Tensor:
    """``(after, before)``: the share of each pixel in each cell."""
    shares = torch.zeros(after, before)
    for cell in range(after):
        start = cell * step
        end = start + step
        width = min(step, before - start)
        last = min(math.floor(end), before - 1)
        first = min(math.ceil(start), last)
        if first - start > LEAST_SHARE:
            shares[cell, first - 1] = (first - start) / width
        shares[cell, first:last] = 1 / width
        if end - last > LEAST_SHARE:
            shares[cell, last] = min(end - last, 1.0, width) / width
    return shares


def bilinear(levels: Tensor, scale: float, sides: Sequence[int]) -> Tensor:
    """Fixed-point bilinear interpolation: ``(B, 3, H, W)`` grey levels -> ``(B, 3, h, w)``."""
    (top, bottom, down), (left, right, along) = (
        _neighbours(before, after, 1 / scale, levels.device)
        for before, after in zip(levels.shape[-2:], sides, strict=True)
    )
    whole = levels.to(torch.int32)
    across = (whole[..., left] * (WEIGHT - along) + whole[..., right] * along) >> 4  # (B, 3, H, w)
    upper = (across[..., top, :] * (WEIGHT - down)[:, None]) >> 16
    lower = (across[..., bottom, :] * down[:, None]) >> 16
    return ((upper + lower + 2) >> 2).clamp(0, 255)


def _neighbours(before: int, after: int, step: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each position its two neighbours, which are the same at the border, and the weight of the second."""
    centres = ((torch.arange(after, dtype=torch.float64) + 0.5) * step - 0.5).float()
    first = centres.floor()
    weight = ((centres - first) * WEIGHT).round().to(torch.int32)
    neighbours = (first + side for side in (0, 1))
    lower, upper = (row.clamp(0, before - 1).long().to(device) for row in neighbours)
    return lower, upper, weight.to(device)
