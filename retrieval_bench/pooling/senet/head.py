"""SENet's head as a pooling: a map is enriched by its own self-similarity, then pooled.

Lee et al., "Revisiting Self-Similarity: Structural Embedding for Image Retrieval", CVPR 2023; sungonce/SENet.
"""

from typing import ClassVar

from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gem import exponent, generalised_mean
from retrieval_bench.pooling.senet.structure import StructuralModule


@register_pooling("senet")
class SENetPooling(Pooling):
    """Self-similarity encoding, then GeM (Lee et al., CVPR 2023).

    ``GeM(FFN(x + BN(W_2 e(s))))``, with s the products of the unit vectors of W_1 x with those around them, and e small
    convolutions over that neighbourhood. The enriched map is signed; the mean counts what lies below zero as zero.

    Args:
        mid_dim, unfold_size, kernel_size: of the structural module, see `StructuralModule`.
        p: (initial) exponent of the generalised mean.
        learnable: whether it is trained; the published one is fixed.

    Raises:
        InputError: sizes that leave nothing of the neighbourhood, or an exponent that is not positive.
    """

    order_matters: ClassVar[bool | None] = True

    def __init__(
        self,
        in_channels: int,
        mid_dim: int = 256,
        unfold_size: int = 7,
        kernel_size: int = 3,
        p: float = 3.0,
        learnable: bool = False,
    ):
        super().__init__()
        self.out_channels = in_channels
        self.structure = StructuralModule(in_channels, mid_dim, unfold_size, kernel_size)
        self.p = exponent(p, learnable)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return generalised_mean(self.structure(feature_map), self.p).to(feature_map.dtype)
