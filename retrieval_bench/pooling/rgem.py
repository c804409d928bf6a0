"""Regional-GeM: every position is averaged with the generalised mean of its neighbourhood, then positions are pooled.

Shao et al., "Global Features are All You Need for Image Retrieval and Reranking" (SuperGlobal), ICCV 2023, section 3;
the published code sums windows of ``x / n^(1/p)``, which is the mean taken here.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gemp import mean_over_positions
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError

LEAST = 1e-36
"""Windows whose mean power is below this, relative to the channel's peak, count as zero: a root has no slope there."""


def reflected(length: int, margin: int) -> Tensor:
    """``(length + 2 * margin,)`` positions of a line that is continued by reflection about its ends.

    Where `margin` is smaller than `length` this is ``reflect`` padding; on a shorter line, where torch refuses, the
    reflection goes on to and fro, and a single position repeats.
    """
    period = max(1, 2 * (length - 1))
    folded = torch.arange(-margin, length + margin) % period
    return torch.minimum(folded, period - folded) if length > 1 else folded


def regional_gem(feature_map: Tensor, p: float = 2.5, size: int = 5) -> Tensor:
    """``(x + (mean over a window of x^p)^(1/p)) / 2`` at every position, with the map reflected at its border.

    Args:
        feature_map: ``(B, C, H, W)``; negative values count as 0. Any H and W from 1 up: the published code needs more
            than ``size // 2`` of each and is equalled there, smaller maps are continued as in `reflected`.
        p: exponent, from 1 up.
        size: side of the window, odd.

    Returns:
        ``(B, C, H, W)``, in the dtype of `feature_map`; the powers are taken in float32 at least.
    """
    values = at_least_float32(feature_map).clamp(min=0)
    # Powers of values scaled to [0, 1] stay in range.
    peak = values.detach().amax(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    powers = (values / peak).pow(p)
    for dim in (-2, -1):
        powers = powers.index_select(dim, reflected(powers.shape[dim], size // 2).to(powers.device))
    means = F.avg_pool2d(powers, size, stride=1)
    positive = means > LEAST
    roots = torch.where(positive, means, 1).pow(1 / p) * positive
    return (0.5 * (values + peak * roots)).to(feature_map.dtype)


@register_pooling("rgem")
class RegionalGeMMap(Pooling):
    """Regional-GeM (Shao et al., ICCV 2023), then a generalised mean over positions.

    ``(mean over positions of y^p)^(1/p)`` with ``y = (x + (mean over a window about x of x^pr)^(1/pr)) / 2``.

    Args:
        pr: exponent of the regional means, from 1 up; SuperGlobal's is 2.5.
        size: side of their windows, odd.
        then: ``"gemp"`` (fixed exponent) or ``"gem"`` (trained exponent) over positions.
        p: exponent of that; None is its own default, 4.6 or 3.

    Raises:
        InputError: an exponent below 1 or a size that is not odd.
    """

    def __init__(
        self,
        in_channels: int,
        pr: float = 2.5,
        size: int = 5,
        then: Literal["gem", "gemp"] = "gemp",
        p: float | None = None,
    ):
        super().__init__()
        if not 1 <= pr < float("inf"):
            raise InputError(f"pooling.pr, the regional exponent, must be a number from 1 up, got {pr}")
        if size < 1 or size % 2 == 0:
            raise InputError(f"pooling.size, the side of a window, must be odd and at least 1, got {size}")
        self.out_channels = in_channels
        self.pr = pr
        self.size = size
        self.then = mean_over_positions(in_channels, then, p)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return self.then(regional_gem(feature_map, self.pr, self.size))
