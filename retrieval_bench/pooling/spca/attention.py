"""Multi-head attention and the two-layer perceptron of SpCa's fusers."""

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Scaled dot-product attention with separate projections (``fuser.*_attn`` of Zy-Zhang/SpCa).

    The output projection starts at zero, so that attention adds nothing before the first step; until then no gradient
    passes it either.

    Args:
        dim: C, divisible by `heads`.
        heads: how many.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)
        for layer in (self.query, self.key, self.value):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """``(B, N, C)`` queries and ``(B, L, C)`` keys that are their own values -> ``(B, N, C)``."""
        query, key, value = (
            layer(given).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N or L, C / heads)
            for layer, given in ((self.query, queries), (self.key, context), (self.value, context))
        )
        return self.output(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """Linear, GELU, Linear.

    Args:
        dim: channels in and out; there are twice as many between.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.hidden = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(2 * dim, dim)

    def forward(self, values: Tensor) -> Tensor:
        """``(..., C)`` -> ``(..., C)``."""
        return self.output(F.gelu(self.hidden(values)))
