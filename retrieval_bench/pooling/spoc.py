"""SPoC: the mean over positions (Babenko and Lempitsky, "Aggregating Deep Convolutional Features", ICCV 2015)."""

from typing import ClassVar

from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.precision import at_least_float32


@register_pooling("spoc")
class SPoC(Pooling):
    """SPoC, ``mean over positions of x`` (Babenko and Lempitsky, ICCV 2015), without the centre prior of the paper."""

    order_matters: ClassVar[bool | None] = False

    def __init__(self, in_channels: int):
        super().__init__()
        self.out_channels = in_channels

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return at_least_float32(feature_map).mean(dim=(-2, -1)).to(feature_map.dtype)
