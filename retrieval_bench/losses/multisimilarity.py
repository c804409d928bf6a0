"""Multi-similarity loss: pairs are chosen by comparison with the other pairs of their image, then weighed smoothly.

Wang, Han, Huang, Dong and Scott, "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", CVPR
2019: its pair mining and its loss.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from retrieval_bench.losses.base import MetricLoss, register_loss
from retrieval_bench.losses.option_checks import check_finite, check_positive
from retrieval_bench.losses.similarities import matches
from retrieval_bench.settings.errors import InputError, nearest


def informative_pairs(similarity: Tensor, positive: Tensor, negative: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The pairs from which there is something to learn, row by row.

    A negative stays if it is more similar than the least similar positive less `epsilon`, a positive if it is less
    similar than the most similar negative plus `epsilon`. Rows that lack either kind keep none.

    Args:
        similarity: ``(B, B)``.
        positive, negative: ``(B, B)`` bool.
        epsilon: of the comparison, in cosines.
    """
    least = similarity.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)
    most = similarity.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
    # What is left out is named, since a NaN compares as neither: its pairs stay, and the loss shows it.
    return positive & ~(similarity >= most + epsilon), negative & ~(similarity <= least - epsilon)


def soft_sum(exponents: Tensor, counted: Tensor) -> Tensor:
    """``(B, B)`` -> ``(B,)``: ``ln(1 + sum of exp)`` over the counted ones of each row."""
    exponents = exponents.masked_fill(~counted, -torch.inf)
    return torch.cat([exponents.new_zeros(len(exponents), 1), exponents], dim=1).logsumexp(dim=1)


@register_loss("multisimilarity")
class MultiSimilarity(MetricLoss):
    """Multi-similarity loss with its mining, the mean over the images of a batch (Wang et al., CVPR 2019).

    Images for which no pair is left count as 0.

    Args:
        alpha: of positives; 2 as in the paper and in the authors' code.
        beta: of negatives; 50 as in the paper, 40 in the authors' code.
        threshold: lambda, the similarity about which pairs are weighed. The paper says 1, the authors' code 0.5.
        epsilon: of the mining; 0.1 as in the paper and in the authors' code.
        mining: ``"informative"`` pairs, or ``"all"``.

    Raises:
        InputError: alpha or beta not positive, another number not finite, or an unknown mining.
    """

    instances: ClassVar[int | None] = 5

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        threshold: float = 0.5,
        epsilon: float = 0.1,
        mining: Literal["informative", "all"] = "informative",
    ):
        super().__init__()
        check_positive(alpha=alpha, beta=beta)
        check_finite(threshold=threshold, epsilon=epsilon)
        if mining not in ("informative", "all"):
            raise InputError(nearest(str(mining), ("informative", "all"), noun="value of loss.mining"))
        self.alpha = alpha
        self.beta = beta
        self.threshold = threshold
        self.epsilon = epsilon
        self.mining = mining

    def batch_loss(self, descriptors: Tensor, labels: Tensor, images: Tensor | None = None) -> Tensor:
        """``(B, D)`` unit descriptors and ``(B,)`` labels -> a scalar."""
        similarity = descriptors @ descriptors.T
        positive, negative = matches(labels, images)
        if self.mining == "informative":
            positive, negative = informative_pairs(similarity.detach(), positive, negative, self.epsilon)
        apart = soft_sum(-self.alpha * (similarity - self.threshold), positive) / self.alpha
        close = soft_sum(self.beta * (similarity - self.threshold), negative) / self.beta
        return (apart + close).mean()
