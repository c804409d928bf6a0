"""AdaCos: a softmax over cosines whose scale follows from the number of classes, or from the batch.

Zhang, Zhao, Qiao, Wang and Li, "AdaCos: Adaptively Scaling Cosine Logits for Effectively Learning Deep Face
Representations", CVPR 2019: the fixed and the dynamically adaptive scale. There is no margin.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.losses.base import ClassificationLoss, check_labels, register_loss
from retrieval_bench.losses.gathering import gather_rows
from retrieval_bench.losses.madacos import log_backgrounds
from retrieval_bench.settings.errors import InputError, nearest

WIDEST = math.pi / 4
"""The median angle counts as this where it is wider, as it is early in training."""


def fixed_scale(num_classes: int) -> float:
    """``sqrt(2) ln(C - 1)``; above 0 from three classes up."""
    return math.sqrt(2) * math.log(num_classes - 1)


def dynamic_scale(own: Tensor, log_sums: Tensor) -> Tensor:
    """``ln(mean background) / cos(min(pi / 4, median angle))`` of a batch.

    Args:
        own: ``(N,)`` cosines to the own classes.
        log_sums: ``(N,)`` of ``ln sum over other classes of exp(scale cos)``, at the scale before.

    Returns:
        a scalar; the lower median counts where N is even.
    """
    angle = torch.acos(own.clamp(-1, 1)).median().clamp(max=WIDEST)
    return (log_sums.logsumexp(dim=0) - math.log(len(log_sums))) / angle.cos()


@register_loss("adacos")
class AdaCos(ClassificationLoss):
    """AdaCos with mean cross-entropy (Zhang et al., CVPR 2019).

    The dynamic scale moves at every training call of `forward`, before it is used, and follows the batch of all
    processes. It starts at the fixed one and stays where it was where its formula gives no positive number, as it may
    with few classes. In evaluation, and in `logits`, it is as training left it.

    Args:
        adaptation: ``"dynamic"`` or ``"fixed"``: the scale.

    Attributes:
        scale: ``()``, a buffer.

    Raises:
        InputError: less than three classes, for which the scale would be 0, or an unknown adaptation.
    """

    scale: Tensor  # type: ignore[assignment]

    def __init__(self, dim: int, num_classes: int, adaptation: Literal["dynamic", "fixed"] = "dynamic"):
        if num_classes < 3:
            raise InputError(f"loss adacos needs at least 3 classes, its scale is 0 for {num_classes}; use normsoftmax")
        if adaptation not in ("dynamic", "fixed"):
            raise InputError(nearest(str(adaptation), ("dynamic", "fixed"), noun="value of loss.adaptation"))
        super().__init__(dim, num_classes, 0.0)
        del self.scale
        self.register_buffer("scale", torch.tensor(fixed_scale(num_classes)))
        self.adaptation = adaptation

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """``(B, C)`` cosines as they are."""
        return cosines

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """``(B, D)`` and ``(B,)`` -> mean cross-entropy; moves `scale` in training."""
        check_labels(labels, len(descriptors), self.num_classes)
        cosines = self.cosines(descriptors)
        with torch.autocast(descriptors.device.type, enabled=False):
            if self.training and self.adaptation == "dynamic":
                self._adapt(cosines, labels)
            # The buffer changes in place before the next batch, maybe before this one's backward pass.
            return F.cross_entropy(self.scale.clone() * cosines, labels)

    @torch.no_grad()
    def _adapt(self, cosines: Tensor, labels: Tensor) -> None:
        own = cosines.gather(1, labels.view(-1, 1))[:, 0]
        adapted = dynamic_scale(gather_rows(own), gather_rows(log_backgrounds(cosines, labels, self.scale)))
        usable = adapted.isfinite() & (adapted > 0)
        self.scale.copy_(torch.where(usable, adapted.to(self.scale.dtype), self.scale))
