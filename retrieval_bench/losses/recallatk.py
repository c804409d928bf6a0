"""A smooth recall at k.

Patel, Tolias and Matas, "Recall@k Surrogate Loss with Large Batches and Similarity Mixup", CVPR 2022, and the code that
its authors published. Without its similarity mixup.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from retrieval_bench.losses.base import MetricLoss, register_loss
from retrieval_bench.losses.option_checks import check_positive
from retrieval_bench.losses.similarities import mean_over_queries, nothing
from retrieval_bench.losses.smooth_ranks import Query, SmoothRanks, smooth_ranks
from retrieval_bench.settings.errors import InputError, nearest

Form = Literal["plain", "released"]


def released_recall(ranks: SmoothRanks, ks: Sequence[int], rank_temperature: float, batch: int) -> Tensor:
    """What the authors' code maximises: ``mean over k of min(sum of sigmoids, k) / min(k, P)``, mean over queries.

    Args:
        ranks: with queries counted, so that each stands before its P positives, and is not one of them.
        ks: values of k; one above the batch counts as the batch.
        rank_temperature: of the sigmoid at k = 1; at k it is k times that.
        batch: B.

    Returns:
        a scalar in [0, 1].
    """
    others = ranks.queries != ranks.members
    queries = ranks.queries[others]
    rank = 1 + (ranks.positives + ranks.negatives)[others]
    temperatures = rank_temperature * torch.tensor(ks, dtype=rank.dtype, device=rank.device)
    depths = torch.tensor([min(k, batch) for k in ks], dtype=rank.dtype, device=rank.device)
    within = torch.sigmoid((depths - rank[:, None]) / temperatures)  # (T, number of k)
    found = within.new_zeros(batch, len(ks)).index_add(0, queries, within)
    positives = torch.bincount(queries, minlength=batch)[:, None]
    recall = torch.minimum(found, depths) / torch.minimum(positives.to(depths.dtype), depths).clamp(min=1)
    return recall[positives[:, 0] > 0].mean()


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
        ks: values of k; these are the authors' code's.
        rank_temperature: of the sigmoid on ranks; 1 is recalled from the paper, unverified.
        temperature: of the sigmoid on similarities, in cosines; 0.01 as in the authors' code.
        form: ``"plain"`` as above, or ``"released"`` as the authors' code: the query is found by itself and moves its
            positives down a rank, the temperature on ranks is k times `rank_temperature`, and the sum over positives,
            k at most, is divided by as many of them as k ranks can hold.

    Raises:
        InputError: no k, a k below 1, a temperature that is not positive, or an unknown form.
    """

    instances: ClassVar[int | None] = 4

    def __init__(
        self,
        ks: Sequence[int] = (1, 2, 4, 8, 16),
        rank_temperature: float = 1.0,
        temperature: float = 0.01,
        form: Form = "plain",
    ):
        super().__init__()
        if not ks or min(ks) < 1:
            raise InputError(f"loss.ks must be whole numbers from 1 up, got {list(ks)}")
        check_positive(rank_temperature=rank_temperature, temperature=temperature)
        if form not in ("plain", "released"):
            raise InputError(nearest(str(form), ("plain", "released"), noun="value of loss.form"))
        self.ks = tuple(ks)
        self.rank_temperature = rank_temperature
        self.temperature = temperature
        self.form: Form = form

    def batch_loss(self, descriptors: Tensor, labels: Tensor, images: Tensor | None = None) -> Tensor:
        """``(B, D)`` unit descriptors and ``(B,)`` labels -> a scalar in [0, 1]."""
        query: Query = "left out" if self.form == "plain" else "counted"
        ranks = smooth_ranks(descriptors, labels, self.temperature, query, images)
        if not len(ranks.queries):
            return nothing(descriptors)
        if self.form == "released":
            return 1 - released_recall(ranks, self.ks, self.rank_temperature, len(labels))
        rank = 1 + ranks.positives + ranks.negatives
        ks = torch.tensor(self.ks, dtype=rank.dtype, device=rank.device)
        within = torch.sigmoid((ks - rank[:, None]) / self.rank_temperature).mean(dim=1)
        return 1 - mean_over_queries(within, ranks.queries, len(labels))
