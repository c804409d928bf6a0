"""What losses on the pairs of a batch share: similarities, which pairs match, and means over queries."""

import torch
from torch import Tensor


def matches(labels: Tensor, images: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``(B,)`` labels -> ``(B, B)`` bool each: pairs of different images with one label, and with different labels.

    Args:
        labels: of the rows.
        images: ``(B,)``, equal where rows are of one image; None: every row is an image of its own.
    """
    same = labels[:, None] == labels[None, :]
    images = torch.arange(len(labels), device=labels.device) if images is None else images
    return same & (images[:, None] != images[None, :]), ~same


def squared_distances(descriptors: Tensor) -> Tensor:
    """``(B, D)`` unit descriptors -> ``(B, B)`` squared distances in [0, 4]."""
    return (2 - 2 * descriptors @ descriptors.T).clamp(0, 4)


def mean_over_queries(values: Tensor, queries: Tensor, batch: int) -> Tensor:
    """The mean over queries of the mean over each one's values, so that all queries weigh the same.

    Args:
        values: ``(T,)``, T at least 1.
        queries: ``(T,)`` rows of the batch that they belong to; a row without any does not count.
        batch: B.
    """
    sums = values.new_zeros(batch).index_add(0, queries, values)
    counts = torch.bincount(queries, minlength=batch)
    return (sums / counts.clamp(min=1)).sum() / (counts > 0).sum()


def nothing(descriptors: Tensor) -> Tensor:
    """A loss of 0 that has a gradient, 0 as well, for batches in which there is nothing to learn."""
    return (descriptors * 0).sum()
