"""part_name: a small residual network whose stages shrink by averages.

So the maps of an image that is shifted are those of the image, shifted.

Source: own work; or authors, "title", venue and year, section or equation.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.backbones import Backbone, register_backbone
from retrieval_bench.settings.errors import InputError, nearest

STAGES = 4


class Block(nn.Module):
    """``x + conv(relu(conv(x)))`` with norms, then a rectifier; the size of the map stays."""

    def __init__(self, channels: int, norm: str):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = norm_of(norm, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = norm_of(norm, channels)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C, H, W)``."""
        inner = F.relu(self.first_norm(self.first(feature_map)))
        return F.relu(feature_map + self.second_norm(self.second(inner)))


@register_backbone("part_name")
class PartName(Backbone):
    """Four stages at strides 4, 8, 16 and 32 with 1, 2, 4 and 8 times `width` channels (Authors, Venue Year).

    Args:
        out_stages: stages counted from the end, rising.
        width: channels of the first stage.
        depth: residual blocks of a stage.
        norm: over the batch, or over groups of channels, which works for batches of any size.

    Raises:
        InputError: an impossible option, or stages that there are not.
    """

    def __init__(
        self,
        out_stages: tuple[int, ...] = (-1,),
        width: int = 32,
        depth: int = 2,
        norm: Literal["batch", "group"] = "batch",
    ):
        super().__init__()
        if min(out_stages) < -STAGES:
            raise InputError(f"this backbone has {STAGES} stages, not {out_stages}; use fewer, such as (-2, -1)")
        if width < 8 or width % 8 or depth < 1:
            raise InputError(f"width must be a multiple of 8 and depth at least 1, got {width} and {depth}")
        if norm not in ("batch", "group"):
            raise InputError(nearest(str(norm), ("batch", "group"), noun="value of backbone.norm"))
        widths = [width * 2**stage for stage in range(STAGES)]
        self.out_stages = out_stages
        self.channels = tuple(widths[stage] for stage in out_stages)
        self.strides = tuple(4 * 2 ** (STAGES + stage) for stage in out_stages)
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), norm_of(norm, width), nn.ReLU())
        self.widen = nn.ModuleList(
            nn.Conv2d(before, after, 1) for before, after in zip([width, *widths], widths, strict=False)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(channels, norm) for _ in range(depth))) for channels in widths
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """``(B, 3, H, W)`` normalised images -> one ``(B, C_s, H_s, W_s)`` per requested stage."""
        feature_map = shrunk(self.stem(images))
        maps = []
        for widen, stage in zip(self.widen, self.stages, strict=True):
            feature_map = stage(widen(shrunk(feature_map)))
            maps.append(feature_map)
        return [maps[stage] for stage in self.out_stages]


def shrunk(feature_map: Tensor) -> Tensor:
    """``(B, C, H, W)`` -> ``(B, C, ceil(H / 2), ceil(W / 2))``: means of 2 x 2 positions, of fewer at the edge."""
    return F.avg_pool2d(feature_map, 2, ceil_mode=True)


def norm_of(kind: str, channels: int) -> nn.Module:
    """The norm over maps of `channels`."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(8, channels)
