"""MadaCos: a softmax whose scale and margin follow the median cosine to the own class, batch by batch.

Zhu, Gao, Ke, Qiao and Sun, "Coarse-to-Fine: Learning Compact Discriminative Representation for Single-Stage Image
Retrieval", ICCV 2023; formulas as in bassyess/CFCD ``core/model/madacos.py``. Scale and margin are chosen so that the
median image of the batch has probability alpha for its own class, and an image that lies on its class has `CERTAINTY`
against one.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from retrieval_bench.losses.base import ClassificationLoss, check_labels, register_loss
from retrieval_bench.losses.gathering import gather_rows
from retrieval_bench.losses.option_checks import check_positive
from retrieval_bench.settings.errors import InputError, nearest

Background = Literal["median-sample", "median", "mean"]

CERTAINTY = 9999999.0
"""Odds for the own class at a cosine of 1: a probability of 1 - 1e-7."""


def adaptive_scale(median: Tensor, alpha: float, minimum: float) -> Tensor:
    """``ln(CERTAINTY (1 - alpha) / alpha) / (1 - median)``, at least `minimum`.

    A median cosine of 1 counts as the largest number below it, so that the scale stays finite.
    """
    distance = (1 - median).clamp(min=torch.finfo(median.dtype).eps / 2)
    return (math.log(CERTAINTY * (1 - alpha) / alpha) / distance).clamp(min=minimum)


def log_backgrounds(cosines: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """``(B, C)`` cosines -> ``(B,)`` of ``ln sum over other classes of exp(scale cos)``; it cannot overflow."""
    return (scale * cosines).scatter(1, labels.view(-1, 1), -torch.inf).logsumexp(dim=1)


def adaptive_margin(median: Tensor, log_background: Tensor, scale: Tensor, alpha: float) -> Tensor:
    """``median - ln(background alpha / (1 - alpha)) / scale``, at least 0; 0 where there is no other class."""
    margin = (median - (log_background + math.log(alpha / (1 - alpha))) / scale).clamp(min=0)
    return torch.where(log_background.isinf(), torch.zeros_like(margin), margin)


def pooled_background(log_sums: Tensor, median_row: Tensor, kind: Background) -> Tensor:
    """``(N,)`` log background sums of a batch -> the one that sets the margin.

    ``"median-sample"`` takes that of the image with the median cosine, ``"median"`` the lower median of the sums,
    ``"mean"`` their mean.
    """
    if kind == "median-sample":
        return log_sums[median_row]
    if kind == "median":
        return log_sums.median()
    return log_sums.logsumexp(dim=0) - math.log(len(log_sums))


@register_loss("madacos")
class MadaCos(ClassificationLoss):
    """MadaCos with mean cross-entropy.

    The median is the lower one for even counts. No gradient flows through scale and margin. In training the batch is
    that of all processes; in evaluation, where processes may hold different numbers of batches, each goes by its own.
    The margin is there in training mode only, while the scale follows the batch in evaluation too, as published:
    losses of different evaluation batches are not on one scale. Logits without labels have the minimum scale.

    Args:
        alpha: probability of the median image's own class; 0.02 in all published configurations.
        minimum_scale: the least scale of the cosines.
        background: what stands for the other classes in the margin, see `pooled_background`.

    Attributes:
        weight: ``(C, D)``, uniform within ``1 / sqrt(D)`` of 0 at first.
        last: ``scale``, ``margin``, ``median`` and ``log_background`` of the last batch with labels, scalar tensors.

    Raises:
        InputError: alpha outside (0, 1), a scale that is not positive, or an unknown background.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        alpha: float = 0.02,
        minimum_scale: float = 32.0,
        background: Background = "median-sample",
    ):
        super().__init__(dim, num_classes, minimum_scale)
        if not 0 < alpha < 1:
            raise InputError(f"loss.alpha must lie between 0 and 1, got {alpha}")
        check_positive(minimum_scale=minimum_scale)
        if background not in ("median-sample", "median", "mean"):
            known = ("median-sample", "median", "mean")
            raise InputError(nearest(str(background), known, noun="value of loss.background"))
        nn.init.uniform_(self.weight, -(dim**-0.5), dim**-0.5)
        self.alpha = alpha
        self.background: Background = background
        self.last: dict[str, Tensor] = {}

    def logits(self, descriptors: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, D)`` -> ``(B, C)`` logits; with labels at the batch's scale, and in training with its margin.

        Raises:
            InputError: labels of another shape or outside 0 .. C-1.
        """
        cosines = self.cosines(descriptors)
        if labels is None:
            return self.scale * cosines
        check_labels(labels, len(descriptors), self.num_classes)
        with torch.autocast(descriptors.device.type, enabled=False):
            with_margin = self.margin_logits(cosines, labels)
            return self.last["scale"] * with_margin

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """``(B, C)`` cosines, the own class lower by the batch's margin; sets `last`."""
        self._adapt(cosines, labels)
        own = labels.view(-1, 1)
        return cosines.scatter(1, own, cosines.gather(1, own) - self.last["margin"])

    @torch.no_grad()
    def _adapt(self, cosines: Tensor, labels: Tensor) -> None:
        own = cosines.gather(1, labels.view(-1, 1))[:, 0]
        median, row = (gather_rows(own) if self.training else own).median(dim=0)
        scale = adaptive_scale(median, self.alpha, self.scale)
        sums = log_backgrounds(cosines, labels, scale)
        background = pooled_background(gather_rows(sums) if self.training else sums, row, self.background)
        margin = adaptive_margin(median, background, scale, self.alpha) if self.training else torch.zeros_like(scale)
        self.last = {"scale": scale, "margin": margin, "median": median, "log_background": background}
