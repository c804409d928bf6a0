"""FastAP: average precision over a histogram of distances.

Cakir, He, Xia, Kulis and Sclaroff, "Deep Metric Learning to Rank", CVPR 2019.
"""

from typing import ClassVar

import torch
from torch import Tensor

from retrieval_bench.losses.base import MetricLoss, register_loss
from retrieval_bench.losses.similarities import matches, nothing, squared_distances
from retrieval_bench.settings.errors import InputError


def histograms(squared: Tensor, counted: Tensor, bins: int) -> Tensor:
    """How many images lie at each of ``bins + 1`` distances, evenly spread over [0, 4], both ends included.

    An image between two of them is shared between both, linearly.

    Args:
        squared: ``(Q, B)`` squared distances in [0, 4].
        counted: ``(Q, B)`` bool.
        bins: L.

    Returns:
        ``(Q, L + 1)``.
    """
    place = squared * (bins / 4)
    centres = torch.arange(bins + 1, dtype=squared.dtype, device=squared.device)
    shares = (1 - (place[..., None] - centres).abs()).clamp(min=0)  # (Q, B, L + 1)
    return torch.einsum("qbl,qb->ql", shares, counted.to(shares.dtype))


def histogram_ap(positives: Tensor, negatives: Tensor) -> Tensor:
    """``(Q, L)`` histograms, nearest bin first -> ``(Q,)`` average precision: ``sum h+ H+ / H`` over their number."""
    found = positives.cumsum(dim=1)
    retrieved = found + negatives.cumsum(dim=1)
    precision = found / torch.where(retrieved > 0, retrieved, 1)
    return (positives * precision).sum(dim=1) / found[:, -1].clamp(min=torch.finfo(found.dtype).eps)


@register_loss("fastap")
class FastAP(MetricLoss):
    """FastAP: one minus the mean average precision over a histogram of squared distances (Cakir et al., CVPR 2019).

    Every image asks for the others of its class. Images without one do not count; a batch without any has loss 0.
    Memory is ``B^2 (bins + 1)`` numbers.

    Args:
        bins: of the histogram over [0, 4]; 10 as in the authors' code.

    Raises:
        InputError: less than one bin.
    """

    instances: ClassVar[int | None] = 4

    def __init__(self, bins: int = 10):
        super().__init__()
        if bins < 1:
            raise InputError(f"loss.bins must be at least 1, got {bins}")
        self.bins = bins

    def batch_loss(self, descriptors: Tensor, labels: Tensor, images: Tensor | None = None) -> Tensor:
        """``(B, D)`` unit descriptors and ``(B,)`` labels -> a scalar in [0, 1]."""
        positive, negative = matches(labels, images)
        asking = positive.any(dim=1)
        if not bool(asking.any()):
            return nothing(descriptors)
        squared = squared_distances(descriptors)[asking]
        counts = [histograms(squared, kind[asking], self.bins) for kind in (positive, negative)]
        return 1 - histogram_ap(*counts).mean()
