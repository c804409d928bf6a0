"""Triplet loss on tuples of a query, a positive and negatives; cirtorch's ``triplet_loss``, and other minings of it."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.losses.base import MetricLoss, register_loss
from retrieval_bench.losses.option_checks import check_at_least
from retrieval_bench.losses.similarities import nothing, squared_distances
from retrieval_bench.losses.triplet_mining import mined_triplets
from retrieval_bench.losses.tuples import batch_tuples
from retrieval_bench.settings.errors import InputError, nearest

CHOICES = {
    "reduction": ("sum", "mean", "mean-active"),
    "mining": ("class-hardest", "batch-hard", "semi-hard", "all"),
    "distance": ("squared", "euclidean"),
    "hinge": ("hard", "soft"),
}


def triplet_tuple_loss(tuples: Tensor, margin: float) -> Tensor:
    """``sum max(0, |q - p|^2 - |q - n|^2 + margin)`` over the negatives of all tuples.

    Args:
        tuples: ``(T, 2 + N, D)`` unit descriptors: query, positive, negatives.
        margin: in squared distances.

    Returns:
        the sum, a scalar.
    """
    squared = (tuples[:, :1] - tuples[:, 1:]).square().sum(dim=-1)  # (T, 1 + N)
    return triplet_terms(squared[:, :1], squared[:, 1:], margin).sum()


def triplet_terms(
    near: Tensor,
    far: Tensor,
    margin: float,
    distance: Literal["squared", "euclidean"] = "squared",
    hinge: Literal["hard", "soft"] = "hard",
) -> Tensor:
    """``max(0, d(q, p) - d(q, n) + margin)``, or its soft form ``ln(1 + exp(d(q, p) - d(q, n) + margin))``.

    Args:
        near, far: squared distances to positives and negatives, of shapes that broadcast.
        margin: in the distance compared.
        distance: whether squared distances or their roots are compared.
        hinge: hard or soft.
    """
    if distance == "euclidean":
        # The root has no finite gradient at 0.
        near, far = near.clamp(min=1e-8).sqrt(), far.clamp(min=1e-8).sqrt()
    violation = near - far + margin
    return violation.clamp(min=0) if hinge == "hard" else F.softplus(violation)


@register_loss("triplet")
class Triplet(MetricLoss):
    """Triplet loss on the pairs of a batch and negatives mined in it.

    A batch in which no two images match, or all do, has loss 0.

    Args:
        margin: 0.5 in cirtorch's training with a projection layer.
        negatives: per query, from different classes; of class-hardest mining.
        reduction: ``"sum"`` over tuples as published by cirtorch, their ``"mean"``, which does not grow with the batch,
            or ``"mean-active"`` over the triplets whose loss is not 0.
        mining: ``"class-hardest"``, cirtorch's: every pair with the hardest images of other classes (see
            `batch_tuples`); ``"batch-hard"``, ``"semi-hard"`` and ``"all"``: see `mined_triplets`.
        distance: ``"squared"`` or ``"euclidean"`` distances are compared.
        hinge: ``"hard"``, or ``"soft"``: a softplus (Hermans, Beyer, Leibe, arXiv 2017, with margin 0).

    Raises:
        InputError: an unknown choice, a margin below 0, or less than one negative.
    """

    def __init__(
        self,
        margin: float = 0.5,
        negatives: int = 5,
        reduction: Literal["sum", "mean", "mean-active"] = "mean",
        mining: Literal["class-hardest", "batch-hard", "semi-hard", "all"] = "class-hardest",
        distance: Literal["squared", "euclidean"] = "squared",
        hinge: Literal["hard", "soft"] = "hard",
    ):
        super().__init__()
        given = {"reduction": reduction, "mining": mining, "distance": distance, "hinge": hinge}
        for key, value in given.items():
            if value not in CHOICES[key]:
                raise InputError(nearest(str(value), CHOICES[key], noun=f"value of loss.{key}"))
        check_at_least(0, margin=margin)
        check_at_least(1, negatives=negatives)
        self.margin = margin
        self.negatives = negatives
        self.reduction = reduction
        self.mining = mining
        self.distance: Literal["squared", "euclidean"] = distance
        self.hinge: Literal["hard", "soft"] = hinge

    def batch_loss(self, descriptors: Tensor, labels: Tensor, images: Tensor | None = None) -> Tensor:
        """``(B, D)`` unit descriptors and ``(B,)`` labels -> a scalar."""
        near, far = self._distances(descriptors, labels, images)
        terms = triplet_terms(near, far, self.margin, self.distance, self.hinge)
        if not terms.numel():
            return nothing(descriptors)
        if self.reduction == "sum":
            return terms.sum()
        return terms.sum() / (len(terms) if self.reduction == "mean" else (terms > 0).sum().clamp(min=1))

    def _distances(self, descriptors: Tensor, labels: Tensor, images: Tensor | None) -> tuple[Tensor, Tensor]:
        """Squared distances of T queries to their positives ``(T, 1)`` and to their negatives ``(T, N)``."""
        if self.mining == "class-hardest":
            tuples = descriptors[batch_tuples(descriptors, labels, self.negatives, images)]
            squared = (tuples[:, :1] - tuples[:, 1:]).square().sum(dim=-1)
        else:
            whole = squared_distances(descriptors)
            rows = mined_triplets(whole, labels, self.mining, images)
            squared = torch.stack([whole[rows[:, 0], rows[:, 1]], whole[rows[:, 0], rows[:, 2]]], dim=1)
        return squared[:, :1], squared[:, 1:]
