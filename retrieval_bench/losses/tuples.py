"""Tuples of a query, a positive and hard negatives, taken from a labelled batch."""

import torch
from torch import Tensor

from retrieval_bench.losses.similarities import matches


def batch_tuples(descriptors: Tensor, labels: Tensor, negatives: int, images: Tensor | None = None) -> Tensor:
    """Every pair of one label, each with the hardest negatives of its query.

    As in cirtorch's mining, negatives go by falling inner product with the query and no two are of one class; here
    they come from the batch instead of a pool.

    Args:
        descriptors: ``(B, D)``, unit norm.
        labels: ``(B,)``.
        negatives: N at most; there are never more than the other classes of the batch.
        images: as in `matches`.

    Returns:
        ``(T, 2 + N)`` rows of the batch in the order query, positive, negatives; T is 0 where no two images match.
    """
    queries, positives = matches(labels, images)[0].nonzero(as_tuple=True)
    classes, members = labels.unique(return_inverse=True)
    similarity = descriptors.detach() @ descriptors.detach().T  # (B, B)
    of_class = torch.nn.functional.one_hot(members, len(classes)).bool().T  # (classes, B)
    # (B, classes, B) would be too much for large batches: one class at a time.
    best = [similarity.masked_fill(~row, -torch.inf).max(dim=1) for row in of_class]
    hardness = torch.stack([entry.values for entry in best], dim=1)
    hardest = torch.stack([entry.indices for entry in best], dim=1)
    hardness = hardness.masked_fill(of_class.T, -torch.inf)
    chosen = hardness.topk(min(negatives, len(classes) - 1), dim=1).indices
    return torch.cat([queries[:, None], positives[:, None], hardest.gather(1, chosen)[queries]], dim=1)
