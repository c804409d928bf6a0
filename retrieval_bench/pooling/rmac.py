"""R-MAC: maxima over a grid of regions, each normalised, then summed.

Tolias, Sicre and Jégou, "Particular Object Retrieval with Integral Max-Pooling of CNN Activations", ICLR 2016, sec. 4.
As in cirtorch, the whole map counts as one more region, and the sum is taken without whitening the regions.
"""

from typing import ClassVar

from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.normalise import l2_normalise
from retrieval_bench.pooling.option_checks import check_counts, check_positive
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.pooling.regions import region_grid


def regional_maxima(feature_map: Tensor, levels: int, eps: float = 1e-6) -> Tensor:
    """``(B, C, H, W)`` -> ``(B, C)``: the sum of L2-normalised maxima of the whole map and of `levels` of regions."""
    values = at_least_float32(feature_map)
    height, width = values.shape[-2:]
    total = l2_normalise(values.amax(dim=(-2, -1)), eps=eps)
    for top, left, side in region_grid(height, width, levels):
        region = values[..., top : top + side, left : left + side]
        total = total + l2_normalise(region.amax(dim=(-2, -1)), eps=eps)
    return total.to(feature_map.dtype)


@register_pooling("rmac")
class RMAC(Pooling):
    """R-MAC, the sum of normalised regional maxima (Tolias et al., ICLR 2016).

    ``sum over regions r of m_r / (|m_r| + eps)`` with ``m_r = max over the positions of r of x``.

    Args:
        levels: of the region grid; more levels have smaller regions.
        eps: added to the norms.

    Raises:
        InputError: fewer than one level, or an eps that is not positive.
    """

    order_matters: ClassVar[bool | None] = True

    def __init__(self, in_channels: int, levels: int = 3, eps: float = 1e-6):
        super().__init__()
        check_counts(levels=levels)
        check_positive(eps=eps)
        self.out_channels = in_channels
        self.levels = levels
        self.eps = eps

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return regional_maxima(feature_map, self.levels, self.eps)
