"""MAC: the maximum over positions (Tolias, Sicre and Jégou, "Particular Object Retrieval ...", ICLR 2016)."""

from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling


@register_pooling("mac")
class MAC(Pooling):
    """The maximum over positions. Equal maxima share the gradient."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.out_channels = in_channels

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return feature_map.amax(dim=(-2, -1))
