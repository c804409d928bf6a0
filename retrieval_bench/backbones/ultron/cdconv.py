"""CDConv: a depthwise convolution in which every channel of every image chooses its own dilation.

Kweon and Park, "ULTRON", ACCV 2024, eqs. 1-2, after secondary descriptions of them. The channel score is that of ECA
(Wang et al., "ECA-Net", CVPR 2020). What the sources leave open is an option of `ChannelDilatedConv`.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.settings.errors import InputError

Thresholds = Literal["quantiles", "absolute"]
Gate = Literal["score", "none"]


def score_width(channels: int) -> int:
    """ECA's kernel width for `channels`: the odd number at or next above ``floor(log2(C) / 2 + 1 / 2)``."""
    width = int(abs(math.log2(channels) / 2 + 0.5))
    return width if width % 2 else width + 1


def channel_scores(feature_map: Tensor, kernel: Tensor) -> Tensor:
    """Eq. 1: the sigmoid of a convolution across channels of their means.

    Args:
        feature_map: ``(B, C, H, W)``.
        kernel: ``(1, 1, K)``, K odd.

    Returns:
        ``(B, C)`` float32 in (0, 1), whatever autocast says: the choice of a dilation hangs on its last bits.
    """
    with torch.autocast(feature_map.device.type, enabled=False):
        means = feature_map.float().mean(dim=(-2, -1))
        return F.conv1d(means[:, None], kernel.float(), padding=kernel.shape[-1] // 2)[:, 0].sigmoid()


def chosen_dilations(scores: Tensor, levels: tuple[float, float], thresholds: Thresholds) -> Tensor:
    """Which of three dilations each channel takes: 0 above the upper threshold, 2 at or below the lower, else 1.

    Args:
        scores: ``(B, C)``.
        levels: upper and lower threshold, as scores or as quantiles of each image's own scores.
        thresholds: which of the two they are.

    Returns:
        ``(B, C)`` integers 0, 1, 2.
    """
    if thresholds == "absolute":
        return (scores <= levels[0]).long() + (scores <= levels[1]).long()
    upper, lower = (torch.quantile(scores, level, dim=1, keepdim=True) for level in levels)
    return (scores <= upper).long() + (scores <= lower).long()


def dilated_by_channel(feature_map: Tensor, weight: Tensor, choice: Tensor, dilations: Sequence[int]) -> Tensor:
    """Eq. 2: a depthwise convolution, stride 1 and zero padding, with one dilation for each image and channel.

    Every dilation is computed for all channels and one result is kept, so that images do not depend on each other.

    Args:
        feature_map: ``(B, C, H, W)``.
        weight: ``(C, 1, k, k)``, shared by all dilations, k odd.
        choice: ``(B, C)`` indices into `dilations`.
        dilations: in pixels.

    Returns:
        ``(B, C, H, W)``.
    """
    reach = weight.shape[-1] // 2
    results = [
        F.conv2d(feature_map, weight, padding=dilation * reach, dilation=dilation, groups=len(weight))
        for dilation in dilations
    ]
    picked = results[0]
    for index, result in enumerate(results[1:], start=1):
        picked = torch.where(choice[..., None, None] == index, result, picked)
    return picked


class ChannelDilatedConv(nn.Module):
    """Channel-wise dilated convolution.

    The choice is made anew for every image and is not continuous: where two channels of an image score alike to the
    last bits at a threshold, rounding decides between them.

    Args:
        channels: C.
        kernel: side of the kernel, odd. Open; 3 is assumed.
        dilations: for high, middle and low scores. Unverified values.
        thresholds: open. ``"absolute"`` compares scores with `levels`; a sigmoid of untrained weights lies near 1/2,
            so that nothing would pass 0.75. ``"quantiles"`` therefore reads `levels` as quantiles over the channels of
            each image: a quarter, a quarter and a half of them.
        levels: upper and lower threshold. Unverified values.
        gate: open. ``"score"`` multiplies each channel by its score as ECA does, without which nothing trains the
            score's kernel: the choice itself has no gradient. ``"none"`` is eq. 2 alone: the kernel stays as drawn.
        score_kernel: width of the score's kernel, odd. Open; None is ECA's rule.

    Raises:
        InputError: an even width, a dilation below 1, or levels out of order.
    """

    def __init__(
        self,
        channels: int,
        kernel: int = 3,
        dilations: tuple[int, int, int] = (1, 3, 6),
        thresholds: Thresholds = "quantiles",
        levels: tuple[float, float] = (0.75, 0.5),
        gate: Gate = "score",
        score_kernel: int | None = None,
    ):
        super().__init__()
        width = score_width(channels) if score_kernel is None else score_kernel
        for name, value in (("kernel", kernel), ("score_kernel", width)):
            if value < 1 or value % 2 == 0:
                raise InputError(f"{name} of ultron's CDConv must be odd and positive, got {value}")
        if min(dilations) < 1:
            raise InputError(f"dilations of ultron's CDConv must be at least 1, got {tuple(dilations)}")
        if not 1 >= levels[0] >= levels[1] >= 0:
            raise InputError(f"levels of ultron's CDConv must fall within 1 .. 0, got {tuple(levels)}")
        self.dilations = dilations
        self.thresholds = thresholds
        self.levels = levels
        self.gate = gate
        self.score = nn.Conv1d(1, 1, width, padding=width // 2, bias=False).requires_grad_(gate == "score")
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C, H, W)``."""
        scores = channel_scores(feature_map, self.score.weight)
        choice = chosen_dilations(scores.detach(), self.levels, self.thresholds)
        result = dilated_by_channel(feature_map, self.conv.weight, choice, self.dilations)
        return result if self.gate == "none" else result * scores[..., None, None].to(result.dtype)
