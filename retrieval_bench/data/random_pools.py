"""Drawing without replacement from many pools at once, each draw in constant time."""

from collections.abc import Iterator, Sequence

import torch

BLOCK = 1 << 14


def uniform(generator: torch.Generator) -> Iterator[float]:
    """Numbers uniform in [0, 1), without end; drawn in blocks, since a call of torch for each would be slow."""
    while True:
        yield from torch.rand(BLOCK, generator=generator, dtype=torch.float64).tolist()


def distinct(count: int, wanted: int, draws: Iterator[float]) -> list[int]:
    """A uniform random sequence of `wanted` different numbers below `count`, or of all if they are fewer.

    The first steps of a Fisher-Yates shuffle of which only the moved entries are kept.
    """
    moved: dict[int, int] = {}
    chosen = []
    for step in range(min(wanted, count)):
        index = step + int(next(draws) * (count - step))
        chosen.append(moved.get(index, index))
        moved[index] = moved.get(step, step)
    return chosen


class DrawList:
    """Different numbers that can be picked at random and removed, both in constant time."""

    def __init__(self, items: Sequence[int] = ()):
        self.items = list(items)
        self._place = {item: index for index, item in enumerate(self.items)}

    def __len__(self) -> int:
        return len(self.items)

    def pick(self, draw: float) -> int:
        """The item that `draw` in [0, 1) points at."""
        return self.items[int(draw * len(self.items))]

    def remove(self, item: int) -> None:
        """Remove an item; one that is not there is no error."""
        index = self._place.pop(item, None)
        if index is None:
            return
        last = self.items.pop()
        if last != item:
            self.items[index] = last
            self._place[last] = index


class Pools:
    """Rows in groups.

    Args:
        groups: the group of every row; None for a row that is in none.

    Attributes:
        present: groups with at least one row left.
        crowded: groups with at least two.
    """

    def __init__(self, groups: Sequence[int | None]):
        self._group = groups
        self._rows: dict[int, list[int]] = {}
        self._place = [0] * len(groups)
        for row, group in enumerate(groups):
            if group is not None:
                rows = self._rows.setdefault(group, [])
                self._place[row] = len(rows)
                rows.append(row)
        self.present = DrawList(list(self._rows))
        self.crowded = DrawList([group for group, rows in self._rows.items() if len(rows) > 1])

    def count(self, group: int) -> int:
        """Rows left in a group."""
        return len(self._rows.get(group, ()))

    def pick(self, group: int, draw: float) -> int:
        """The row of a group that `draw` in [0, 1) points at."""
        rows = self._rows[group]
        return rows[int(draw * len(rows))]

    def remove(self, row: int) -> None:
        """Remove a row from its group, if it is in one; each row at most once."""
        group = self._group[row]
        if group is None:
            return
        rows, place = self._rows[group], self._place[row]
        last = rows.pop()
        if last != row:
            rows[place] = last
            self._place[last] = place
        if len(rows) < 2:
            (self.present if not rows else self.crowded).remove(group)
