"""`report.html` of a comparison, and its tables as files: several runs on one self-contained page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from retrieval_bench.reporting.cells import NOTHING, Cell, Column, Table
from retrieval_bench.reporting.cost_columns import costs_side_by_side
from retrieval_bench.reporting.interval_plot import intervals_plot
from retrieval_bench.reporting.part_lines import distinct_titles
from retrieval_bench.reporting.paste import paste_csv, paste_latex, paste_markdown
from retrieval_bench.reporting.protocol_card import compact_card
from retrieval_bench.reporting.tables import card_warnings, comparison_table
from retrieval_bench.reporting.template import template
from retrieval_bench.settings.record import RunRecord
from retrieval_bench.settings.whole_file import write_text


def write_comparison(
    folder: Path,
    runs: Mapping[Path, RunRecord],
    p_values: Sequence[Sequence[float | None]] = (),
    missing: Sequence[str] = (),
) -> Path:
    """Write `report.html`, `table.csv`, `table.md` and `table.tex` into a folder, each whole or not at all.

    Args:
        folder: of the comparison; made where it is not there.
        runs: run folder -> its record, in the order of the rows.
        p_values, missing: as of `comparison_table`.

    Returns:
        the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = list(runs.values())
    table = comparison_table(records, p_values, missing)
    links = [quote(Path(os.path.relpath(place / "report.html", folder)).as_posix()) for place in runs]
    for name, content in (
        ("table.csv", paste_csv(records)),
        ("table.md", paste_markdown(table)),
        ("table.tex", paste_latex(table)),
        ("report.html", render_comparison(records, table, links, missing)),
    ):
        write_text(folder / name, content)
    return folder / "report.html"


def render_comparison(
    records: Sequence[RunRecord], table: Table, links: Sequence[str], missing: Sequence[str] = ()
) -> str:
    """The page as HTML.

    Args:
        records: of the runs.
        table: of `comparison_table`.
        links: to their reports, relative to the page.
        missing: runs that there are not, and why.
    """
    titles = distinct_titles(records)
    plot = intervals_plot(records, titles)
    warned = [(title, said) for record, title in zip(records, titles, strict=True) if (said := card_warnings(record))]
    return template("comparison.html").render(
        title=table.title,
        missing=missing,
        warned=warned,
        result=table,
        plot=None if plot is None else Markup(plot),
        latex=paste_latex(table),
        markdown=paste_markdown(table),
        csv=paste_csv(records),
        costs=costs_side_by_side(records, titles),
        cards=cards_side_by_side(records, titles),
        runs=list(zip(titles, [record.run_id for record in records], links, strict=True)),
    )


def cards_side_by_side(records: Sequence[RunRecord], titles: Sequence[str]) -> Table:
    """The protocol cards: what all runs share in one cell, what differs run by run."""
    cards = [{row[0].text: row[1].text for row in compact_card(record).rows} for record in records]
    rows = []
    for label in dict.fromkeys(label for card in cards for label in card):
        texts = [card.get(label, NOTHING) for card in cards]
        told = [("all runs", texts[0])] if len(set(texts)) == 1 else list(zip(titles, texts, strict=True))
        rows += [(Cell(label if not number else ""), Cell(who), Cell(text)) for number, (who, text) in enumerate(told)]
    columns = tuple(Column(name, numeric=False) for name in ("", "Run", "What holds"))
    return Table("Protocol cards", columns, tuple(rows))
