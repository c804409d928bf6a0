"""ULTRON's attention-based pooling: a generalised mean asks, and a power mean over its attention answers.

Kweon and Park, "ULTRON", ACCV 2024, eqs. 9-12, after secondary descriptions of them; it follows SimPool (Psomas et al.,
"Keep It SimPool", ICCV 2023) with a generalised mean in the place of the mean.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gem import GeM
from retrieval_bench.pooling.option_checks import check_positive
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError


def weighted_power_mean(values: Tensor, log_weights: Tensor, exponent: float) -> Tensor:
    """``(sum of w v^e)^(1/e)``; for e = 0 its limit ``exp(sum of w ln v)``.

    Taken in the logarithm, so that no power leaves the range of floats.

    Args:
        values: ``(B, N, C)``, positive.
        log_weights: ``(B, N)``, logarithms of weights that sum to one.
        exponent: any finite number.

    Returns:
        ``(B, C)``.
    """
    logs = values.log()
    if exponent == 0:
        return (log_weights.exp()[..., None] * logs).sum(dim=1).exp()
    return (torch.logsumexp(log_weights[..., None] + exponent * logs, dim=1) / exponent).exp()


@register_pooling("ultron")
class UltronPooling(Pooling):
    """Attention from one query per image, one head.

    With x the map, n = LN(x), q = W_q GeM(x), k = W_k n and v = n - min(n) + eps: the power mean of v with weights
    ``softmax(k q / sqrt(C))``. The minimum is each image's own; SimPool's code takes the batch's, so that a descriptor
    depends on the images beside it.

    Args:
        exponent: of the power mean; 1 is the mean, 0 the geometric mean. Open: in the accounts of eq. 12 definition and
            values do not agree. 2 is SimPool's for convolutional networks.
        query_exponent: of the query's generalised mean. Unverified value.
        query_learnable: whether `query_exponent` is trained. Open.
        eps: the least value in the generalised mean and of v, and of the layer normalisation.

    Raises:
        InputError: an exponent that is not finite, a query exponent or eps that is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        exponent: float = 2.0,
        query_exponent: float = 2.0,
        query_learnable: bool = False,
        eps: float = 1e-6,
    ):
        super().__init__()
        if not abs(exponent) < float("inf"):
            raise InputError(f"pooling.exponent must be finite, got {exponent}; use pooling=mac for the maximum")
        check_positive(query_exponent=query_exponent, eps=eps)
        self.out_channels = in_channels
        self.exponent = exponent
        self.eps = eps
        self.query_mean = GeM(in_channels, query_exponent, eps, query_learnable)
        self.norm = nn.LayerNorm(in_channels, eps)
        self.query = nn.Linear(in_channels, in_channels, bias=False)
        self.key = nn.Linear(in_channels, in_channels, bias=False)

    def normed(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, H * W, C)``: positions normalised over channels, float32 at least."""
        positions = at_least_float32(feature_map).flatten(2).mT
        weight, bias = (at_least_float32(parameter) for parameter in (self.norm.weight, self.norm.bias))
        return F.layer_norm(positions, self.norm.normalized_shape, weight, bias, self.norm.eps)

    def log_attention(self, feature_map: Tensor, normed: Tensor) -> Tensor:
        """``(B, C, H, W)`` and its ``(B, H * W, C)`` -> ``(B, H * W)``: logarithms of weights that sum to one."""
        mean = self.query_mean(at_least_float32(feature_map))
        query = F.linear(mean, at_least_float32(self.query.weight))
        keys = F.linear(normed, at_least_float32(self.key.weight))
        scores = at_least_float32(keys @ query[..., None])[..., 0]
        return (scores / self.out_channels**0.5).log_softmax(dim=1)

    def attention(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, H, W)``: how much each position counts; the sum is one."""
        weights = self.log_attention(feature_map, self.normed(feature_map)).exp()
        return weights.unflatten(1, feature_map.shape[-2:])

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        normed = self.normed(feature_map)
        values = normed - normed.amin(dim=(1, 2), keepdim=True) + self.eps
        pooled = weighted_power_mean(values, self.log_attention(feature_map, normed), self.exponent)
        return pooled.to(feature_map.dtype)
