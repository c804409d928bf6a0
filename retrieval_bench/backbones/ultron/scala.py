"""SCALA: neighbourhood attention whose keys have first looked around at several scales.

Kweon and Park, "ULTRON", ACCV 2024, eqs. 3-8, after secondary descriptions of them. What they leave open is an option
of `Scala`.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from retrieval_bench.backbones.ultron.neighbourhood import Scaled, neighbourhood_attention
from retrieval_bench.settings.errors import InputError

ContextOn = Literal["keys", "values", "both", "none"]
ContextInput = Literal["with-map", "without-map"]


class MultiScaleContext(nn.Module):
    """The multi-scale context kernel MCK: depthwise convolutions at several dilations, mixed by a 1 x 1 convolution.

    Args:
        channels: C.
        dilations: of the 3 x 3 convolutions. Unverified values.
        include: whether the map itself stands beside them in the concatenation. Open: the equation as handed down has
            it, code that quotes the equation leaves it out.

    Raises:
        InputError: no dilation, or one below 1.
    """

    def __init__(self, channels: int, dilations: tuple[int, ...] = (1, 2, 3), include: ContextInput = "with-map"):
        super().__init__()
        if not dilations or min(dilations) < 1:
            raise InputError(f"context_dilations of ultron must be at least one number from 1 up, got {dilations}")
        self.include = include
        self.dilated = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels)
            for dilation in dilations
        )
        self.mix = nn.Conv2d(channels * (len(dilations) + (include == "with-map")), channels, 1)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C, H, W)``."""
        seen = [convolution(feature_map) for convolution in self.dilated]
        return self.mix(torch.cat([feature_map, *seen] if self.include == "with-map" else seen, dim=1))


class Scala(nn.Module):
    """Self-attention over neighbourhoods, with context in the keys.

    Args:
        channels: C, a multiple of `head_width`.
        head_width: d of one head.
        neighbourhood: side of the window, odd. Open; NAT's is assumed.
        context_on: what passes through the context kernel. Open: the abstract speaks of keys, one account of eq. 5 of
            values.
        context_dilations, context_input: of `MultiScaleContext`.
        scaled: what is divided by ``sqrt(d)``. Open: the formula as handed down divides the sum of product and bias,
            NAT the product.

    Raises:
        InputError: channels that heads do not divide, or an even neighbourhood.
    """

    def __init__(
        self,
        channels: int,
        head_width: int = 32,
        neighbourhood: int = 7,
        context_on: ContextOn = "keys",
        context_dilations: tuple[int, ...] = (1, 2, 3),
        context_input: ContextInput = "with-map",
        scaled: Scaled = "product",
    ):
        super().__init__()
        if head_width < 1 or channels % head_width:
            raise InputError(f"ultron's head_width={head_width} does not divide a width of {channels}; change one")
        if neighbourhood < 1 or neighbourhood % 2 == 0:
            raise InputError(f"ultron's neighbourhood must be odd and positive, got {neighbourhood}")
        self.heads = channels // head_width
        self.scaled = scaled
        self.qkv = nn.Linear(channels, 3 * channels)
        context = [
            MultiScaleContext(channels, context_dilations, context_input) if context_on in (part, "both") else None
            for part in ("keys", "values")
        ]
        self.key_context, self.value_context = context
        self.bias = nn.Parameter(torch.empty(self.heads, 2 * neighbourhood - 1, 2 * neighbourhood - 1))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.projection = nn.Linear(channels, channels)

    def forward(self, values: Tensor) -> Tensor:
        """``(B, H, W, C)`` -> ``(B, H, W, C)``."""
        query, key, value = self.qkv(values).chunk(3, dim=-1)
        key, value = _in_context(key, self.key_context), _in_context(value, self.value_context)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).movedim(-2, 1) for part in (query, key, value))
        attended = neighbourhood_attention(query, key, value, self.bias, self.scaled)
        return self.projection(attended.movedim(1, -2).flatten(-2))


def _in_context(values: Tensor, context: nn.Module | None) -> Tensor:
    return values if context is None else context(values.movedim(-1, 1)).movedim(1, -1)
