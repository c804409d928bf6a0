"""Token: a few visual tokens, gathered by soft assignment and refined by attention.

Wu, Wang, Zhou, Li and Tian, "Learning Token-Based Representation for Image Retrieval", AAAI 2022, and the code that its
authors published. Text and code disagree on the order of refinement (the text has self-attention first); checkpoints
follow the code, and so does this file.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.full_precision import BatchNorm, LayerNorm, Linear, outside_autocast, positions
from retrieval_bench.pooling.multihead import MultiHeadAttention
from retrieval_bench.pooling.option_checks import check_counts, check_heads, check_rates
from retrieval_bench.pooling.precision import at_least_float32

CHANNELS = 1024
"""Width of the published head, on maps of 2048 channels."""


def soft_assignment(queries: Tensor, local: Tensor) -> Tensor:
    """Each position spreads its mass over the tokens: ``softmax(q x^T)`` along the tokens, without scale.

    Args:
        queries: ``(L, D)``, one per token.
        local: ``(B, N, D)``.

    Returns:
        ``(B, L, N)``; the sum over L is one. Float32 at least, even under autocast.
    """
    with outside_autocast(local):
        return (at_least_float32(queries) @ at_least_float32(local).mT).softmax(dim=1)


def drop_path(branch: Tensor, rate: float) -> Tensor:
    """``(B, ...)`` with whole images set to 0 at `rate`, and the others scaled so that the mean stays."""
    if rate == 0:
        return branch
    kept = torch.rand(len(branch), *[1] * (branch.ndim - 1), device=branch.device) >= rate
    return branch * kept / (1 - rate)


class Block(nn.Module):
    """What both kinds of block share: residual branches that may be dropped, attention that starts at zero.

    Args:
        channels: D.
        heads: a divisor of D.
        dropout: rate of every dropout: attention weights, what attention gives, hidden units, whole branches.
    """

    def __init__(self, channels: int, heads: int, dropout: float):
        super().__init__()
        self.channels = channels
        self.heads = heads
        self.rate = dropout
        self.dropout = nn.Dropout(dropout)

    def attention(self) -> MultiHeadAttention:
        """Initialised as by the authors: deviation 0.02, cut off at two; the last map is zero, so the block is too."""
        # Positions come here as the backbone made them, of any size.
        attention = MultiHeadAttention(self.channels, self.heads, self.rate, kernel="explicit")
        for layer in (attention.query, attention.key, attention.value):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(attention.out.weight)
        nn.init.zeros_(attention.out.bias)
        return attention

    def residual(self, values: Tensor, branch: Tensor) -> Tensor:
        """``(B, N, D)`` and what a branch makes of it -> their sum."""
        return values + drop_path(branch, self.rate if self.training else 0.0)


class LocalBlock(Block):
    """Self-attention among positions, not normalised before, then a linear map of their batch normalisation."""

    def __init__(self, channels: int, heads: int, dropout: float):
        super().__init__(channels, heads, dropout)
        self.self_attention = self.attention()
        self.norm = BatchNorm(channels)
        self.linear = Linear(channels, channels)

    def forward(self, local: Tensor) -> Tensor:
        """``(B, N, D)`` -> ``(B, N, D)``."""
        local = self.residual(local, self.dropout(self.self_attention(local, local)))
        return self.residual(local, self.linear(self.norm(local)))


class RefinementBlock(Block):
    """Tokens ask positions, then a perceptron without a norm before it, then tokens ask each other."""

    def __init__(self, channels: int, heads: int, dropout: float):
        super().__init__(channels, heads, dropout)
        self.cross_norm = LayerNorm(channels)
        self.cross_attention = self.attention()
        self.expand = Linear(channels, 2 * channels)
        self.contract = Linear(2 * channels, channels)
        self.self_norm = LayerNorm(channels)
        self.self_attention = self.attention()

    def forward(self, tokens: Tensor, local: Tensor) -> Tensor:
        """``(B, L, D)`` and ``(B, N, D)`` -> ``(B, L, D)``."""
        asked = self.dropout(self.cross_attention(self.cross_norm(tokens), local))
        tokens = self.residual(tokens, asked)
        hidden = self.dropout(F.gelu(self.expand(tokens)))
        tokens = self.residual(tokens, self.dropout(self.contract(hidden)))
        normed = self.self_norm(tokens)
        return self.residual(tokens, self.dropout(self.self_attention(normed, normed)))


@register_pooling("token")
class TokenPooling(Pooling):
    """Visual tokens, refined and projected (Wu et al., AAAI 2022).

    A linear map with batch normalisation, self-attention among positions, soft assignment of positions to `tokens`
    learnt queries, refinement of their sums, and one projection of all tokens with batch normalisation. The order of
    positions does not matter. The sums grow with the number of positions; the layer normalisation after them takes most
    of that away. Training needs two images in a batch.

    Weights start as the authors': queries standard normal, attention as in `Block.attention`, the rest torch's default.

    Args:
        tokens: L.
        channels: D, of the tokens and of C'. None is the published 1024, or `in_channels` where that is less, rounded
            down to a multiple of `heads`.
        heads: of all attention; a divisor of D.
        local_blocks: of self-attention among positions.
        refinements: of the tokens.
        dropout: rate of every dropout, in training.

    Raises:
        InputError: a count below 1, heads that do not divide D, a rate outside [0, 1).
    """

    order_matters: ClassVar[bool | None] = False

    def __init__(
        self,
        in_channels: int,
        tokens: int = 4,
        channels: int | None = None,
        heads: int = 8,
        local_blocks: int = 1,
        refinements: int = 2,
        dropout: float = 0.1,
    ):
        super().__init__()
        check_counts(tokens=tokens, heads=heads, local_blocks=local_blocks, refinements=refinements)
        check_rates(dropout=dropout)
        if channels is None:
            channels = max(1, min(CHANNELS, in_channels) // heads) * heads
        check_heads(channels, heads)
        self.out_channels = channels
        self.reduction = Linear(in_channels, channels)
        self.reduction_norm = BatchNorm(channels)
        self.local_blocks = nn.ModuleList([LocalBlock(channels, heads, dropout) for _ in range(local_blocks)])
        self.queries = nn.Parameter(torch.randn(tokens, channels))
        self.token_map = Linear(channels, channels)
        self.token_norm = LayerNorm(channels)
        self.refinements = nn.ModuleList([RefinementBlock(channels, heads, dropout) for _ in range(refinements)])
        self.projection = Linear(tokens * channels, channels)
        self.projection_norm = BatchNorm(channels)

    def local_features(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, H * W, D)``: positions that have seen each other."""
        local = self.reduction_norm(self.reduction(positions(feature_map)))
        for block in self.local_blocks:
            local = block(local)
        return local

    def attention(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, L, H, W)``: how each position is shared among the tokens; the sum over L is 1."""
        shares = soft_assignment(self.queries, self.local_features(feature_map))
        return shares.unflatten(2, feature_map.shape[-2:])

    def gathered(self, local: Tensor) -> Tensor:
        """``(B, N, D)`` -> ``(B, L, D)``: the tokens before refinement."""
        with outside_autocast(local):
            sums = soft_assignment(self.queries, local) @ at_least_float32(local)
        return self.token_norm(self.token_map(sums))

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, D)``."""
        local = self.local_features(feature_map)
        tokens = self.gathered(local)
        for block in self.refinements:
            tokens = block(tokens, local)
        return self.projection_norm(self.projection(tokens.flatten(1))).to(feature_map.dtype)
