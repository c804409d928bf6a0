"""Which image comes when, in training: seeded, new in every epoch, sharded over ranks, resumable.

Samplers yield ``(epoch, row)``: the epoch travels with the row into worker processes that live through all epochs. They
are `DistributedSampler`s in name, so that Lightning takes their sharding as it is and tells them the epoch.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DistributedSampler

from retrieval_bench.settings.errors import InputError

Key = tuple[int, int]


class EpochSampler(DistributedSampler):
    """All rows in an order drawn from (seed, epoch).

    Every rank gets as many; where rows do not divide, the first ones of the order fill up, as in `DistributedSampler`.

    Args:
        rows: how many there are.
        seed: of the permutations.
        rank, world: of this process.
    """

    def __init__(self, rows: int, *, seed: int, rank: int = 0, world: int = 1):
        if rows < 1:
            raise InputError("there are no training images")
        super().__init__(cast(Any, range(rows)), num_replicas=world, rank=rank, shuffle=True, seed=seed)
        self.rows = rows
        self._start: Key = (0, 0)

    def start_at(self, epoch: int, consumed: int) -> None:
        """Continue in `epoch` behind the first `consumed` rows of this rank's share; other epochs are not affected."""
        self.epoch = epoch
        self._start = (epoch, consumed)

    def __iter__(self) -> Iterator[Key]:
        order = self.order(self.epoch)
        padding = -len(order) % self.num_replicas
        order += (order * (1 + padding // len(order)))[:padding]
        share = order[self.rank :: self.num_replicas]
        epoch, consumed = self._start
        if epoch == self.epoch and consumed < len(share):
            share = share[consumed:]
        return iter([(self.epoch, row) for row in share])

    def know(self, mined: Mapping[str, torch.Tensor]) -> None:
        """Take what the model found in the training images, by name; this sampler needs nothing of it."""

    def order(self, epoch: int) -> list[int]:
        """The rows of all ranks in their order in `epoch`."""
        return torch.randperm(self.rows, generator=epoch_generator(self.seed, epoch)).tolist()


class ClassBalancedSampler(EpochSampler):
    """P classes times K images each, one group after the other: use it with batches of ``P * K``.

    Every class occurs once before one occurs again; a class with fewer than K images repeats some. An epoch holds as
    many groups as fit into the number of rows, at least one per rank.

    Args:
        labels: of every row.
        classes: P.
        instances: K.
    """

    def __init__(
        self, labels: Sequence[int], *, classes: int, instances: int, seed: int, rank: int = 0, world: int = 1
    ):
        super().__init__(len(labels), seed=seed, rank=rank, world=world)
        self._members: dict[int, list[int]] = {}
        for row, label in enumerate(labels):
            self._members.setdefault(label, []).append(row)
        if not 1 <= classes <= len(self._members) or instances < 1:
            raise InputError(
                f"batches of {classes} classes x {instances} images need at least as many classes; there are "
                f"{len(self._members)}"
            )
        self.classes = classes
        self.instances = instances
        self.groups = max(len(labels) // (classes * instances * world), 1)
        self.num_samples = self.groups * classes * instances
        self.total_size = self.num_samples * world

    def __iter__(self) -> Iterator[Key]:
        size = self.classes * self.instances
        order = self.order(self.epoch)
        share = [
            row
            for group in range(self.rank, self.groups * self.num_replicas, self.num_replicas)
            for row in order[group * size : (group + 1) * size]
        ]
        epoch, consumed = self._start
        if epoch == self.epoch and consumed < len(share):
            share = share[consumed:]
        return iter([(self.epoch, row) for row in share])

    def order(self, epoch: int) -> list[int]:
        generator = epoch_generator(self.seed, epoch)
        labels = sorted(self._members)
        queue: list[int] = []
        rows: list[int] = []
        for _ in range(self.groups * self.num_replicas):
            chosen = queue[: self.classes]
            queue = queue[self.classes :]
            if len(chosen) < self.classes:
                fresh = [labels[i] for i in torch.randperm(len(labels), generator=generator).tolist()]
                later = [label for label in fresh if label in chosen]
                fresh = [label for label in fresh if label not in chosen]
                missing = self.classes - len(chosen)
                chosen, queue = chosen + fresh[:missing], fresh[missing:] + later
            for label in chosen:
                rows += self._draw(self._members[label], generator)
        return rows

    def _draw(self, members: list[int], generator: torch.Generator) -> list[int]:
        drawn: list[int] = []
        while len(drawn) < self.instances:
            order = torch.randperm(len(members), generator=generator).tolist()
            drawn += [members[i] for i in order[: self.instances - len(drawn)]]
        return drawn


class ShardSampler(DistributedSampler):
    """The rows ``rank, rank + world, ...`` in order, none twice: a repeated image would change a validation figure."""

    def __init__(self, rows: int, *, rank: int = 0, world: int = 1):
        super().__init__(cast(Any, range(rows)), num_replicas=world, rank=rank, shuffle=False)
        self.shard = range(rank, rows, world)
        self.num_samples = len(self.shard)

    def __iter__(self) -> Iterator[Key]:
        return iter([(0, row) for row in self.shard])


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The generator of all choices of an epoch."""
    state = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)
