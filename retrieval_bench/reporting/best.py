"""The best figure of each column, which tables print bold."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from retrieval_bench.reporting.cells import NOTHING, Cell

Row = tuple[Cell, ...]
BEST_NOTE = "Bold: the largest figure of its column"


def with_best(rows: Sequence[Row], columns: Sequence[int], kinds: Sequence[Hashable | None]) -> tuple[Row, ...]:
    """The rows with the largest figure of each column marked; where several print alike, all of them.

    Args:
        rows: of a table.
        columns: places of figures of which the largest is the best.
        kinds: per row, what it may be compared with: rows of one kind; None takes no part. A kind of fewer than two
            rows has no best.
    """
    found: dict[Hashable, list[int]] = defaultdict(list)
    for number, kind in enumerate(kinds):
        if kind is not None:
            found[kind].append(number)
    marked = [list(row) for row in rows]
    for numbers in found.values():
        for column in columns if len(numbers) > 1 else ():
            values = {number: float(text) for number in numbers if (text := rows[number][column].text) != NOTHING}
            for number, value in values.items():
                if value == max(values.values()):
                    marked[number][column] = replace(rows[number][column], best=True)
    return tuple(tuple(row) for row in marked)


def best_note(rows: Sequence[Row], kinds: Sequence[Hashable | None]) -> list[str]:
    """What bold means, and which rows take no part; empty where nothing is bold."""
    if not any(cell.best for row in rows for cell in row):
        return []
    left_out = "" if None not in kinds else ", of rows that may be compared and whose candidates no ground truth chose"
    return [f"{BEST_NOTE}{left_out}."]
