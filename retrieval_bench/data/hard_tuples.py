"""Tuples of an anchor, a positive and negatives that a first training took for the anchor's class.

Zhu et al., "Coarse-to-Fine: Learning Compact Discriminative Representation for Single-Stage Image Retrieval", ICCV
2023; the sampler of bassyess/CFCD's second stage.
"""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from retrieval_bench.data.random_pools import Pools, distinct, uniform
from retrieval_bench.data.samplers import EpochSampler, Key, epoch_generator
from retrieval_bench.settings.errors import InputError

UNKNOWN = -1
"""The prediction of an image that the model has not seen."""

FALSE_POSITIVE_OF_RIGHT = 0.5
FALSE_POSITIVE_OF_WRONG = 0.33
"""Chance that a negative is an image wrongly taken for the anchor's class, by whether the anchor was recognised."""

MISTAKEN_CLASS = 0.5
"""Chance that a negative of a mistaken anchor is of the class it was taken for, where it is not one of the above."""


class HardTupleSampler(EpochSampler):
    """Tuples one after the other, each an anchor, a positive and ``tuple_size - 2`` negatives of other classes.

    Anchors come from classes drawn uniformly among those with two unused images. The positive of an image that the
    model recognised is any other of its class, that of a mistaken one is a recognised image if one is left. A negative
    is, by chance, an image that the model wrongly took for the anchor's class or one of the class that it took the
    anchor for; else it comes from another class, for each negative of a tuple a different one as far as there are
    enough. No image is used twice before a tuple can no longer be filled; then all are free again.

    An epoch holds every rank's share of ``rows / world``, rounded up to whole tuples; ranks take contiguous blocks of
    one list. Use it with batches of whole tuples.

    Args:
        labels: of every row.
        tuple_size: images of a tuple, at least 3.
        predictions: the class that the model takes each row for, -1 where that is not known; None: negatives are
            drawn without regard to the model.
        seed: of all choices.
        rank, world: of this process.

    Raises:
        InputError: predictions of another length, or labels of which no tuple can be made.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        tuple_size: int = 8,
        predictions: Sequence[int] | None = None,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ):
        super().__init__(len(labels), seed=seed, rank=rank, world=world)
        self.labels = labels
        self.tuple_size = tuple_size
        self.predictions: Sequence[int] = [UNKNOWN] * len(labels)
        if predictions is not None:
            self._predicted(predictions)
        self._check_enough()
        tuples = -(-len(labels) // (world * tuple_size))
        self.num_samples = tuples * tuple_size
        self.total_size = self.num_samples * world

    def know(self, mined: Mapping[str, Tensor]) -> None:
        """Take ``predictions`` ``(N,)``, if they are among what was mined.

        Raises:
            InputError: predictions of another length.
        """
        if "predictions" in mined:
            self._predicted(mined["predictions"].tolist())

    def _predicted(self, predictions: Sequence[int]) -> None:
        if len(predictions) != len(self.labels):
            raise InputError(f"{len(predictions)} predictions for {len(self.labels)} training images; mine them again")
        self.predictions = predictions

    def __iter__(self) -> Iterator[Key]:
        order = self.order(self.epoch)
        share = order[self.rank * self.num_samples : (self.rank + 1) * self.num_samples]
        epoch, consumed = self._start
        if epoch == self.epoch and consumed < len(share):
            share = share[consumed:]
        return iter([(self.epoch, row) for row in share])

    def order(self, epoch: int) -> list[int]:
        draws = uniform(epoch_generator(self.seed, epoch))
        rows: list[int] = []
        while len(rows) < self.total_size:
            for chosen in self.one_pass(draws):
                rows += chosen
                if len(rows) == self.total_size:
                    break
        return rows

    def one_pass(self, draws: Iterator[float]) -> Iterator[list[int]]:
        """Tuples of unused rows until one cannot be filled; `draws` are uniform in [0, 1)."""
        unused = _Unused(self.labels, self.predictions)
        while len(unused.of_class.crowded):
            chosen = self._tuple(unused, draws)
            if chosen is None:
                return
            yield chosen

    def _tuple(self, unused: "_Unused", draws: Iterator[float]) -> list[int] | None:
        own = unused.of_class.crowded.pick(next(draws))
        anchor = unused.take(unused.of_class, own, next(draws))
        mistaken = self.predictions[anchor] not in (own, UNKNOWN)
        positives = unused.recognised if mistaken and unused.recognised.count(own) else unused.of_class
        chosen = [anchor, unused.take(positives, own, next(draws))]
        if self.predictions[anchor] != UNKNOWN:
            for _ in range(self.tuple_size - 2):
                chosen += self._hard_negative(own, self.predictions[anchor], unused, draws)
        return self._filled(chosen, own, unused, draws)

    def _hard_negative(self, own: int, said: int, unused: "_Unused", draws: Iterator[float]) -> list[int]:
        """At most one row for an anchor of class `own` that the model says is of class `said`."""
        share = FALSE_POSITIVE_OF_RIGHT if said == own else FALSE_POSITIVE_OF_WRONG
        if next(draws) < share and unused.taken_for.count(own):
            return [unused.take(unused.taken_for, own, next(draws))]
        if said != own and next(draws) < MISTAKEN_CLASS and unused.of_class.count(said):
            return [unused.take(unused.of_class, said, next(draws))]
        return []

    def _filled(self, chosen: list[int], own: int, unused: "_Unused", draws: Iterator[float]) -> list[int] | None:
        """`chosen` with images of other classes up to `tuple_size`, or None where there are not enough."""
        while len(chosen) < self.tuple_size:
            missing = self.tuple_size - len(chosen)
            classes = unused.of_class.present.items
            drawn = [classes[index] for index in distinct(len(classes), missing + 1, draws)]
            others = [label for label in drawn if label != own][:missing]
            if not others:
                return None
            chosen += [unused.take(unused.of_class, label, next(draws)) for label in others]
        return chosen

    def _check_enough(self) -> None:
        sizes: dict[int, int] = {}
        for label in self.labels:
            sizes[label] = sizes.get(label, 0) + 1
        pairs = [size for size in sizes.values() if size > 1]
        negatives = self.tuple_size - 2
        if not pairs or len(self.labels) - min(pairs) < negatives:
            raise InputError(
                f"no tuple of {self.tuple_size} can be made of these training images: it takes two of one class and "
                f"{negatives} of others; set train.tuple_size lower or use another sampler"
            )


class _Unused:
    """The images that are still free: by class, by class where the model was right, by the class it wrongly said."""

    def __init__(self, labels: Sequence[int], predictions: Sequence[int]):
        right = [label == said for label, said in zip(labels, predictions, strict=True)]
        wrong = [said not in (label, UNKNOWN) for label, said in zip(labels, predictions, strict=True)]
        self.of_class = Pools(labels)
        self.recognised = Pools([label if yes else None for label, yes in zip(labels, right, strict=True)])
        self.taken_for = Pools([said if yes else None for said, yes in zip(predictions, wrong, strict=True)])

    def take(self, pools: Pools, group: int, draw: float) -> int:
        """A random row of a group of `pools`, removed from all of them."""
        row = pools.pick(group, draw)
        for known in (self.of_class, self.recognised, self.taken_for):
            known.remove(row)
        return row
