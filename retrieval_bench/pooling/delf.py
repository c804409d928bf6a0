"""DELF's attention pooling: a learned score above zero for each position, and the scores' weighted mean.

Noh et al., "Large-Scale Image Retrieval with Attentive Deep Local Features" (DELF), ICCV 2017, sec. 4.2, eq. 1; layers,
batch normalisation and the unit vectors are those of tensorflow/models research/delf.
"""

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.attentive import positive_scores
from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.option_checks import check_counts
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError, nearest

OVER = ("mean", "sum", "weights")
"""What the weighted sum may be divided by: positions, nothing, or the scores' own sum."""


def attended(feature_map: Tensor, scores: Tensor, over: str) -> Tensor:
    """``sum of a f``, over the number of positions (``"mean"``), one (``"sum"``) or ``sum of a`` (``"weights"``).

    Args:
        feature_map: f, ``(B, C, H, W)``.
        scores: a, ``(B, 1, H, W)``, positive.
        over: see above.

    Returns:
        ``(B, C)``, float32 at least.
    """
    scores = at_least_float32(scores)
    if over == "weights":
        # Scores far below zero before the softplus underflow; an image of them alone counts evenly.
        tiny = 1e-30
        scores = (scores + tiny) / (scores + tiny).sum(dim=(-2, -1), keepdim=True)
    weighted = scores * at_least_float32(feature_map)
    return weighted.mean(dim=(-2, -1)) if over == "mean" else weighted.sum(dim=(-2, -1))


@register_pooling("delf")
class DelfPooling(Pooling):
    """Attention pooling (Noh et al., ICCV 2017): the mean of position times score, the score from two 1x1 convolutions.

    ``mean of a f / |f|`` with ``a = softplus(w_2 relu(BN(W_1 f)) + b)`` of the map as it comes.

    Args:
        attention_dim: hidden channels of the attention.
        descriptors: ``"unit"`` pools the L2-normalised map, as the released code trains the attention; ``"raw"`` the
            map itself, as eq. 1 is printed.
        over: what the weighted sum is divided by: positions (``"mean"``, the released code), nothing (``"sum"``, eq.
            1), or the sum of scores (``"weights"``).

    Raises:
        InputError: an attention without channels, or another word.
    """

    order_matters: ClassVar[bool | None] = False

    def __init__(
        self,
        in_channels: int,
        attention_dim: int = 512,
        descriptors: Literal["unit", "raw"] = "unit",
        over: Literal["mean", "sum", "weights"] = "mean",
    ):
        super().__init__()
        check_counts(attention_dim=attention_dim)
        for option, value, known in (("descriptors", descriptors, ("unit", "raw")), ("over", over, OVER)):
            if value not in known:
                raise InputError(nearest(str(value), known, noun=f"value of pooling.{option}"))
        self.out_channels = in_channels
        self.descriptors = descriptors
        self.over = over
        self.hidden = nn.Conv2d(in_channels, attention_dim, 1)
        self.norm = nn.BatchNorm2d(attention_dim, eps=1e-3, momentum=0.01)
        self.score = nn.Conv2d(attention_dim, 1, 1)

    def attention(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, 1, H, W)`` scores, positive."""
        return positive_scores(self.norm(self.hidden(feature_map)), self.score)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        local = at_least_float32(feature_map)
        local = F.normalize(local, dim=1) if self.descriptors == "unit" else local
        return attended(local, self.attention(feature_map), self.over).to(feature_map.dtype)
