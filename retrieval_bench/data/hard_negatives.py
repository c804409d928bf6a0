"""Class-balanced batches in which every other class is one that the model confuses with the class before it."""

from collections import deque
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from retrieval_bench.data.hard_triplets import checked_neighbours
from retrieval_bench.data.samplers import ClassBalancedSampler, epoch_generator


class HardNegativeSampler(ClassBalancedSampler):
    """P classes times K images each, for losses that compare the images of a batch: use it with batches of ``P * K``.

    Classes of a batch come in pairs, as far as there is room and all are different: one drawn at random, every class
    once before one is drawn again, and the class of an image that the model finds most alike to the first image of the
    former. Of both classes there are K images, that first one and its hard negative among them; a class with fewer
    repeats some. Until the model has mined, all classes are drawn at random.

    Args:
        labels: of every row.
        classes: P.
        instances: K.
        neighbours: ``(N, n)`` rows of other classes for every row, -1 where there are fewer.
        seed: of all choices, with the epoch.
        rank, world: of this process.

    Raises:
        InputError: fewer classes than P, or neighbours that do not belong to the labels.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        classes: int,
        instances: int,
        neighbours: Tensor | None = None,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ):
        super().__init__(labels, classes=classes, instances=instances, seed=seed, rank=rank, world=world)
        self.labels = list(labels)
        self.neighbours: Tensor | None = None
        if neighbours is not None:
            self.know({"neighbours": neighbours})

    def know(self, mined: Mapping[str, Tensor]) -> None:
        """Take ``neighbours`` ``(N, n)``, if they are among what was mined.

        Raises:
            InputError: neighbours that do not belong to the labels.
        """
        if "neighbours" in mined:
            self.neighbours = checked_neighbours(mined["neighbours"], torch.tensor(self.labels))

    def order(self, epoch: int) -> list[int]:
        generator = epoch_generator(self.seed, epoch)
        waiting: deque[int] = deque()
        rows: list[int] = []
        for _ in range(self.groups * self.num_replicas):
            chosen: set[int] = set()
            while len(chosen) < self.classes:
                label = self._next(waiting, chosen, generator)
                members = self._members[label]
                first = members[_below(len(members), generator)]
                for row in (first, self._confused(first, chosen | {label}, generator)):
                    if row is not None and len(chosen) < self.classes:
                        chosen.add(self.labels[row])
                        rows += self._with(row, generator)
        return rows

    def _next(self, waiting: deque[int], chosen: set[int], generator: torch.Generator) -> int:
        """The class that waits longest and is not yet in the batch."""
        passed: list[int] = []
        while True:
            if not waiting:
                labels = sorted(self._members)
                # Those passed over still come before they come again.
                fresh = [labels[i] for i in torch.randperm(len(labels), generator=generator).tolist()]
                waiting.extend(label for label in fresh if label not in passed)
            label = waiting.popleft()
            if label not in chosen:
                waiting.extendleft(reversed(passed))
                return label
            passed.append(label)

    def _confused(self, row: int, chosen: set[int], generator: torch.Generator) -> int | None:
        """One of the row's neighbours, of a class that is not yet in the batch."""
        if self.neighbours is None:
            return None
        found = [other for other in self.neighbours[row].tolist() if other >= 0 and self.labels[other] not in chosen]
        return found[_below(len(found), generator)] if found else None

    def _with(self, row: int, generator: torch.Generator) -> list[int]:
        """A row and K - 1 others of its class."""
        others = [member for member in self._members[self.labels[row]] if member != row] or [row]
        drawn = [row]
        while len(drawn) < self.instances:
            order = torch.randperm(len(others), generator=generator).tolist()
            drawn += [others[i] for i in order[: self.instances - len(drawn)]]
        return drawn


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))
