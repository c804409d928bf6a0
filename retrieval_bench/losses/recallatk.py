"""A smooth recall at k.

Patel, Tolias and Matas, "Recall@k Surrogate Loss with Large Batches and Similarity Mixup", CVPR 2022. Without its
similarity mixup.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from retrieval_bench.losses.base import MetricLoss, register_loss
from retrieval_bench.losses.similarities import mean_over_queries, nothing
from retrieval_bench.losses.smooth_ranks import smooth_ranks
from retrieval_bench.settings.errors import InputError


@register_loss("recallatk")
class RecallAtK(MetricLoss):
    """Recall@k surrogate: one minus the mean over k of the smoothed share of positives within rank k (Patel et al.,
    CVPR 2022).

    ``R@k = mean over positives of sigmoid((k - rank) / rank_temperature)``, where the rank is 1 and the sigmoids of all
    images of the batch that may stand before the positive. So even a perfect ranking has a loss above 0. Every image
    asks for the others of its class, itself left out; images without one do not count. Large batches are what the paper
    is about: its thousands of images need more memory than one pass has (see `smooth_ranks`), so none of its figures is
    claimed here.

    Args:
        ks: values of k. The paper trains with several at once; these are recalled, unverified.
        rank_temperature: of the sigmoid on ranks; 1 is recalled, unverified.
        temperature: of the sigmoid on similarities, in cosines; 0.01 is recalled, unverified.

    Raises:
        InputError: no k, a k below 1, or a temperature that is not positive.
    """

    instances: ClassVar[int | None] = 4

    def __init__(self, ks: Sequence[int] = (1, 2, 4, 8, 16), rank_temperature: float = 1.0, temperature: float = 0.01):
        super().__init__()
        if not ks or min(ks) < 1:
            raise InputError(f"loss.ks must be whole numbers from 1 up, got {list(ks)}")
        for key, value in (("rank_temperature", rank_temperature), ("temperature", temperature)):
            if not value > 0:
                raise InputError(f"loss.{key} must be positive, got {value}")
        self.ks = tuple(ks)
        self.rank_temperature = rank_temperature
        self.temperature = temperature

    def batch_loss(self, descriptors: Tensor, labels: Tensor, images: Tensor | None = None) -> Tensor:
        """``(B, D)`` unit descriptors and ``(B,)`` labels -> a scalar in [0, 1]."""
        ranks = smooth_ranks(descriptors, labels, self.temperature, images=images)
        if not len(ranks.queries):
            return nothing(descriptors)
        rank = 1 + ranks.positives + ranks.negatives
        ks = torch.tensor(self.ks, dtype=rank.dtype, device=rank.device)
        within = torch.sigmoid((ks - rank[:, None]) / self.rank_temperature).mean(dim=1)
        return 1 - mean_over_queries(within, ranks.queries, len(labels))
