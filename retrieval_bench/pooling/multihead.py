"""Attention of several heads, as transformers have it (Vaswani et al., "Attention Is All You Need", NeurIPS 2017)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.full_precision import Linear, outside_autocast
from retrieval_bench.pooling.precision import at_least_float32

Kernel = Literal["fused", "explicit"]
"""``"fused"`` never holds the M x N weights, but recomputes scores for their gradients, which fails where rounding
errors of scores exceed one (scores above 1e7, from vectors that nothing normalised); ``"explicit"`` holds them."""


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, dropout: float = 0.0, kernel: Kernel = "fused"
) -> Tensor:
    """``softmax(q k^T / sqrt(D / heads)) v`` for every head, in float32 at least even under autocast.

    Args:
        query: ``(B, M, D)``; consecutive channels form a head.
        key: ``(B, N, D)``.
        value: ``(B, N, D)``.
        heads: a divisor of D.
        dropout: share of the attention weights that are set to 0.
        kernel: how it is computed.

    Returns:
        ``(B, M, D)``.
    """
    with outside_autocast(query):
        q, k, v = (at_least_float32(part).unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
        if kernel == "fused":
            answers = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        else:
            weights = (q * q.shape[-1] ** -0.5 @ k.mT).softmax(dim=-1)
            answers = F.dropout(weights, dropout) @ v
        return answers.transpose(1, 2).flatten(2)


class MultiHeadAttention(nn.Module):
    """Vectors ask, the vectors of a context answer; each of q, k, v and the result has its own linear map.

    Args:
        channels: D.
        heads: a divisor of D.
        dropout: rate on the attention weights, in training.
        kernel: how it is computed.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0, kernel: Kernel = "fused"):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.kernel: Kernel = kernel
        self.query = Linear(channels, channels)
        self.key = Linear(channels, channels)
        self.value = Linear(channels, channels)
        self.out = Linear(channels, channels)

    def forward(self, asking: Tensor, context: Tensor) -> Tensor:
        """``(B, M, D)`` and ``(B, N, D)`` -> ``(B, M, D)``."""
        q, k, v = self.query(asking), self.key(context), self.value(context)
        return self.out(attend(q, k, v, self.heads, self.dropout if self.training else 0.0, self.kernel))
