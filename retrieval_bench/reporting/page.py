"""`report.html`: one run on one self-contained page."""

from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from retrieval_bench.reporting.cells import percent
from retrieval_bench.reporting.gallery_view import RELATION_LABELS, gallery_sections
from retrieval_bench.reporting.paste import paste_csv, paste_latex, paste_markdown
from retrieval_bench.reporting.pictures import Pictures
from retrieval_bench.reporting.plots import ap_distributions, training_curves
from retrieval_bench.reporting.protocol_card import full_card, protocol_line, provenance_table
from retrieval_bench.reporting.run_folder import RunFolder, read_run_folder
from retrieval_bench.reporting.tables import (
    STAGE_LABELS,
    card_warnings,
    costs_table,
    groups_table,
    map_table,
    precision_table,
    published_table,
)
from retrieval_bench.reporting.template import template
from retrieval_bench.settings.record import LEVELS, RunRecord
from retrieval_bench.settings.whole_file import write_text


def write_report(run_folder: Path, max_queries: int = 30) -> Path:
    """Write `report.html` into a run folder, whole or not at all.

    The page needs nothing from outside: pictures are embedded as small JPEGs, plots as SVG, styles in the page.

    Args:
        run_folder: with `record.json` and, where the run wrote them, `per_query.parquet` and `gallery.json`.
        max_queries: queries in the gallery at most: of more, the worst, the median and the best third of so many.

    Raises:
        InputError: no record in the folder, or a file of the run that cannot be read.
    """
    folder = Path(run_folder)
    html = render_report(read_run_folder(folder), max_queries)
    return write_text(folder / "report.html", html)


def render_report(run: RunFolder, max_queries: int = 30) -> str:
    """The page as HTML."""
    record = run.record
    stages = [stage.name for stage in record.stages]
    plots = {} if run.per_query is None else ap_distributions(run.per_query, stages, LEVELS)
    sections = gallery_sections(run, Pictures(run.folder, record.card.protocol), max_queries)
    results = [map_table(record), precision_table(record)]
    # What is pasted elsewhere leaves the page's card behind.
    pasted = [replace(table, notes=(*table.notes, protocol_line(record.card))) for table in results]
    return template("report.html").render(
        record=record,
        summary=summary(record),
        warnings=card_warnings(record),
        results=results,
        latex="\n".join(paste_latex(table) for table in pasted),
        markdown="\n".join(paste_markdown(table) for table in pasted),
        csv=paste_csv([record]),
        groups=groups_table(record),
        plots=[Markup(svg) for svg in plots.values()],
        curves=[Markup(svg) for svg in training_curves(record.validation).values()],
        costs=costs_table(record) if record.costs else None,
        published=published_table(record),
        card=full_card(record),
        provenance=provenance_table(record),
        sections=sections,
        gallery_total=len(run.gallery.rows) if run.gallery else None,
        gallery_shown=sum(len(section.queries) for section in sections),
        relations=RELATION_LABELS,
    )


def summary(record: RunRecord) -> str:
    """The result in one sentence."""
    if not record.stages:
        return f"{record.title} on {record.dataset}: nothing was evaluated."
    last = record.stages[-1]
    figures = ", ".join(f"{percent(last.levels[level].map)} {level}" for level in LEVELS if level in last.levels)
    sentence = f"mAP {figures} on {record.dataset}"
    if len(record.stages) == 1:
        return f"{sentence}; {record.card.queries} queries, {record.card.database} database images."
    first = record.stages[0]
    before = ", ".join(percent(first.levels[level].map) for level in LEVELS if level in first.levels)
    return (
        f"{sentence} {STAGE_LABELS.get(last.name, last.name)} ({STAGE_LABELS.get(first.name, first.name)}: {before}); "
        f"{record.card.queries} queries, {record.card.database} database images."
    )
