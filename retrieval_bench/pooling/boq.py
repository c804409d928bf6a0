"""BoQ: learnt queries ask the positions, once after every encoder of a cascade.

Ali-bey, Chaib-draa and Giguère, "BoQ: A Place is Worth a Bag of Learnable Queries", CVPR 2024, and the code that its
authors published.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.full_precision import Conv2d, LayerNorm, Linear, positions
from retrieval_bench.pooling.multihead import MultiHeadAttention
from retrieval_bench.pooling.option_checks import check_counts, check_heads, check_rates

CHANNELS = 512
"""Width of the published head, on maps of 1024 channels."""
HEAD = 64
"""Channels of one attention head."""


def default_channels(in_channels: int, heads: int | None) -> int:
    """The published width, or `in_channels` where that is less, rounded down to whole heads."""
    unit = (HEAD if in_channels >= HEAD else 1) if heads is None else heads
    return max(1, min(CHANNELS, in_channels) // unit) * unit


def attention(channels: int, heads: int, dropout: float = 0.0) -> MultiHeadAttention:
    """Attention that starts as torch's: q, k and v uniform, with Xavier's bound for the three of them as one map."""
    made = MultiHeadAttention(channels, heads, dropout)
    bound = (6 / (4 * channels)) ** 0.5
    for layer in (made.query, made.key, made.value):
        nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(made.out.bias)
    return made


class Encoder(nn.Module):
    """A transformer layer with its norms after the sums: self-attention, then a perceptron with a rectifier.

    Args:
        channels: D; the perceptron has four times as many hidden units.
        heads: a divisor of D.
        dropout: rate of every dropout, in training.
    """

    def __init__(self, channels: int, heads: int, dropout: float):
        super().__init__()
        self.self_attention = attention(channels, heads, dropout)
        self.attention_norm = LayerNorm(channels)
        self.expand = Linear(channels, 4 * channels)
        self.contract = Linear(4 * channels, channels)
        self.norm = LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, local: Tensor) -> Tensor:
        """``(B, N, D)`` -> ``(B, N, D)``."""
        local = self.attention_norm(local + self.dropout(self.self_attention(local, local)))
        hidden = self.dropout(F.relu(self.expand(local)))
        return self.norm(local + self.dropout(self.contract(hidden)))


class Bag(nn.Module):
    """An encoder, and a bag of queries that ask what it gives.

    The queries first ask each other, which does not depend on the image: after training, it could be stored.

    Args:
        channels: D.
        queries: Q; they start from a standard normal.
        heads: a divisor of D.
        dropout: rate in the encoder, in training.
    """

    def __init__(self, channels: int, queries: int, heads: int, dropout: float):
        super().__init__()
        self.encoder = Encoder(channels, heads, dropout)
        self.queries = nn.Parameter(torch.randn(queries, channels))
        self.self_attention = attention(channels, heads)
        self.query_norm = LayerNorm(channels)
        self.cross_attention = attention(channels, heads)
        self.norm = LayerNorm(channels)

    def forward(self, local: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, N, D)`` -> the same, encoded, and ``(B, Q, D)`` answers."""
        local = self.encoder(local)
        queries = self.queries[None]
        asking = self.query_norm(queries + self.self_attention(queries, queries)).expand(len(local), -1, -1)
        return local, self.norm(self.cross_attention(asking, local))


@register_pooling("boq")
class BoQ(Pooling):
    """A bag of learnable queries (Ali-bey et al., CVPR 2024).

    A 3 x 3 convolution and a layer normalisation, then bags in a cascade, each on what the one before has encoded; the
    answers of all bags are combined into `rows`, channel by channel. Attention knows no positions: their order matters
    to the convolution alone. The L2 normalisation at the end is left to the method. Weights start as torch's default
    everywhere, as the authors'.

    Args:
        channels: D. The published ResNet-50 has 512, the published DINOv2 384. None is 512, or `in_channels` where that
            is less, rounded down to whole heads.
        queries: Q of each bag.
        bags: one after another.
        rows: after the combination; C' is channels x rows.
        heads: of all attention; None is one for every 64 channels, as published.
        dropout: rate in the encoders, in training; the authors have none.

    Raises:
        InputError: a count below 1, heads that do not divide D, a rate outside [0, 1).
    """

    order_matters: ClassVar[bool | None] = True

    def __init__(
        self,
        in_channels: int,
        channels: int | None = None,
        queries: int = 64,
        bags: int = 2,
        rows: int = 32,
        heads: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_counts(queries=queries, bags=bags, rows=rows, heads=1 if heads is None else heads)
        check_rates(dropout=dropout)
        channels = default_channels(in_channels, heads) if channels is None else channels
        heads = max(1, channels // HEAD) if heads is None else heads
        check_heads(channels, heads)
        self.out_channels = channels * rows
        self.reduction = Conv2d(in_channels, channels, kernel_size=3, padding=1)
        self.norm = LayerNorm(channels)
        self.bags = nn.ModuleList([Bag(channels, queries, heads, dropout) for _ in range(bags)])
        self.combination = Linear(bags * queries, rows)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, D * rows)``, the rows of a channel side by side."""
        local = self.norm(positions(self.reduction(feature_map)))
        answers = []
        for bag in self.bags:
            local, answer = bag(local)
            answers.append(answer)
        return self.combination(torch.cat(answers, dim=1).mT).flatten(1).to(feature_map.dtype)
