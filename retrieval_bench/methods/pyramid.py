"""The image pyramid of descriptors: resizing to a scale and merging over scales."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol


def resize_to_scale(images: Tensor, scale: float, protocol: Protocol) -> Tensor:
    """Resize ``(B, 3, H, W)`` by `scale`, bilinear without antialias.

    ``scale_resize="size"`` rounds the sides half to even and samples like ``cv2.resize`` (INTER_LINEAR);
    ``"scale-factor"`` floors them and keeps the grid of ``F.interpolate(scale_factor=scale)``, as cirtorch does.
    No side falls below ``minimum_side``, nor below one pixel.

    Raises:
        InputError: a scale that is not positive.
    """
    if scale <= 0:
        raise InputError(f"an image scale must be positive, got {scale}")
    height, width = images.shape[-2:]
    exact = protocol.scale_resize == "size"
    sides = [round(side * scale) if exact else int(side * scale) for side in (height, width)]
    if min(sides) < protocol.minimum_side:
        grow = protocol.minimum_side / min(height * scale, width * scale)
        sides = [max(protocol.minimum_side, round(side * scale * max(1.0, grow))) for side in (height, width)]
    elif not exact and scale != 1:
        return F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
    if sides == [height, width]:
        return images
    return F.interpolate(images, size=sides, mode="bilinear", align_corners=False)


def merge_scales(parts: Sequence[Tensor], exponent: float = 1.0) -> Tensor:
    """Merge unit descriptors ``(B, D)`` of several scales into one ``(B, D)`` of unit norm.

    The power mean ``(mean v^p)^(1/p)`` over scales, then L2; p = 1 is the plain mean. Source: Radenović et al., TPAMI
    2018, and cirtorch ``extract_ms``. With p other than 1 descriptors must not be negative.
    """
    if len(parts) == 1:
        return F.normalize(parts[0], dim=1)
    stacked = torch.stack(list(parts))  # (S, B, D)
    if exponent == 1:
        return F.normalize(stacked.mean(dim=0), dim=1)
    return F.normalize(stacked.clamp(min=0).pow(exponent).mean(dim=0).pow(1 / exponent), dim=1)
