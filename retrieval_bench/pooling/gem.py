"""GeM: the generalised mean over positions, one exponent for all channels.

Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018, eq. 3.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.option_checks import check_exponent, check_positive
from retrieval_bench.pooling.precision import at_least_float32


def generalised_mean(feature_map: Tensor, p: Tensor | float, eps: float = 1e-6) -> Tensor:
    """``(mean over positions of max(x, eps)^p)^(1/p)``.

    Args:
        feature_map: ``(B, C, H, W)``.
        p: positive exponent: a number, or a tensor that broadcasts against ``(B, C, 1, 1)``.
        eps: the least value of a position; it keeps the gradient of p finite.

    Returns:
        ``(B, C)``, in the dtype of `feature_map`; the powers are taken in float32 at least.
    """
    values = at_least_float32(feature_map).clamp(min=eps)
    # Dividing by the maximum changes nothing in exact arithmetic and keeps the powers in range for large x and p.
    peak = values.detach().amax(dim=(-2, -1), keepdim=True)
    powers = (values / peak).pow(p).mean(dim=(-2, -1), keepdim=True)
    return (peak * powers.pow(1.0 / p)).flatten(1).to(feature_map.dtype)


def exponent(p: float, learnable: bool, count: int = 1) -> nn.Parameter:
    """``(count,)`` exponents that all start at `p`.

    Raises:
        InputError: an exponent that is not positive and finite.
    """
    check_exponent(p)
    return nn.Parameter(torch.full((count,), float(p)), requires_grad=learnable)


@register_pooling("gem")
class GeM(Pooling):
    """GeM, the generalised mean with one exponent (Radenović et al., TPAMI 2018).

    ``(mean over positions of max(x, eps)^p)^(1/p)``.

    Args:
        p: initial value of the exponent, a parameter of shape ``(1,)``; 1 is the mean, and the maximum is its limit.
        eps: the least value of a position.
        learnable: whether `p` is trained; it is in the state dict either way.

    Raises:
        InputError: an exponent or eps that is not positive.
    """

    order_matters: ClassVar[bool | None] = False

    def __init__(self, in_channels: int, p: float = 3.0, eps: float = 1e-6, learnable: bool = True):
        super().__init__()
        self.out_channels = in_channels
        check_positive(eps=eps)
        self.eps = eps
        self.p = exponent(p, learnable)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return generalised_mean(feature_map, self.p, self.eps)
