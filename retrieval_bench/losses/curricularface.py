"""CurricularFace: hard negatives weigh more as training goes on. The "Arcface" class of DELG-PyTorch and DOLG is this.

Huang et al., "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face Recognition", CVPR 2020, eq. 5-8.
"""

import math

import torch
from torch import Tensor

from retrieval_bench.losses.base import ClassificationLoss, register_loss
from retrieval_bench.losses.gathering import distributed, mean_over_ranks
from retrieval_bench.losses.option_checks import check_angle, check_positive
from retrieval_bench.settings.errors import InputError


def curricular_margin(cosines: Tensor, labels: Tensor, t: Tensor, margin: float) -> Tensor:
    """``(B, C)`` cosines with the margin on the own class and the modulation of hard negatives.

    The own class gets ``cos(theta + margin)``, or ``cos - margin * sin(margin)`` where theta exceeds ``pi - margin``.
    A negative above ``cos(theta + margin)`` of its row is hard and becomes ``cos * (t + cos)``.

    Args:
        cosines: ``(B, C)`` in [-1, 1].
        labels: ``(B,)``.
        t: ``(1,)``, the running mean of the cosine to the own class.
        margin: radians.
    """
    own = labels.view(-1, 1)
    target = cosines.gather(1, own)
    # The floor is below the resolution of float32 and keeps the gradient finite at cosines of exactly -1 and 1.
    sine = (1 - target.square()).clamp(min=1e-12).sqrt()
    with_margin = target * math.cos(margin) - sine * math.sin(margin)
    final = torch.where(target > math.cos(math.pi - margin), with_margin, target - margin * math.sin(margin))
    modulated = torch.where(cosines > with_margin, cosines * (t + cosines), cosines)
    return modulated.scatter(1, own, final)


@register_loss("curricularface")
class CurricularFace(ClassificationLoss):
    """CurricularFace with mean cross-entropy.

    The defaults are those of DELG-PyTorch. Its state `t` moves at every call that gets labels, in evaluation too and
    before it is used, as the published codes do; so call either `logits` or `forward` once per batch. In distributed
    runs it follows the mean over all processes, in training only; the published codes leave each with its own.

    Args:
        margin: added to the angle to the own class, radians.
        scale: of the cosines.
        momentum: share of the new batch in `t`.

    Raises:
        InputError: a margin outside [0, pi), a scale that is not positive, or a momentum outside [0, 1].
    """

    exact_gradient = False

    t: Tensor

    def __init__(self, dim: int, num_classes: int, margin: float = 0.15, scale: float = 30.0, momentum: float = 0.01):
        super().__init__(dim, num_classes, scale)
        check_angle(margin=margin)
        check_positive(scale=scale)
        if not 0 <= momentum <= 1:
            raise InputError(f"loss.momentum must lie between 0 and 1, got {momentum}")
        self.margin = margin
        self.momentum = momentum
        self.register_buffer("t", torch.zeros(1))

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """``(B, C)`` cosines with margin and modulation; moves `t`."""
        # Processes of a run may evaluate different numbers of batches, and must not end up with different states.
        if self.training or not distributed():
            with torch.no_grad():
                mean = mean_over_ranks(cosines.gather(1, labels.view(-1, 1)).mean().to(self.t.dtype))
                moved = self.momentum * mean + (1 - self.momentum) * self.t
                # A step that half precision overflowed in is skipped; its mean must not stay for ever.
                self.t.copy_(torch.where(moved.isfinite(), moved, self.t))
        return curricular_margin(cosines, labels, self.t, self.margin)
