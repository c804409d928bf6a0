"""DToP: the class token and the pooled patch tokens of a vision transformer, each in a branch of its own.

Song, Yoon, Choi and Avrithis, "Boosting Vision Transformers for Image Retrieval", WACV 2023. Its authors published no
code. That there are these two branches, and that locality is enhanced for patch tokens, is the paper's; the layers
inside, their widths and constants are not verified.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Need, Pooling, register_pooling
from retrieval_bench.pooling.full_precision import BatchNorm, BatchNorm2d, Conv2d, Linear
from retrieval_bench.pooling.option_checks import check_counts, check_rates
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError


class NormedConv2d(nn.Module):
    """A convolution that keeps the size of the map, then batch normalisation.

    Args:
        in_channels: C.
        channels: D.
        kernel_size: odd side of the kernel.
        rate: of dilation.
        groups: of channels that do not mix.
    """

    def __init__(self, in_channels: int, channels: int, kernel_size: int = 1, rate: int = 1, groups: int = 1):
        super().__init__()
        padding = kernel_size // 2 * rate
        self.conv = Conv2d(
            in_channels, channels, kernel_size, padding=padding, dilation=rate, groups=groups, bias=False
        )
        self.norm = BatchNorm2d(channels)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, D, H, W)``."""
        return self.norm(self.conv(feature_map))


class InvertedResidual(nn.Module):
    """Expand, depth-wise 3 x 3, contract, and add (Sandler et al., "MobileNetV2", CVPR 2018).

    Args:
        channels: D.
        hidden: channels in between.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.expand = NormedConv2d(channels, hidden)
        self.depthwise = NormedConv2d(hidden, hidden, kernel_size=3, groups=hidden)
        self.contract = NormedConv2d(hidden, channels)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, D, H, W)`` -> ``(B, D, H, W)``."""
        hidden = F.relu6(self.depthwise(F.relu6(self.expand(feature_map))))
        return feature_map + self.contract(hidden)


class AtrousPyramid(nn.Module):
    """What a position sees at several distances, and of the whole map (Chen et al., "DeepLabv3", arXiv 1706.05587).

    Args:
        channels: D.
        rates: of the dilated 3 x 3 convolutions.
    """

    def __init__(self, channels: int, rates: tuple[int, ...]):
        super().__init__()
        self.here = NormedConv2d(channels, channels)
        self.around = nn.ModuleList([NormedConv2d(channels, channels, kernel_size=3, rate=rate) for rate in rates])
        # Not normalised: in training, a batch of one image has a single vector here.
        self.whole = Conv2d(channels, channels, kernel_size=1)
        self.fuse = NormedConv2d((len(rates) + 2) * channels, channels)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, D, H, W)`` -> ``(B, D, H, W)``."""
        whole = self.whole(feature_map.mean(dim=(-2, -1), keepdim=True)).expand_as(feature_map)
        seen = [self.here(feature_map), *(branch(feature_map) for branch in self.around), whole]
        return self.fuse(F.relu(torch.cat(seen, dim=1)))


@register_pooling("dtop")
class DToP(Pooling):
    """Class token and locally enhanced patch tokens in one vector (Song et al., WACV 2023); re-implemented from text.

    Global branch: a linear map of the class token. Local branch: a 1 x 1 convolution of the map of patch tokens, added
    to what the locality module makes of it (inverted residual, then atrous pyramid), averaged over positions, and a
    linear map. The two are concatenated; dropout, a linear map and batch normalisation follow. The order of positions
    matters. Training needs two images in a batch. Weights start as torch's default.

    What is not in this file, and left for a method: the hybrid encoder, sampling of images by size, and tokens of
    several layers. The paper collects both kinds of tokens from the last layers of the encoder and concatenates them
    along channels; here there is what the backbone gives, the last layer. A method that concatenates passes its own
    `in_channels` and `token_channels`, and D of one layer as `channels`. The random wave block of the locality module,
    for training only, is left out.

    Args:
        channels: D of the local branch; None is `in_channels`. Unverified.
        dim: N, of each branch and of C'. Unverified value.
        expansion: hidden channels of the inverted residual, as a multiple of D. Unverified value.
        rates: of dilation in the pyramid. Unverified values.
        dropout: rate before the last linear map, in training. Unverified value.

    Raises:
        InputError: a count below 1, an expansion that leaves no channel, a rate of dropout outside [0, 1).
    """

    needs: ClassVar[tuple[Need, ...]] = ("tokens",)
    order_matters: ClassVar[bool | None] = True

    def __init__(
        self,
        in_channels: int,
        token_channels: int,
        channels: int | None = None,
        dim: int = 1536,
        expansion: float = 2.0,
        rates: tuple[int, ...] = (6, 12, 18),
        dropout: float = 0.1,
    ):
        super().__init__()
        channels = in_channels if channels is None else channels
        check_counts(channels=channels, dim=dim)
        check_rates(dropout=dropout)
        if any(rate < 1 for rate in rates):
            raise InputError(f"pooling.rates, of dilation, must be at least 1, got {tuple(rates)}")
        if not 1 <= expansion * channels < float("inf"):
            raise InputError(f"pooling.expansion must leave a hidden channel of {channels}, got {expansion}")
        self.out_channels = dim
        self.global_branch = Linear(token_channels, dim)
        self.reduction = Conv2d(in_channels, channels, kernel_size=1)
        self.locality = nn.Sequential(
            InvertedResidual(channels, int(expansion * channels)), AtrousPyramid(channels, tuple(rates))
        )
        self.local_branch = Linear(channels, dim)
        self.dropout = nn.Dropout(dropout)
        self.projection = Linear(2 * dim, dim)
        self.norm = BatchNorm(dim)

    def forward(self, feature_map: Tensor, tokens: Tensor) -> Tensor:
        """``(B, C, H, W)`` and ``(B, T, C_t)`` -> ``(B, N)``."""
        patches = self.reduction(feature_map)
        enhanced = at_least_float32(patches + self.locality(patches)).mean(dim=(-2, -1))
        both = torch.cat([self.global_branch(tokens[:, 0]), self.local_branch(enhanced)], dim=1)
        return self.norm(self.projection(self.dropout(both))).to(feature_map.dtype)
