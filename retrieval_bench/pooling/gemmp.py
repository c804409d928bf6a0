"""GeM with one exponent per channel, ``GeMmp`` in cirtorch.

Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018, eq. 3.
"""

from typing import ClassVar

from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gem import exponent, generalised_mean
from retrieval_bench.pooling.option_checks import check_positive


@register_pooling("gemmp")
class GeMPerChannel(Pooling):
    """GeM with one exponent per channel (Radenović et al., TPAMI 2018).

    ``(mean over positions of max(x_c, eps)^p_c)^(1/p_c)``.

    Args:
        p: initial value of all exponents, a parameter of shape ``(C,)``.
        eps: the least value of a position.
        learnable: whether `p` is trained.

    Raises:
        InputError: an exponent or eps that is not positive.
    """

    order_matters: ClassVar[bool | None] = False

    def __init__(self, in_channels: int, p: float = 3.0, eps: float = 1e-6, learnable: bool = True):
        super().__init__()
        self.out_channels = in_channels
        check_positive(eps=eps)
        self.eps = eps
        self.p = exponent(p, learnable, in_channels)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return generalised_mean(feature_map, self.p.view(1, -1, 1, 1), self.eps)
