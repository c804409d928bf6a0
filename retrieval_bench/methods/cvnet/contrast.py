"""CVNet's contrastive loss: each positive of a query against all its negatives, with CurricularFace's modulation.

For a query q with positives P and negatives N among the momentum descriptors, temperature tau::

    L(q) = mean over p of  -log( exp(C(p, 1) / tau) / (exp(C(p, 1) / tau) + sum over n of exp(C(n, 0) / tau)) )

C puts CurricularFace's margin on the cosine to p and raises the negatives that lie above it (Huang et al., CVPR 2020,
eq. 5-8), with a running mean of its own (Lee et al., CVPR 2022, sec. 3.1). That a negative is hard against each
positive separately, and that positives are averaged per query first, is a reading of the paper: unverified.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ABSENT = -2.0
"""Stands for a cosine that does not count: below all of them, and below every margin."""

FLOOR = -1e4
"""Its logit: adds nothing to a sum of exponentials, and keeps gradients finite where minus infinity would not."""


def positive_margin(cosines: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Cosines as if each were the positive: with the margin, and the bound above which a negative is hard."""
    # The floor is below the resolution of float32 and keeps the gradient finite at cosines of exactly -1 and 1.
    sine = (1 - cosines.square()).clamp(min=1e-12).sqrt()
    bound = cosines * math.cos(margin) - sine * math.sin(margin)
    beyond = cosines - margin * math.sin(margin)
    return torch.where(cosines > math.cos(math.pi - margin), bound, beyond), bound


def curricular_contrast(
    cosines: Tensor, positives: Tensor, negatives: Tensor, t: Tensor, margin: float, temperature: float
) -> Tensor:
    """The loss of each query, in the dtype of `cosines`.

    Every positive has its own bound between easy and hard negatives, so negatives are sorted once and both sums read
    off running sums: work and memory grow with ``B * K``, not with the number of pairs.

    Args:
        cosines: ``(B, K)`` of queries to momentum descriptors, in [-1, 1].
        positives, negatives: ``(B, K)`` bool; what is in neither does not count.
        t: ``(1,)``, the running mean of the cosine to positives.
        margin: radians.
        temperature: of the softmax.

    Returns:
        ``(B,)``; zero for a query without a positive.
    """
    own, bound = positive_margin(cosines, margin)
    rising = torch.where(negatives, cosines, ABSENT).sort(dim=1).values
    absent = rising.detach() == ABSENT
    as_is = (rising / temperature).masked_fill(absent, FLOOR)
    raised = (rising * (t + rising) / temperature).masked_fill(absent, FLOOR)
    # Column j: the j lowest negatives as they are, and all from the j-th on raised.
    easy = F.pad(as_is.logcumsumexp(dim=1), (1, 0), value=FLOOR)
    hard = F.pad(raised.flip(1).logcumsumexp(dim=1).flip(1), (0, 1), value=FLOOR)
    split = torch.searchsorted(rising.detach().contiguous(), bound.detach().contiguous(), right=True)
    others = torch.logaddexp(easy.gather(1, split), hard.gather(1, split))
    pairs = F.softplus(others - own / temperature)
    return mean_over(pairs, positives)


def mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """``(B, K)`` values -> ``(B,)``: the mean over the chosen ones of each row; zero where none is."""
    return (values * chosen).sum(dim=1) / chosen.sum(dim=1).clamp(min=1)
