"""Where tables are printed, and how wide: no figure is ever cut, whatever stdout is."""

import os
import sys
from copy import copy
from dataclasses import dataclass, replace

import rich.table
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.text import Text

PROSE = 100
"""Columns at which sentences wrap where nothing narrower says so."""

_UNBOUNDED = 10_000
_LONGEST_WORD = 20


def output() -> Console:
    """The console of stdout: as wide as the terminal or as ``COLUMNS`` says, and in a pipe or file without bounds.

    rich takes a pipe for a terminal of 80 columns and crops what is wider.
    """
    chosen = os.environ.get("COLUMNS", "").isdigit()
    return Console() if chosen or sys.stdout.isatty() else Console(width=_UNBOUNDED)


def print_table(console: Console, table: rich.table.Table, indent: int = 0) -> None:
    """Print a table whole: where its figures need more columns than the console has, lines run over.

    Args:
        console: as of `output`.
        table: any; as of `kept_whole` afterwards.
        indent: columns left of it.
    """
    console.print(_Indented(kept_whole(table), indent), crop=False)


def kept_whole(table: rich.table.Table) -> rich.table.Table:
    """The same table with least widths: text wraps between words, and no word that a figure could be is broken.

    Words beyond 20 letters, such as digests and paths, go on in the next line where the console is narrow; columns that
    are set to the right hold figures and are never broken.
    """
    for column in table.columns:
        column.overflow = "fold"
        if column.min_width is not None:
            continue
        pieces = [piece for text in _texts(column) for piece in (text.splitlines() if column.no_wrap else text.split())]
        longest = max(map(cell_len, pieces), default=1)
        whole = column.no_wrap or column.justify == "right"
        column.min_width = longest if whole else min(_LONGEST_WORD, longest)
        if column.max_width is not None:
            column.min_width = min(column.min_width, column.max_width)
    return table


def print_prose(console: Console, text: Text, indent: int = 0) -> None:
    """Print sentences, wrapped at `PROSE` columns where the console is wider.

    Args:
        console: as of `output`.
        text: to print.
        indent: columns left of it.
    """
    console.print(Padding(text, (0, 0, 0, indent), expand=False), width=min(PROSE, console.width))


@dataclass(frozen=True)
class _Indented:
    """A table with space left of it; rich's own padding crops what runs over."""

    table: rich.table.Table
    indent: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        inside = options.update(width=max(1, options.max_width - self.indent))
        fitted = _fitted(self.table, console, inside)
        unbounded = options.update(width=_UNBOUNDED)
        for line in Segment.split_lines(console.render(fitted, unbounded)):
            yield Segment(" " * self.indent)
            yield from line
            yield Segment.line()


def _fitted(table: rich.table.Table, console: Console, options: ConsoleOptions) -> rich.table.Table:
    """A copy whose widest columns are narrowed until it fits, but none below its least width.

    rich narrows them below it first and widens them again, so that a table runs over that need not.
    """
    unbounded = options.update(width=_UNBOUNDED)
    wanted = [_content_width(column) for column in table.columns]
    excess = Measurement.get(console, unbounded, table).maximum - options.max_width
    if excess <= 0:
        return table
    least = [min(one, column.min_width or 1) for one, column in zip(wanted, table.columns, strict=True)]

    def widths(cap: int) -> list[int]:
        return [max(low, min(high, cap)) for low, high in zip(least, wanted, strict=True)]

    cap = next((cap for cap in range(max(wanted), 0, -1) if sum(wanted) - sum(widths(cap)) >= excess), 1)
    narrowed = copy(table)
    narrowed.columns = [replace(column, width=width) for column, width in zip(table.columns, widths(cap), strict=True)]
    return narrowed


def _content_width(column: rich.table.Column) -> int:
    """The columns that a table's column takes where it has as many as it likes."""
    lines = [line for text in _texts(column) for line in text.splitlines()]
    longest = max([column.min_width or 1, *map(cell_len, lines)])
    return longest if column.max_width is None else min(longest, column.max_width)


def _texts(column: rich.table.Column) -> list[str]:
    return [text.plain if isinstance(text, Text) else str(text) for text in (column.header, *column.cells)]
