"""GeM+: the generalised mean with a fixed, larger exponent, chosen after training.

Shao et al., "Global Features are All You Need for Image Retrieval and Reranking" (SuperGlobal), ICCV 2023, section 3.
"""

from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gem import generalised_mean


@register_pooling("gemp")
class GeMPlus(Pooling):
    """Generalised mean with a fixed exponent.

    Args:
        p: the exponent; SuperGlobal's is 4.6.
        eps: the least value of a position.
    """

    def __init__(self, in_channels: int, p: float = 4.6, eps: float = 1e-8):
        super().__init__()
        self.out_channels = in_channels
        self.p = p
        self.eps = eps

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return generalised_mean(feature_map, self.p, self.eps)
