"""The table that every output draws, and how its numbers are printed."""

import math
from dataclasses import dataclass

NOTHING = "—"
"""Printed where there is no figure, such as the mAP of a level at which no query has positives."""


@dataclass(frozen=True)
class Column:
    """One column; neighbours with the same `group` share a heading above their own."""

    name: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        text: the figure or name.
        aside: what qualifies it and is printed smaller, such as its interval.
        mark: the letter of a note below the table.
        best: whether it is the best of its column and printed bold.
    """

    text: str
    aside: str = ""
    mark: str = ""
    best: bool = False

    @property
    def plain(self) -> str:
        """Text, mark and aside in one line."""
        return " ".join(part for part in (self.text + self.mark, self.aside) if part)


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns, with the notes that belong below them."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The upper heading: name and number of columns, from left to right."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if column.group and spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans

    @property
    def grouped(self) -> bool:
        """Whether there is an upper heading at all."""
        return any(column.group for column in self.columns)


def percent(fraction: float | None) -> str:
    """A fraction as the field prints it: percent with two decimals, no sign; None and NaN as an em dash."""
    if fraction is None or math.isnan(fraction):
        return NOTHING
    return f"{100 * fraction:.2f}"


def interval(bounds: tuple[float, float] | None) -> str:
    """The bounds of an interval in percent, empty where there is none."""
    if bounds is None or any(math.isnan(bound) for bound in bounds):
        return ""
    return f"[{percent(bounds[0])}, {percent(bounds[1])}]"


def quantity(value: float) -> str:
    """A measured cost with about three significant digits and thousands separated."""
    if math.isnan(value):
        return NOTHING
    if value.is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
