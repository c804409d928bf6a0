"""MixVPR: perceptrons mix the positions of a fixed grid, channel by channel.

Ali-bey, Chaib-draa and Giguère, "MixVPR: Feature Mixing for Visual Place Recognition", WACV 2023, and the code that
its authors published.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.full_precision import LayerNorm, Linear
from retrieval_bench.pooling.option_checks import check_counts
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError


def on_grid(feature_map: Tensor, height: int, width: int) -> Tensor:
    """``(B, C, H, W)`` -> ``(B, C, height, width)``: bilinear, averaging where the grid is coarser than the map.

    A map of the grid's size is returned as it is.
    """
    if feature_map.shape[-2:] == (height, width):
        return feature_map
    return F.interpolate(feature_map, (height, width), mode="bilinear", align_corners=False, antialias=True)


class FeatureMixer(nn.Module):
    """``x + W2 relu(W1 LN(x))`` over the positions of each channel.

    The weights start from a normal with deviation 0.02, cut off at two, the biases at zero, as the authors'.

    Args:
        count: N of positions.
        hidden: units between the two maps.
    """

    def __init__(self, count: int, hidden: int):
        super().__init__()
        self.norm = LayerNorm(count)
        self.expand = Linear(count, hidden)
        self.contract = Linear(hidden, count)
        for layer in (self.expand, self.contract):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, channels: Tensor) -> Tensor:
        """``(B, C, N)`` -> ``(B, C, N)``."""
        return channels + self.contract(F.relu(self.expand(self.norm(channels))))


@register_pooling("mixvpr")
class MixVPR(Pooling):
    """Feature mixing over a fixed grid, then projections of channels and of positions (Ali-bey et al., WACV 2023).

    Every position of the grid has weights of its own, so a map of another size is resized to the grid first (`on_grid`)
    and the aspect of the image is lost; the published code takes maps of the grid's size only, and is equalled there.
    The order of positions matters. The defaults are those of the published 4096 dimensional model, on the third stage
    of a ResNet-50 with images of 320 x 320; a smaller grid fits the last stage. Its L2 normalisation at the end is left
    to the method. Both projections start as torch's default.

    Args:
        height: H of the grid.
        width: W of the grid.
        channels: after the projection of channels.
        rows: after the projection of positions; C' is channels x rows.
        depth: mixers, one after another.
        expansion: hidden units of a mixer, as a multiple of the grid's positions.

    Raises:
        InputError: a count below 1, or an expansion that leaves no hidden unit.
    """

    order_matters: ClassVar[bool | None] = True

    def __init__(
        self,
        in_channels: int,
        height: int = 20,
        width: int = 20,
        channels: int = 1024,
        rows: int = 4,
        depth: int = 4,
        expansion: float = 1.0,
    ):
        super().__init__()
        check_counts(height=height, width=width, channels=channels, rows=rows, depth=depth)
        count = height * width
        if not 1 <= expansion * count < float("inf"):
            raise InputError(f"pooling.expansion must leave a hidden unit for {count} positions, got {expansion}")
        self.out_channels = channels * rows
        self.height = height
        self.width = width
        self.mixers = nn.Sequential(*[FeatureMixer(count, int(expansion * count)) for _ in range(depth)])
        self.channel_projection = Linear(in_channels, channels)
        self.row_projection = Linear(count, rows)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, channels * rows)``, the rows of a channel side by side."""
        mixed = self.mixers(on_grid(at_least_float32(feature_map), self.height, self.width).flatten(2))
        projected = self.channel_projection(mixed.mT).mT
        return self.row_projection(projected).flatten(1).to(feature_map.dtype)
