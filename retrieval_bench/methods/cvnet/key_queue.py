"""A first-in-first-out queue of descriptors with their classes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from retrieval_bench.settings.errors import InputError

EMPTY = -1
"""The label of a row that holds nothing yet."""


@dataclass(frozen=True)
class Candidates:
    """What queries are compared with.

    Attributes:
        descriptors: ``(n, D)``.
        labels: ``(n,)``.
        rows: ``(k,)``, where the newest k of them stand, in the order in which they came.
    """

    descriptors: Tensor
    labels: Tensor
    rows: Tensor


class KeyQueue(nn.Module):
    """The newest descriptors and their labels. Its buffers are in the state dict, so that a run resumes exactly.

    Args:
        size: K, rows of the buffers.
        dim: D.

    Attributes:
        descriptors: ``(K, D)``.
        labels: ``(K,)``, -1 where a row is empty.
        pushed: how many keys ever came in; the next one goes to row ``pushed % capacity``.
        capacity: how many rows are in use, K unless `limit` says less.
    """

    descriptors: Tensor
    labels: Tensor
    pushed: Tensor

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.capacity = size
        self.register_buffer("descriptors", torch.zeros(size, dim))
        self.register_buffer("labels", torch.full((size,), EMPTY))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return min(int(self.pushed), self.capacity)

    def limit(self, rows: int) -> None:
        """Use `rows` of the buffers at most."""
        self.capacity = max(1, min(rows, len(self.labels)))

    def clear(self) -> None:
        """Forget all keys."""
        self.descriptors.zero_()
        self.labels.fill_(EMPTY)
        self.pushed.zero_()

    @torch.no_grad()
    def behind(self, keys: Tensor, labels: Tensor) -> Candidates:
        """The queue as it would be behind `keys` ``(k, D)`` with `labels` ``(k,)``; nothing is stored.

        The result is a copy: later pushes do not touch what autograd remembers of it.

        Raises:
            InputError: more keys than the queue has room for.
        """
        rows = self._rows(len(keys))
        filled = min(int(self.pushed) + len(keys), self.capacity)
        descriptors, known = self.descriptors[:filled].clone(), self.labels[:filled].clone()
        descriptors[rows], known[rows] = keys.to(descriptors.dtype), labels
        return Candidates(descriptors, known, rows)

    @torch.no_grad()
    def push(self, keys: Tensor, labels: Tensor) -> None:
        """Store `keys` ``(k, D)`` with `labels` ``(k,)`` in the place of the oldest.

        Raises:
            InputError: more keys than the queue has room for.
        """
        rows = self._rows(len(keys))
        self.descriptors[rows] = keys.to(self.descriptors.dtype)
        self.labels[rows] = labels
        self.pushed += len(keys)

    def _rows(self, count: int) -> Tensor:
        if count > self.capacity:
            raise InputError(
                f"the queue holds {self.capacity} descriptors, but one step brings {count}; raise queue_size or lower "
                "the batch size"
            )
        first = int(self.pushed) % self.capacity
        return (first + torch.arange(count, device=self.labels.device)) % self.capacity
