"""Pairs for the re-ranking stage: hard negatives by the global network, and what triplets a batch holds."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from retrieval_bench.settings.errors import InputError

NEIGHBOURS = 10
"""Images kept for each (Lee et al., CVPR 2022, sec. 3.3)."""

BLOCK = 4096
"""Rows compared at once; the (N, N) similarities of a large training set fit nowhere."""


def hard_neighbours(
    descriptors: Tensor, labels: Tensor, count: int = NEIGHBOURS, device: torch.device | str = "cpu"
) -> Tensor:
    """The rows of other classes with the largest inner product, best first.

    Args:
        descriptors: ``(N, D)``.
        labels: ``(N,)``.
        count: rows kept, fewer where there are not as many for every image.
        device: where similarities are computed.

    Returns:
        ``(N, K)`` rows, on the CPU.

    Raises:
        InputError: all images are of one class.
    """
    others = len(labels) - int(labels.unique(return_counts=True)[1].max())
    if others == 0:
        raise InputError("hard negatives need training images of at least two classes, there is one")
    kept = min(count, others)
    return torch.cat(
        [
            _best(rows.to(device), classes.to(device), descriptors, labels, kept).cpu()
            for rows, classes in _blocks(descriptors, labels)
        ]
    )


def _best(queries: Tensor, classes: Tensor, descriptors: Tensor, labels: Tensor, kept: int) -> Tensor:
    """The best rows of one block of queries, merged block by block of the database."""
    scores = queries.new_full((len(queries), kept), -torch.inf)
    rows = torch.zeros((len(queries), kept), dtype=torch.long, device=queries.device)
    first = 0
    for block, theirs in _blocks(descriptors, labels):
        found = queries @ block.to(queries.device).T
        found = found.masked_fill(classes[:, None] == theirs.to(queries.device), -torch.inf)
        numbers = torch.arange(first, first + len(block), device=queries.device).expand_as(found)
        scores, order = torch.cat([scores, found], dim=1).topk(kept, dim=1)
        rows = torch.cat([rows, numbers], dim=1).gather(1, order)
        first += len(block)
    return rows


def _blocks(*tensors: Tensor) -> Iterator[Sequence[Tensor]]:
    yield from zip(*(tensor.split(BLOCK) for tensor in tensors), strict=True)


def triplets_within(labels: Tensor) -> Tensor:
    """Rows of a batch as query, positive, negative, query, ...

    Args:
        labels: ``(B,)``.

    Returns:
        ``(3 T,)``: every image that has a partner of its class and one of another is a query, with the next of either
        kind behind it in the batch, which is taken as a ring.
    """
    rows = torch.arange(len(labels), device=labels.device)
    alike = labels[:, None] == labels
    behind = (rows - rows[:, None]) % max(1, len(labels))
    itself = behind == 0
    distances = [torch.where(kind & ~itself, behind, len(labels)) for kind in (alike, ~alike)]
    found = [distance.amin(dim=1) if len(labels) else rows for distance in distances]
    queries = rows[(found[0] < len(labels)) & (found[1] < len(labels))]
    chosen = [queries, *((queries + nearest[queries]) % max(1, len(labels)) for nearest in found)]
    return torch.stack(chosen, dim=1).flatten()
