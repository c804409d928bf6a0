"""MAC: the maximum over positions (Tolias, Sicre and Jégou, "Particular Object Retrieval ...", ICLR 2016)."""

from typing import ClassVar

from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling


@register_pooling("mac")
class MAC(Pooling):
    """MAC, ``max over positions of x`` (Tolias et al., ICLR 2016). Equal maxima share the gradient."""

    order_matters: ClassVar[bool | None] = False

    def __init__(self, in_channels: int):
        super().__init__()
        self.out_channels = in_channels

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return feature_map.amax(dim=(-2, -1))
