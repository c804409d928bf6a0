"""The residual blocks of ULTRON's stages and what lies between the stages.

How a block is built around CDConv is not known; the form here is assumed. The attention block is NAT's pre-norm block
(Hassani et al., CVPR 2023).
"""

from typing import Literal

import torch.nn.functional as F
from timm.layers import DropPath, LayerNorm2d
from torch import Tensor, nn

from retrieval_bench.backbones.ultron.cdconv import ChannelDilatedConv
from retrieval_bench.backbones.ultron.scala import Scala

Norm = Literal["layer", "batch"]
Downsampling = Literal["overlapping", "patches"]


def norm_layer(kind: Norm, channels: int) -> nn.Module:
    """Normalisation of ``(B, C, H, W)``: over the channels of each position, or over the batch."""
    return LayerNorm2d(channels, eps=1e-5) if kind == "layer" else nn.BatchNorm2d(channels)


class Pointwise(nn.Sequential):
    """Two 1 x 1 convolutions with a GELU between them, on ``(B, H, W, C)``."""

    def __init__(self, channels: int, ratio: float):
        hidden = round(channels * ratio)
        super().__init__(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))


class ConvolutionBlock(nn.Module):
    """``x + pointwise(BN(CDConv(x)))``.

    Args:
        conv: for maps of `channels`.
        channels: C.
        mlp_ratio: hidden channels per channel.
        drop_path: probability that a training image skips the block.
    """

    def __init__(self, conv: ChannelDilatedConv, channels: int, mlp_ratio: float, drop_path: float):
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(channels)
        self.mlp = Pointwise(channels, mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C, H, W)``."""
        inner = self.norm(self.conv(feature_map)).movedim(1, -1)
        return feature_map + self.drop_path(self.mlp(inner).movedim(-1, 1))


class AttentionBlock(nn.Module):
    """``x + SCALA(norm(x))``, then ``x + pointwise(norm(x))``.

    Args:
        attention: for maps of `channels`.
        channels: C.
        norm: open; layer normalisation is assumed, code that quotes the paper has batch normalisation.
        mlp_ratio: hidden channels per channel.
        drop_path: probability that a training image skips a branch.
    """

    def __init__(self, attention: Scala, channels: int, norm: Norm, mlp_ratio: float, drop_path: float):
        super().__init__()
        self.norm1 = norm_layer(norm, channels)
        self.attention = attention
        self.norm2 = norm_layer(norm, channels)
        self.mlp = Pointwise(channels, mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C, H, W)``."""
        for norm, branch in ((self.norm1, self.attention), (self.norm2, self.mlp)):
            inner = branch(norm(feature_map).movedim(1, -1))
            feature_map = feature_map + self.drop_path(inner.movedim(-1, 1))
        return feature_map


class PatchConv(nn.Conv2d):
    """A convolution over patches that do not overlap; the last ones are filled up with zeros."""

    def __init__(self, in_channels: int, out_channels: int, side: int, bias: bool = True):
        super().__init__(in_channels, out_channels, side, side, bias=bias)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C', ceil(H / side), ceil(W / side))``."""
        height, width = feature_map.shape[-2:]
        side = self.kernel_size[0]
        return super().forward(F.pad(feature_map, (0, -width % side, 0, -height % side)))


def stem(channels: int, kind: Downsampling, norm: Norm) -> nn.Sequential:
    """RGB ``(B, 3, H, W)`` -> ``(B, C, H / 4, W / 4)``, sides rounded up. Open; NAT's overlapping one is assumed."""
    if kind == "patches":
        return nn.Sequential(PatchConv(3, channels, 4), norm_layer(norm, channels))
    half = channels // 2
    return nn.Sequential(nn.Conv2d(3, half, 3, 2, 1), nn.Conv2d(half, channels, 3, 2, 1), norm_layer(norm, channels))


def downsample(in_channels: int, channels: int, kind: Downsampling, norm: Norm) -> nn.Sequential:
    """``(B, C, H, W)`` -> ``(B, C', H / 2, W / 2)``, sides rounded up. Open; NAT's overlapping one is assumed."""
    conv = (
        PatchConv(in_channels, channels, 2, bias=False)
        if kind == "patches"
        else nn.Conv2d(in_channels, channels, 3, 2, 1, bias=False)
    )
    return nn.Sequential(conv, norm_layer(norm, channels))
