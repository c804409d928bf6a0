"""SpCa's ways of bringing appearance and spatial context together (``meta['combine']`` of Zy-Zhang/SpCa).

In ``cro``, ``dec`` and ``orth`` the context of an image acts as an unordered set: the result does not depend on where
each context vector sits. ``cat`` and ``had`` join the two position by position.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from retrieval_bench.pooling.orthogonal import orthogonal_component
from retrieval_bench.pooling.spca.attention import Attention, Perceptron


class Fuser(nn.Module):
    """What all fusers share.

    Args:
        channels: C of the visual map.
        context_channels: K * M of the context map.
        heads: of attention; fusers without attention take no notice.

    Attributes:
        has_attention: whether `heads` must divide `channels`.
        out_channels: of what `forward` returns.
    """

    has_attention: ClassVar[bool] = False
    out_channels: int


class CrossAttention(Fuser):
    """``cro``: positions attend to the context, then a perceptron without a norm before it."""

    has_attention = True

    def __init__(self, channels: int, context_channels: int, heads: int):
        super().__init__()
        self.out_channels = channels
        self.lift = nn.Linear(context_channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.attention = Attention(channels, heads)
        self.mlp = Perceptron(channels)

    def forward(self, visual: Tensor, context: Tensor) -> Tensor:
        """``(B, C, H, W)`` and ``(B, K * M, H, W)`` -> ``(B, C, H, W)``."""
        fused = positions(visual)
        fused = fused + self.attention(self.norm(fused), self.lift(positions(context)))
        return as_map(fused + self.mlp(fused), visual)


class Decoder(Fuser):
    """``dec``: cross-attention to the normalised context, a perceptron, then self-attention."""

    has_attention = True

    def __init__(self, channels: int, context_channels: int, heads: int):
        super().__init__()
        self.out_channels = channels
        self.lift = nn.Linear(context_channels, channels)
        self.context_norm = nn.LayerNorm(channels)
        self.norm = nn.LayerNorm(channels)
        self.attention = Attention(channels, heads)
        self.mlp = Perceptron(channels)
        self.self_norm = nn.LayerNorm(channels)
        self.self_attention = Attention(channels, heads)

    def forward(self, visual: Tensor, context: Tensor) -> Tensor:
        """``(B, C, H, W)`` and ``(B, K * M, H, W)`` -> ``(B, C, H, W)``."""
        fused = positions(visual)
        fused = fused + self.attention(self.norm(fused), self.context_norm(self.lift(positions(context))))
        fused = fused + self.mlp(fused)
        normalised = self.self_norm(fused)
        return as_map(fused + self.self_attention(normalised, normalised), visual)


class Concatenation(Fuser):
    """``cat``: normalised appearance and context side by side, then a perceptron."""

    def __init__(self, channels: int, context_channels: int, heads: int):
        super().__init__()
        self.out_channels = 2 * channels
        self.lift = nn.Linear(context_channels, channels)
        self.visual_norm = nn.LayerNorm(channels)
        self.context_norm = nn.LayerNorm(channels)
        self.mlp = Perceptron(2 * channels)

    def forward(self, visual: Tensor, context: Tensor) -> Tensor:
        """``(B, C, H, W)`` and ``(B, K * M, H, W)`` -> ``(B, 2 * C, H, W)``."""
        lifted = self.context_norm(self.lift(positions(context)))
        fused = torch.cat([self.visual_norm(positions(visual)), lifted], dim=-1)
        return as_map(fused + self.mlp(fused), visual)


class OuterProduct(Fuser):
    """``had``: the outer product of reduced appearance and context at every position.

    Its map has C / 4 * K * M channels; for C = 2048, K * M = 48 and D = 2048 the projection behind it has 50 million
    weights.
    """

    def __init__(self, channels: int, context_channels: int, heads: int):
        super().__init__()
        reduced = channels // 4
        self.out_channels = reduced * context_channels
        self.reduce = nn.Linear(channels, reduced)
        self.visual_norm = nn.LayerNorm(reduced)
        self.context_norm = nn.LayerNorm(context_channels)

    def forward(self, visual: Tensor, context: Tensor) -> Tensor:
        """``(B, C, H, W)`` and ``(B, K * M, H, W)`` -> ``(B, C / 4 * K * M, H, W)``, appearance major."""
        appearance = self.visual_norm(self.reduce(positions(visual)))
        around = self.context_norm(positions(context))
        return as_map((appearance[..., :, None] * around[..., None, :]).flatten(2), visual)


class Orthogonal(Fuser):
    """``orth``: a pooled visual vector, and what the context holds beyond it. Returns a vector, not a map."""

    def __init__(self, channels: int, context_channels: int, heads: int):
        super().__init__()
        half = channels // 2
        self.out_channels = 2 * half
        self.visual = nn.Linear(channels, half)
        self.context = nn.Conv2d(context_channels, half, 1)

    def forward(self, pooled: Tensor, context: Tensor) -> Tensor:
        """``(B, C)`` pooled appearance and ``(B, K * M, H, W)`` -> ``(B, C)``."""
        vector = self.visual(pooled)
        beyond = orthogonal_component(self.context(context), vector).mean(dim=(2, 3))
        return torch.cat([vector, beyond], dim=1)


FUSERS: dict[str, type[Fuser]] = {
    "cro": CrossAttention,
    "cat": Concatenation,
    "had": OuterProduct,
    "orth": Orthogonal,
    "dec": Decoder,
}
"""Published name -> fuser. The sixth name of the published code, ``fur``, refers to a class that does not exist."""


def positions(feature_map: Tensor) -> Tensor:
    """``(B, C, H, W)`` -> ``(B, N, C)``."""
    return feature_map.flatten(2).mT


def as_map(values: Tensor, like: Tensor) -> Tensor:
    """``(B, N, C)`` -> ``(B, C, H, W)`` with the sides of the map `like`."""
    return values.mT.unflatten(2, like.shape[-2:])
