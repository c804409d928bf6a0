"""GeM with one exponent per channel, ``GeMmp`` in cirtorch.

Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018, eq. 3.
"""

import torch
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gem import generalised_mean


@register_pooling("gemmp")
class GeMPerChannel(Pooling):
    """Generalised mean with exponents `p` of shape ``(C,)``.

    Args:
        p: initial value of all exponents.
        eps: the least value of a position.
        learnable: whether `p` is trained.
    """

    def __init__(self, in_channels: int, p: float = 3.0, eps: float = 1e-6, learnable: bool = True):
        super().__init__()
        self.out_channels = in_channels
        self.eps = eps
        self.p = nn.Parameter(torch.full((in_channels,), float(p)), requires_grad=learnable)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return generalised_mean(feature_map, self.p.view(1, -1, 1, 1), self.eps)
