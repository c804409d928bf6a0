"""Triplet loss on tuples of a query, a positive and negatives; cirtorch's ``triplet_loss``."""

from typing import Literal

from torch import Tensor

from retrieval_bench.losses.base import MetricLoss, register_loss
from retrieval_bench.losses.tuples import batch_tuples
from retrieval_bench.settings.errors import InputError, nearest


def triplet_tuple_loss(tuples: Tensor, margin: float) -> Tensor:
    """``sum max(0, |q - p|^2 - |q - n|^2 + margin)`` over the negatives of all tuples.

    Args:
        tuples: ``(T, 2 + N, D)`` unit descriptors: query, positive, negatives.
        margin: in squared distances.

    Returns:
        the sum, a scalar.
    """
    squared = (tuples[:, :1] - tuples[:, 1:]).square().sum(dim=-1)  # (T, 1 + N)
    return (squared[:, :1] - squared[:, 1:] + margin).clamp(min=0).sum()


@register_loss("triplet")
class Triplet(MetricLoss):
    """Triplet loss on the pairs of a batch and their hardest negatives (see `batch_tuples`).

    A batch in which no two images match, or all do, has loss 0.

    Args:
        margin: 0.5 in cirtorch's training with a projection layer.
        negatives: per query, from different classes.
        reduction: ``"sum"`` over tuples as published, or their ``"mean"``, which does not grow with the batch.
    """

    def __init__(self, margin: float = 0.5, negatives: int = 5, reduction: Literal["sum", "mean"] = "mean"):
        super().__init__()
        if reduction not in ("sum", "mean"):
            raise InputError(nearest(str(reduction), ("sum", "mean"), noun="value of loss.reduction"))
        self.margin = margin
        self.negatives = negatives
        self.reduction = reduction

    def batch_loss(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """``(B, D)`` unit descriptors and ``(B,)`` labels -> a scalar."""
        tuples = batch_tuples(descriptors, labels, self.negatives)
        total = triplet_tuple_loss(descriptors[tuples], self.margin)
        return total if self.reduction == "sum" else total / max(1, len(tuples))
