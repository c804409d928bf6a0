"""ULTRON's backbone and its two sizes.

Kweon and Park, "ULTRON: Unifying Local Transformer and Convolution for Large-scale Image Retrieval", ACCV 2024. The
authors published no code. Layout, depths and widths come from secondary descriptions; what these leave open is an
option here, with an assumed default.
"""

from functools import partial
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from retrieval_bench.backbones.base import Backbone, register_backbone
from retrieval_bench.backbones.ultron.blocks import (
    AttentionBlock,
    ConvolutionBlock,
    Downsampling,
    Norm,
    downsample,
    stem,
)
from retrieval_bench.backbones.ultron.cdconv import ChannelDilatedConv, Gate, Thresholds
from retrieval_bench.backbones.ultron.neighbourhood import Scaled
from retrieval_bench.backbones.ultron.scala import ContextInput, ContextOn, Scala
from retrieval_bench.backbones.weights import load_backbone_weights
from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.reading import read_weights

Four = tuple[int, int, int, int]

STRIDES: Four = (4, 8, 16, 32)
"""Assumed: the usual ones."""


class Ultron(Backbone):
    """Four stages: CDConv blocks in the first two, SCALA blocks in the last two.

    Images of any size are taken; there is no position embedding beside the bias within a window.

    Args:
        out_stages: stages counted from the end, rising; later ones are left out.
        depths: blocks per stage; None: of the variant.
        widths: channels per stage; None: of the variant.
        head_width: channels of an attention head.
        mlp_ratio: hidden channels of a block per channel.
        drop_path: probability of skipping the last block in training; it rises from 0 in even
            steps. Open how.
        downsampling: open; ``"overlapping"`` is NAT's 3 x 3, stride 2 (twice in the stem), ``"patches"`` one 4 x 4 and
            then 2 x 2 patches.
        norm: open, of attention blocks and between stages.
        kernel, dilations, thresholds, levels, gate, score_kernel: of `ChannelDilatedConv`; partly open.
        neighbourhood, context_on, context_dilations, context_input, scaled: of `Scala`; partly open.
        pretrained: cannot be had; there is nothing to fetch.
        weights: a file with the state dict of this network.

    Raises:
        InputError: an option out of range, ``pretrained``, or weights that do not fit, with the tensors listed.
    """

    depths: ClassVar[Four]
    widths: ClassVar[Four]

    def __init__(
        self,
        out_stages: tuple[int, ...] = (-1,),
        depths: Four | None = None,
        widths: Four | None = None,
        head_width: int = 32,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        downsampling: Downsampling = "overlapping",
        norm: Norm = "layer",
        kernel: int = 3,
        dilations: tuple[int, int, int] = (1, 3, 6),
        thresholds: Thresholds = "quantiles",
        levels: tuple[float, float] = (0.75, 0.5),
        gate: Gate = "score",
        score_kernel: int | None = None,
        neighbourhood: int = 7,
        context_on: ContextOn = "keys",
        context_dilations: tuple[int, ...] = (1, 2, 3),
        context_input: ContextInput = "with-map",
        scaled: Scaled = "product",
        pretrained: bool = False,
        weights: str | Path | None = None,
    ):
        super().__init__()
        depths, widths = depths or self.depths, widths or self.widths
        _check(out_stages, depths, widths, mlp_ratio, drop_path, pretrained)
        conv = partial(
            ChannelDilatedConv,
            kernel=kernel,
            dilations=dilations,
            thresholds=thresholds,
            levels=levels,
            gate=gate,
            score_kernel=score_kernel,
        )
        attention = partial(
            Scala,
            head_width=head_width,
            neighbourhood=neighbourhood,
            context_on=context_on,
            context_dilations=context_dilations,
            context_input=context_input,
            scaled=scaled,
        )

        def block(stage: int, channels: int, rate: float) -> nn.Module:
            if stage < 2:
                return ConvolutionBlock(conv(channels), channels, mlp_ratio, rate)
            return AttentionBlock(attention(channels), channels, norm, mlp_ratio, rate)

        last = max(1, sum(depths) - 1)
        rates = iter(drop_path * index / last for index in range(sum(depths)))
        self.stages = nn.ModuleList()
        for stage, (depth, channels) in enumerate(zip(depths, widths, strict=True)):
            entry = (
                downsample(widths[stage - 1], channels, downsampling, norm)
                if stage
                else stem(channels, downsampling, norm)
            )
            self.stages.append(nn.Sequential(entry, *(block(stage, channels, next(rates)) for _ in range(depth))))
        self.apply(_initialise)
        self.wanted = [stage % 4 for stage in out_stages]
        self.channels = tuple(widths[stage] for stage in self.wanted)
        self.strides = tuple(STRIDES[stage] for stage in self.wanted)
        whole = list(self.state_dict())
        del self.stages[self.wanted[-1] + 1 :]
        if weights is not None:
            load_backbone_weights(self, read_weights(weights, "backbone.weights="), later=whole)

    def forward(self, images: Tensor) -> list[Tensor]:
        """``(B, 3, H, W)`` normalised images -> a list of ``(B, C_s, H_s, W_s)``; sides are rounded up."""
        maps = []
        for index, stage in enumerate(self.stages):
            images = stage(images)
            if index in self.wanted:
                maps.append(images)
        return maps


@register_backbone("ultron_s")
class UltronS(Ultron):
    """ULTRON-S."""

    depths = (3, 5, 9, 5)
    widths = (64, 128, 320, 512)


@register_backbone("ultron_b")
class UltronB(Ultron):
    """ULTRON-B."""

    depths = (5, 7, 18, 5)
    widths = (96, 192, 384, 768)


def _check(
    out_stages: tuple[int, ...], depths: Four, widths: Four, mlp_ratio: float, drop_path: float, pretrained: bool
) -> None:
    if pretrained:
        raise InputError(
            "no trained weights of ultron are published; set backbone.pretrained=false, or give weights of your own "
            "with backbone.weights=FILE"
        )
    if min(out_stages) < -4:
        raise InputError(f"ultron has four stages, not {tuple(out_stages)}; use stages from -4 to -1")
    for name, values, least in (("depths", depths, 1), ("widths", widths, 2)):
        if min(values) < least:
            raise InputError(f"{name} of ultron must be at least {least}, got {tuple(values)}")
    if not 1 <= mlp_ratio * min(widths) < float("inf"):
        raise InputError(f"mlp_ratio of ultron must leave a hidden channel of {min(widths)}, got {mlp_ratio}")
    if not 0 <= drop_path < 1:
        raise InputError(f"drop_path of ultron must lie in 0 .. 1, got {drop_path}")


def _initialise(module: nn.Module) -> None:
    """NAT's: linear layers from a truncated normal of deviation 0.02, biases 0; convolutions as torch has them."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
