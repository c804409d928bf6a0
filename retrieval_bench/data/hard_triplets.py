"""Triplets of a query, a positive and a negative that gets harder from epoch to epoch (CVNet's re-ranker)."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from retrieval_bench.data.samplers import EpochSampler, Key, epoch_generator
from retrieval_bench.settings.errors import InputError

IN_A_TRIPLET = 3


class HardTripletSampler(EpochSampler):
    """Rows in the order query, positive, negative, query, ...: use it with batches that three divides.

    The positive is another image of the query's class. The negative is of another class: with a probability that grows
    from epoch to epoch one of the query's `neighbours`, otherwise any image. Every image with a positive is a query
    once before one is a query again. An epoch shows as many images as there are, three to a triplet, and at least one
    triplet on every rank.

    Source: Lee et al., "Correlation Verification for Image Retrieval", CVPR 2022: negatives among the ten images of
    other classes that the global descriptor scores highest, their share growing in training. Its first and last value
    and its linear growth are unverified.

    Args:
        labels: of every row.
        neighbours: ``(N, n)`` rows of other classes for every row, -1 where there are fewer; None leaves all negatives
            to chance.
        hard_share: of negatives that are neighbours, in the first and in the last epoch; between them it is linear.
        epochs: of the whole training.
        seed: of all choices, with the epoch.
        rank, world: of this process.

    Raises:
        InputError: no class of two images or no second class, neighbours that do not belong to the labels, or shares
            outside [0, 1].
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        neighbours: Tensor | None = None,
        hard_share: tuple[float, float] = (0.0, 1.0),
        epochs: int = 1,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ):
        super().__init__(len(labels), seed=seed, rank=rank, world=world)
        self.labels = torch.as_tensor(labels, dtype=torch.long)
        self.neighbours = None if neighbours is None else checked_neighbours(neighbours, self.labels)
        if not all(0 <= share <= 1 for share in hard_share):
            raise InputError(f"hard_share must be two values in 0 .. 1, got {tuple(hard_share)}")
        self.hard_share = hard_share
        self.epochs = epochs
        # Rows sorted by class: the members of a class are neighbours there, from `first` on, `count` of them.
        self._sorted = self.labels.argsort(stable=True)
        self._place = torch.empty_like(self._sorted).scatter_(0, self._sorted, torch.arange(self.rows))
        _, members, counts = self.labels.unique(return_inverse=True, return_counts=True)
        self._first = (counts.cumsum(0) - counts)[members]
        self._count = counts[members]
        self._queries = (self._count > 1).nonzero()[:, 0]
        if len(counts) < 2 or not len(self._queries):
            raise InputError(
                f"triplets need two classes and one of two images; there are {len(counts)} classes, "
                f"{len(self._queries)} images share theirs with another"
            )
        self.triplets = max(self.rows // (IN_A_TRIPLET * world), 1)
        self.num_samples = IN_A_TRIPLET * self.triplets
        self.total_size = self.num_samples * world

    def know(self, mined: Mapping[str, Tensor]) -> None:
        """Take ``neighbours`` ``(N, n)``, if they are among what was mined.

        Raises:
            InputError: neighbours that do not belong to the labels.
        """
        if "neighbours" in mined:
            self.neighbours = checked_neighbours(mined["neighbours"], self.labels)

    def __iter__(self) -> Iterator[Key]:
        triplets = torch.tensor(self.order(self.epoch)).view(-1, IN_A_TRIPLET)
        share = triplets[self.rank :: self.num_replicas].flatten().tolist()
        epoch, consumed = self._start
        if epoch == self.epoch and consumed < len(share):
            share = share[consumed:]
        return iter([(self.epoch, row) for row in share])

    def share_of_hard(self, epoch: int) -> float:
        """The probability that a negative of `epoch` is one of the query's neighbours."""
        start, end = self.hard_share
        return start + (end - start) * min(epoch / max(self.epochs - 1, 1), 1.0)

    def order(self, epoch: int) -> list[int]:
        """The rows of the triplets of all ranks, one triplet after the other."""
        generator = epoch_generator(self.seed, epoch)
        query = self._draw_queries(self.triplets * self.num_replicas, generator)
        first, count = self._first[query], self._count[query]
        # One of the count - 1 other places of the class, counted on from the query's own.
        step = 1 + _below(count - 1, generator)
        positive = self._sorted[first + (self._place[query] - first + step) % count]
        # One of the places outside the class: those behind it move up by its size.
        place = _below(self.rows - count, generator)
        negative = self._sorted[torch.where(place < first, place, place + count)]
        if self.neighbours is not None:
            found = self.neighbours[query]
            known = (found >= 0).sum(dim=1)
            drawn = _below(known.clamp(min=1), generator)
            # The known neighbours of a row come first, whatever lies between them.
            found = found.gather(1, (found < 0).int().argsort(dim=1, stable=True))
            hard = torch.rand(len(query), generator=generator) < self.share_of_hard(epoch)
            negative = torch.where(hard & (known > 0), found.gather(1, drawn[:, None])[:, 0], negative)
        rows: list[int] = torch.stack([query, positive, negative], dim=1).flatten().tolist()
        return rows

    def _draw_queries(self, wanted: int, generator: torch.Generator) -> Tensor:
        rounds = -(-wanted // len(self._queries))
        orders = [torch.randperm(len(self._queries), generator=generator) for _ in range(rounds)]
        return self._queries[torch.cat(orders)[:wanted]]


def checked_neighbours(neighbours: Tensor, labels: Tensor) -> Tensor:
    """``(N, n)`` neighbours as int64 on the processor, or an `InputError` where they cannot be those of `labels`."""
    rows = len(labels)
    if neighbours.ndim != 2 or len(neighbours) != rows or neighbours.shape[1] < 1 or neighbours.is_floating_point():
        shown = f"{str(neighbours.dtype).removeprefix('torch.')} {tuple(neighbours.shape)}"
        raise InputError(f"neighbours must be ({rows}, n) integers, one line per training image, got {shown}")
    neighbours = neighbours.cpu().long()
    if not bool(((neighbours >= -1) & (neighbours < rows)).all()):
        raise InputError(f"neighbours must be rows 0 .. {rows - 1} of the training images, or -1; mine them again")
    alike = (labels[neighbours] == labels[:, None]) & (neighbours >= 0)
    if bool(alike.any()):
        row = int(alike.any(dim=1).nonzero()[0])
        raise InputError(f"a neighbour of training image {row} is of its own class; hard negatives must be of others")
    return neighbours


def _below(limits: Tensor, generator: torch.Generator) -> Tensor:
    """One random integer in ``0 .. limit - 1`` for every limit."""
    drawn = (torch.rand(limits.shape, generator=generator, dtype=torch.float64) * limits).long()
    # The product may round up to the limit.
    return torch.minimum(drawn, limits - 1)
