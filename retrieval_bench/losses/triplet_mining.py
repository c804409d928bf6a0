"""Which triplets of a labelled batch are compared.

``batch-hard`` and ``all``: Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification",
arXiv 2017. ``semi-hard``: Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face Recognition and
Clustering", CVPR 2015.
"""

from typing import Literal

import torch
from torch import Tensor

from retrieval_bench.losses.similarities import matches

Mining = Literal["batch-hard", "semi-hard", "all"]


def mined_triplets(squared: Tensor, labels: Tensor, mining: Mining, images: Tensor | None = None) -> Tensor:
    """Rows of a batch as query, positive and negative.

    Args:
        squared: ``(B, B)`` distances of some kind that grows; no gradient flows through the choice.
        labels: ``(B,)``.
        mining: ``"batch-hard"``: for every image that has both, its farthest positive and its nearest negative.
            ``"semi-hard"``: for every pair of one label the nearest negative that is farther than the positive, or the
            farthest of all where none is. ``"all"``: every triplet; there may be ``B^3`` of them.
        images: as in `matches`.

    Returns:
        ``(T, 3)``; T is 0 where no two images match, or all do.
    """
    squared = squared.detach()
    positive, negative = matches(labels, images)
    if mining == "batch-hard":
        queries = (positive.any(dim=1) & negative.any(dim=1)).nonzero()[:, 0]
        farthest = squared.masked_fill(~positive, -torch.inf).argmax(dim=1)
        nearest = squared.masked_fill(~negative, torch.inf).argmin(dim=1)
        return torch.stack([queries, farthest[queries], nearest[queries]], dim=1)
    queries, positives = (positive & negative.any(dim=1, keepdim=True)).nonzero(as_tuple=True)
    candidates = negative[queries]  # (pairs, B)
    if mining == "all":
        pair, negatives = candidates.nonzero(as_tuple=True)
        return torch.stack([queries[pair], positives[pair], negatives], dim=1)
    rows = squared[queries]
    beyond = candidates & (rows > rows.gather(1, positives[:, None]))
    chosen = torch.where(
        beyond.any(dim=1),
        rows.masked_fill(~beyond, torch.inf).argmin(dim=1),
        rows.masked_fill(~candidates, -torch.inf).argmax(dim=1),
    )
    return torch.stack([queries, positives, chosen], dim=1)
