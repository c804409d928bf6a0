"""SOLAR's second-order attention, then a generalised mean: every position looks at all others before they are pooled.

Ng, Balntas, Tian and Mikolajczyk, "SOLAR: Second-Order Loss and Attention for Image Retrieval", ECCV 2020, sec. 3.1;
tonyngjichun/SOLAR, whose names f, g, h and v are kept. The published network has a second block after the stage before
the last, inside the backbone, which is left out.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gem import exponent, generalised_mean
from retrieval_bench.settings.errors import InputError


class SecondOrderAttention(nn.Module):
    """``x + v(A h)`` with ``A = softmax(f^T g / sqrt(d))`` over the positions of g.

    f and g are 1x1 convolutions with batch normalisation and ReLU, h and v without. v starts at zero, so that the map
    passes unchanged before the first step, when no gradient reaches the others.

    Args:
        channels: C of the map.
        mid_dim: d.
    """

    def __init__(self, channels: int, mid_dim: int):
        super().__init__()
        self.f, self.g = (
            nn.Sequential(nn.Conv2d(channels, mid_dim, 1), nn.BatchNorm2d(mid_dim), nn.ReLU()) for _ in range(2)
        )
        self.h = nn.Conv2d(channels, mid_dim, 1)
        self.v = nn.Conv2d(mid_dim, channels, 1)
        for parameter in self.v.parameters():
            nn.init.zeros_(parameter)

    def attention(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, H * W, H * W)``: rows that sum to one. `forward` need not hold it."""
        queries, keys = self.f(feature_map).flatten(2).mT, self.g(feature_map).flatten(2)
        return (queries @ keys / keys.shape[1] ** 0.5).softmax(dim=-1)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C, H, W)``."""
        query, key, value = (layer(feature_map).flatten(2).mT for layer in (self.f, self.g, self.h))
        found = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]  # (B, H * W, d)
        return feature_map + self.v(found.mT.unflatten(2, feature_map.shape[-2:]))


@register_pooling("solar")
class SolarPooling(Pooling):
    """Second-order attention, then GeM (Ng et al., ECCV 2020).

    ``GeM(x + v(softmax(f(x)^T g(x) / sqrt(d)) h(x)))`` with d = C / reduction.

    Args:
        reduction: of channels inside the attention; 2 is the published one after the last stage.
        p: initial exponent of the generalised mean.
        learnable: whether it is trained.

    Raises:
        InputError: a reduction below 1 or above C, or an exponent that is not positive.
    """

    order_matters: ClassVar[bool | None] = False

    def __init__(self, in_channels: int, reduction: int = 2, p: float = 3.0, learnable: bool = True):
        super().__init__()
        if not 1 <= reduction <= in_channels:
            raise InputError(
                f"pooling.reduction must lie between 1 and the map's {in_channels} channels, got {reduction}"
            )
        self.out_channels = in_channels
        self.attention = SecondOrderAttention(in_channels, in_channels // reduction)
        self.p = exponent(p, learnable)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return generalised_mean(self.attention(feature_map), self.p).to(feature_map.dtype)
