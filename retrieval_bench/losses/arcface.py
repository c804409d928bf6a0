"""ArcFace: an additive margin on the angle to the own class.

Deng, Guo, Xue and Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, eq. 3. What
the published retrieval codes do differently lies beyond ``pi - m``, where the angle with margin would pass pi:
SpCa, Token and DELG (TensorFlow) keep the plain cosine there.

Sub-centres: Deng, Guo, Liu, Gong and Zafeiriou, "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web
Faces", ECCV 2020.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from retrieval_bench.losses.base import ClassificationLoss, register_loss
from retrieval_bench.losses.option_checks import check_angle, check_positive
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
        sub_centres: K weight vectors of each class, of which the nearest counts, so that outliers of a class need not
            lie where the others do; the paper has 3. Weights, their gradient and the cosines grow K times: at 81,313
            classes and 512 dimensions each further one costs 0.17 GB of weights. The paper's second training, without
            the images far from their class's dominant centre, is not part of this loss.

    Attributes:
        weight: ``(C K, D)``, the K of one class behind each other.

    Raises:
        InputError: a margin outside [0, pi), a scale that is not positive, a clamp outside (0, 1), an unknown
            `beyond`, or less than one sub-centre.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        margin: float = 0.15,
        scale: float = 32.0,
        beyond: Beyond = "keep",
        clamp: float = 1e-6,
        sub_centres: int = 1,
    ):
        super().__init__(dim, num_classes, scale)
        if beyond not in ("keep", "linear"):
            raise InputError(nearest(str(beyond), ("keep", "linear"), noun="value of loss.beyond"))
        check_angle(margin=margin)
        check_positive(scale=scale)
        if not 0 < clamp < 1:
            raise InputError(f"loss.clamp must lie between 0 and 1, got {clamp}")
        if sub_centres < 1:
            raise InputError(f"loss.sub_centres must be at least 1, got {sub_centres}")
        self.margin = margin
        self.beyond = beyond
        self.clamp = clamp
        self.sub_centres = sub_centres
        if sub_centres > 1:
            self.weight = nn.Parameter(torch.empty(num_classes * sub_centres, dim))
            nn.init.xavier_uniform_(self.weight)

    def cosines(self, descriptors: Tensor) -> Tensor:
        """``(B, D)`` -> ``(B, C)`` cosines to the nearest centre of each class, in [-1, 1], float32 at least."""
        cosines = super().cosines(descriptors)
        if self.sub_centres == 1:
            return cosines
        return cosines.unflatten(1, (self.num_classes, self.sub_centres)).max(dim=2).values

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """``(B, C)`` cosines with the margin on the own class."""
        bounded = cosines.clamp(-1 + self.clamp, 1 - self.clamp)
        own = labels.view(-1, 1)
        return bounded.scatter(1, own, angular_margin(bounded.gather(1, own), self.margin, self.beyond))
