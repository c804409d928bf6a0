"""Contrastive loss on tuples of a query, a positive and negatives.

Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018, eq. 7; cirtorch's
``contrastive_loss``.
"""

from typing import Literal

from torch import Tensor

from retrieval_bench.losses.base import MetricLoss, register_loss
from retrieval_bench.losses.tuples import batch_tuples
from retrieval_bench.settings.errors import InputError, nearest


def contrastive_tuple_loss(tuples: Tensor, margin: float, eps: float = 1e-6) -> Tensor:
    """``1/2 sum d(q, p)^2 + 1/2 sum max(0, margin - d(q, n))^2``, over all tuples.

    Args:
        tuples: ``(T, 2 + N, D)`` unit descriptors: query, positive, negatives.
        margin: distance beyond which a negative costs nothing.
        eps: added to every component of the difference, as cirtorch does; it keeps the gradient finite at d = 0.

    Returns:
        the sum, a scalar.
    """
    difference = tuples[:, :1] - tuples[:, 1:] + eps
    squared = difference.square().sum(dim=-1).clamp(min=1e-20)  # (T, 1 + N)
    positive = squared[:, 0].sum()
    negative = (margin - squared[:, 1:].sqrt()).clamp(min=0).square().sum()
    return 0.5 * (positive + negative)


@register_loss("contrastive")
class Contrastive(MetricLoss):
    """Contrastive loss on the pairs of a batch and their hardest negatives (see `batch_tuples`).

    A batch in which no two images match has loss 0.

    Args:
        margin: 0.7 for VGG and 0.85 for ResNet in the paper; about the double with a whitening layer.
        negatives: per query, from different classes.
        reduction: ``"sum"`` over tuples as published, or their ``"mean"``, which does not grow with the batch.
    """

    def __init__(self, margin: float = 0.85, negatives: int = 5, reduction: Literal["sum", "mean"] = "mean"):
        super().__init__()
        if reduction not in ("sum", "mean"):
            raise InputError(nearest(str(reduction), ("sum", "mean"), noun="value of loss.reduction"))
        self.margin = margin
        self.negatives = negatives
        self.reduction = reduction

    def batch_loss(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """``(B, D)`` unit descriptors and ``(B,)`` labels -> a scalar."""
        tuples = batch_tuples(descriptors, labels, self.negatives)
        total = contrastive_tuple_loss(descriptors[tuples], self.margin)
        return total if self.reduction == "sum" else total / max(1, len(tuples))
