"""Records on the terminal."""

from collections.abc import Sequence

import rich.box
import rich.table
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from retrieval_bench.reporting.cells import Cell, Table
from retrieval_bench.reporting.protocol_card import compact_card
from retrieval_bench.reporting.tables import (
    card_warnings,
    comparison_table,
    costs_table,
    groups_table,
    map_table,
    precision_table,
    published_table,
)
from retrieval_bench.reporting.terminal import PROSE, kept_whole, print_table
from retrieval_bench.settings.record import RunRecord

_MANY_COLUMNS = 8


def print_record(record: RunRecord, console: Console) -> None:
    """Print results before and after re-ranking, warnings, the protocol card, costs and published figures."""
    for table in (map_table(record), precision_table(record), groups_table(record)):
        _print_table(table, console)
    warnings = card_warnings(record)
    if warnings:
        lines = Text("\n").join(Text(f"! {warning}") for warning in warnings)
        panel = Panel(lines, title="Warnings: read before quoting", border_style="bold yellow", expand=False)
        console.print(panel, width=min(PROSE, console.width))
        console.print()
    _print_table(compact_card(record), console)
    _print_table(costs_table(record) if record.costs else None, console)
    _print_table(published_table(record), console)


def side_by_side(
    records: Sequence[RunRecord], p_values: Sequence[Sequence[float | None]] = (), missing: Sequence[str] = ()
) -> rich.table.Table:
    """Several runs in one table, with tests against the first row where `p_values` has them.

    Runs whose protocol cards differ in a field that moves mAP carry a letter in brackets, explained below the table,
    where runs that are missing are named, too.
    """
    return rich_table(comparison_table(records, p_values, missing))


def rich_table(table: Table) -> rich.table.Table:
    """A table for a rich console; names are printed as they are, never read as markup."""
    drawn = rich.table.Table(
        title=Text(table.title, style="bold"),
        title_justify="left",
        caption=Text("\n".join(table.notes)) if table.notes else None,
        caption_justify="left",
        box=rich.box.SIMPLE_HEAD,
        show_header=any(column.name for column in table.columns),
        show_edge=False,
        padding=(0, 1, 0, 0) if len(table.columns) <= _MANY_COLUMNS else 0,
    )
    group_lines = max((len(column.group.split()) for column in table.columns), default=0)
    for column in table.columns:
        above = column.group.split()
        heading = "\n".join([*above, *[""] * (group_lines - len(above)), column.name])
        if column.numeric:
            drawn.add_column(Text(heading), justify="right")
        else:
            drawn.add_column(Text(heading), max_width=PROSE)
    for row in table.rows:
        drawn.add_row(*(_text(cell) for cell in row))
    return kept_whole(drawn)


def _print_table(table: Table | None, console: Console) -> None:
    if table is not None:
        print_table(console, rich_table(table))
        console.print()


def _text(cell: Cell) -> Text:
    text = Text(cell.text)
    if cell.best:
        text.stylize("bold")
    if cell.mark:
        text.append(cell.mark, style="bold yellow")
    if cell.aside:
        text.append(f"\n{cell.aside}", style="dim")
    return text
