"""ArcFace: an additive margin on the angle to the own class.

Deng, Guo, Xue and Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, eq. 3. What
the published retrieval codes do differently lies beyond ``pi - m``, where the angle with margin would pass pi:
SpCa, Token and DELG (TensorFlow) keep the plain cosine there.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from retrieval_bench.losses.base import ClassificationLoss, register_loss
from retrieval_bench.settings.errors import InputError, nearest

Beyond = Literal["keep", "linear"]


def angular_margin(cosine: Tensor, margin: float, beyond: Beyond = "keep") -> Tensor:
    """``cos(theta + margin)`` of any cosines in (-1, 1).

    Where ``theta > pi - margin``, ``"keep"`` gives the cosine itself and ``"linear"`` gives
    ``cos - margin * sin(margin)``, which goes on falling with the angle.
    """
    angle = torch.acos(cosine)
    fallback = cosine if beyond == "keep" else cosine - margin * math.sin(margin)
    return torch.where(angle <= math.pi - margin, torch.cos(angle + margin), fallback)


@register_loss("arcface")
class ArcFace(ClassificationLoss):
    """ArcFace with mean cross-entropy.

    The defaults are those of SpCa's training script; DELG (TensorFlow) has margin 0.1 and scale 45.25.

    Args:
        margin: added to the angle to the own class, radians.
        scale: of the cosines.
        beyond: the target logit where the angle exceeds ``pi - margin``: see `angular_margin`.
        clamp: cosines are kept this far from -1 and 1, where the inverse cosine has no finite gradient.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        margin: float = 0.15,
        scale: float = 32.0,
        beyond: Beyond = "keep",
        clamp: float = 1e-6,
    ):
        super().__init__(dim, num_classes, scale)
        if beyond not in ("keep", "linear"):
            raise InputError(nearest(str(beyond), ("keep", "linear"), noun="value of loss.beyond"))
        self.margin = margin
        self.beyond = beyond
        self.clamp = clamp

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """``(B, C)`` cosines with the margin on the own class."""
        bounded = cosines.clamp(-1 + self.clamp, 1 - self.clamp)
        own = labels.view(-1, 1)
        return bounded.scatter(1, own, angular_margin(bounded.gather(1, own), self.margin, self.beyond))
