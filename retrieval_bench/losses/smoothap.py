"""Smooth-AP: average precision with sigmoids for comparisons.

Brown, Xie, Kalogeiton and Zisserman, "Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval", ECCV 2020.
"""

from typing import ClassVar

from torch import Tensor

from retrieval_bench.losses.base import MetricLoss, register_loss
from retrieval_bench.losses.option_checks import check_positive
from retrieval_bench.losses.similarities import mean_over_queries, nothing
from retrieval_bench.losses.smooth_ranks import Query, smooth_ranks
from retrieval_bench.settings.errors import InputError, nearest


@register_loss("smoothap")
class SmoothAP(MetricLoss):
    """Smooth-AP: one minus the mean smoothed average precision (Brown et al., ECCV 2020).

    Every image asks for the others of its class. Images without one do not count; a batch without any has loss 0.
    Memory grows with ``B^2 (K - 1)``: 8 MB for each kept copy at batch 384 with 4 images of a class.

    Args:
        temperature: of the sigmoid, in cosines; 0.01 in the paper and in the authors' code.
        query: ``"left out"`` of its own list, as in evaluation, or ``"counted"`` as its own first positive, as the
            authors' code and its port to pytorch-metric-learning do; that shrinks the loss.

    Raises:
        InputError: a temperature that is not positive, or an unknown `query`.
    """

    instances: ClassVar[int | None] = 4

    def __init__(self, temperature: float = 0.01, query: Query = "left out"):
        super().__init__()
        check_positive(temperature=temperature)
        if query not in ("left out", "counted"):
            raise InputError(nearest(str(query), ("left out", "counted"), noun="value of loss.query"))
        self.temperature = temperature
        self.query: Query = query

    def batch_loss(self, descriptors: Tensor, labels: Tensor, images: Tensor | None = None) -> Tensor:
        """``(B, D)`` unit descriptors and ``(B,)`` labels -> a scalar in [0, 1]."""
        ranks = smooth_ranks(descriptors, labels, self.temperature, self.query, images)
        if not len(ranks.queries):
            return nothing(descriptors)
        precision = (1 + ranks.positives) / (1 + ranks.positives + ranks.negatives)
        return 1 - mean_over_queries(precision, ranks.queries, len(labels))
