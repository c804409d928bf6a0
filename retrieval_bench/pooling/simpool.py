"""SimPool: the mean asks, and the positions answer by attention.

Psomas et al., "Keep It SimPool: Who Said Supervised Transformers Suffer from Attention Deficit?", ICCV 2023, and the
code that its authors published.
"""

from typing import ClassVar

import torch
from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.full_precision import LayerNorm, Linear, outside_autocast, positions
from retrieval_bench.pooling.option_checks import check_positive
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.pooling.ultron import weighted_power_mean


@register_pooling("simpool")
class SimPool(Pooling):
    """Attention with the mean over positions as its query, one head (Psomas et al., ICCV 2023).

    With x the map, n = LN(x), q = W_q mean(x), k = W_k n and weights a = ``softmax(k q / sqrt(C))``: the power mean
    ``(sum a v^gamma)^(1/gamma)`` of v = n - min(n) + eps, or the plain ``sum a n`` without gamma. The minimum is each
    image's own, as in the paper, which has one image; the published code takes the batch's. The code's several heads
    and its learnt shift of the result, both off by default there, are left out.

    The order of positions does not matter; a class token is not looked at. W_q and W_k have no bias and start as
    torch's default.

    Args:
        gamma: exponent of the power mean: the authors' is 2 for convolutional networks and 1.25 for transformers. None
            is the weighted sum.
        eps: the least value of v, and in the layer normalisation.

    Raises:
        InputError: a gamma or eps that is not positive and finite.
    """

    order_matters: ClassVar[bool | None] = False

    def __init__(self, in_channels: int, gamma: float | None = 2.0, eps: float = 1e-6):
        super().__init__()
        check_positive(gamma=1.0 if gamma is None else gamma, eps=eps)
        self.out_channels = in_channels
        self.gamma = gamma
        self.eps = eps
        self.norm = LayerNorm(in_channels, eps)
        self.query = Linear(in_channels, in_channels, bias=False)
        self.key = Linear(in_channels, in_channels, bias=False)

    def log_weights(self, local: Tensor, normed: Tensor) -> Tensor:
        """``(B, N, C)`` before and after normalisation -> ``(B, N)``: logarithms of weights that sum to one."""
        query, keys = self.query(local.mean(dim=1)), self.key(normed)
        with outside_autocast(normed):
            scores = at_least_float32(keys) @ at_least_float32(query)[..., None]
        return (scores[..., 0] / self.out_channels**0.5).log_softmax(dim=1)

    def attention(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, H, W)``: how much each position counts; the sum is one."""
        local = positions(feature_map)
        return self.log_weights(local, self.norm(local)).exp().unflatten(1, feature_map.shape[-2:])

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        local = positions(feature_map)
        normed = self.norm(local)
        weights = self.log_weights(local, normed)
        if self.gamma is None:
            pooled = torch.sum(weights.exp()[..., None] * normed, dim=1)
        else:
            values = normed - normed.amin(dim=(1, 2), keepdim=True) + self.eps
            pooled = weighted_power_mean(values, weights, self.gamma)
        return pooled.to(feature_map.dtype)
