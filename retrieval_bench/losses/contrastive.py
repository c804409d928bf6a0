"""Contrastive loss on tuples of a query, a positive and negatives, or on pairs.

Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018, eq. 7; cirtorch's
``contrastive_loss``.
"""

from typing import Literal

import torch
from torch import Tensor

from retrieval_bench.losses.base import MetricLoss, register_loss
from retrieval_bench.losses.option_checks import check_at_least
from retrieval_bench.losses.similarities import matches, nothing, squared_distances
from retrieval_bench.losses.triplet_mining import mined_triplets
from retrieval_bench.losses.tuples import batch_tuples
from retrieval_bench.settings.errors import InputError, nearest

CHOICES = {
    "reduction": ("sum", "mean"),
    "mining": ("class-hardest", "batch-hard", "all"),
    "penalty": ("squared", "linear"),
}


def contrastive_tuple_loss(
    tuples: Tensor,
    margin: float,
    eps: float = 1e-6,
    positive_margin: float = 0.0,
    penalty: Literal["squared", "linear"] = "squared",
) -> Tensor:
    """``1/2 sum d(q, p)^2 + 1/2 sum max(0, margin - d(q, n))^2``, over all tuples.

    Args:
        tuples: ``(T, 2 + N, D)`` unit descriptors: query, positive, negatives.
        margin: distance beyond which a negative costs nothing.
        eps: added to every component of the difference, as cirtorch does; it keeps the gradient finite at d = 0.
        positive_margin: distance up to which a positive costs nothing.
        penalty: ``"linear"`` leaves the squares out.

    Returns:
        the sum, a scalar.
    """
    difference = tuples[:, :1] - tuples[:, 1:] + eps
    squared = difference.square().sum(dim=-1).clamp(min=1e-20)  # (T, 1 + N)
    if positive_margin == 0 and penalty == "squared":
        positive = squared[:, 0].sum()
    else:
        positive = positive_terms(squared[:, 0], positive_margin, penalty).sum()
    return 0.5 * (positive + negative_terms(squared[:, 1:], margin, penalty).sum())


def positive_terms(squared: Tensor, margin: float, penalty: Literal["squared", "linear"]) -> Tensor:
    """Squared distances of matching pairs -> ``max(0, d - margin)``, squared or not."""
    excess = (squared.sqrt() - margin).clamp(min=0)
    return excess.square() if penalty == "squared" else excess


def negative_terms(squared: Tensor, margin: float, penalty: Literal["squared", "linear"]) -> Tensor:
    """Squared distances of pairs that do not match -> ``max(0, margin - d)``, squared or not."""
    lack = (margin - squared.sqrt()).clamp(min=0)
    return lack.square() if penalty == "squared" else lack


@register_loss("contrastive")
class Contrastive(MetricLoss):
    """Contrastive loss on the pairs of a batch and negatives mined in it.

    A batch in which no two images match has loss 0, except with ``mining="all"``, which needs no match.

    Args:
        margin: 0.7 for VGG and 0.85 for ResNet in the paper; about the double with a whitening layer.
        negatives: per query, from different classes; of class-hardest mining.
        reduction: ``"sum"`` over tuples as published, or their ``"mean"``, which does not grow with the batch. Where
            all pairs count, the means over pairs of either kind are added.
        mining: ``"class-hardest"``, cirtorch's: every pair with the hardest images of other classes (see
            `batch_tuples`); ``"batch-hard"``: every image with its farthest positive and nearest negative; ``"all"``:
            every pair.
        positive_margin: distance up to which a positive costs nothing.
        penalty: ``"squared"``, or ``"linear"`` in the distance beyond the margin.

    Raises:
        InputError: an unknown choice, a margin below 0, or less than one negative.
    """

    def __init__(
        self,
        margin: float = 0.85,
        negatives: int = 5,
        reduction: Literal["sum", "mean"] = "mean",
        mining: Literal["class-hardest", "batch-hard", "all"] = "class-hardest",
        positive_margin: float = 0.0,
        penalty: Literal["squared", "linear"] = "squared",
    ):
        super().__init__()
        for key, value in {"reduction": reduction, "mining": mining, "penalty": penalty}.items():
            if value not in CHOICES[key]:
                raise InputError(nearest(str(value), CHOICES[key], noun=f"value of loss.{key}"))
        check_at_least(0, margin=margin, positive_margin=positive_margin)
        check_at_least(1, negatives=negatives)
        self.margin = margin
        self.negatives = negatives
        self.reduction = reduction
        self.mining = mining
        self.positive_margin = positive_margin
        self.penalty: Literal["squared", "linear"] = penalty

    def batch_loss(self, descriptors: Tensor, labels: Tensor, images: Tensor | None = None) -> Tensor:
        """``(B, D)`` unit descriptors and ``(B,)`` labels -> a scalar."""
        if self.mining == "all":
            return self._over_pairs(descriptors, *matches(labels, images))
        if self.mining == "class-hardest":
            tuples = batch_tuples(descriptors, labels, self.negatives, images)
        else:
            tuples = mined_triplets(squared_distances(descriptors), labels, "batch-hard", images)
        total = contrastive_tuple_loss(
            descriptors[tuples], self.margin, positive_margin=self.positive_margin, penalty=self.penalty
        )
        return total if self.reduction == "sum" else total / max(1, len(tuples))

    def _over_pairs(self, descriptors: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        # Below 1e-8 lies what rounding makes of the distance of equal descriptors; a root has no gradient at 0.
        squared = squared_distances(descriptors).clamp(min=1e-8)
        terms = [
            positive_terms(squared[positive], self.positive_margin, self.penalty),
            negative_terms(squared[negative], self.margin, self.penalty),
        ]
        sums = torch.stack([kind.sum() for kind in terms])
        counts = sums.new_tensor([1.0 if self.reduction == "sum" else max(1, len(kind)) for kind in terms])
        return 0.5 * (sums / counts).sum() + nothing(descriptors)
