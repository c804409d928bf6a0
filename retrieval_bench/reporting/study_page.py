"""`report.html` of a study: its table, plot and runs on one self-contained page."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from retrieval_bench.reporting.cells import Table, percent
from retrieval_bench.reporting.paste import paste_latex, paste_markdown
from retrieval_bench.reporting.study_plot import last_map, seeds_plot
from retrieval_bench.reporting.study_table import StudyRow, spread, study_csv
from retrieval_bench.reporting.template import template


@dataclass(frozen=True)
class StudyRun:
    """One run of a study as its page lists it.

    Attributes:
        name: row and seed.
        state: "recorded", "failed" or "not run".
        said: why it failed, or its mAP.
        link: to its report, relative to the page; empty where there is none.
    """

    name: str
    state: str
    said: str = ""
    link: str = ""


def render_study(title: str, definition: str, table: Table, rows: Sequence[StudyRow], runs: Sequence[StudyRun]) -> str:
    """The page as HTML.

    Args:
        title: of the study.
        definition: its YAML, shown as it is.
        table: of `study_table`.
        rows: that it was made of.
        runs: all that the study asks for.
    """
    plot = seeds_plot(rows)
    return template("study.html").render(
        title=title,
        summary=study_summary(rows, runs),
        missing=[run for run in runs if run.state != "recorded"],
        result=table,
        plot=None if plot is None else Markup(plot),
        latex=paste_latex(table),
        markdown=paste_markdown(table),
        csv=study_csv(rows),
        runs=runs,
        definition=definition,
    )


def study_summary(rows: Sequence[StudyRow], runs: Sequence[StudyRun]) -> str:
    """The study in one sentence."""
    recorded = sum(run.state == "recorded" for run in runs)
    counted = f"{recorded} of {len(runs)} runs recorded"
    datasets = {record.dataset for row in rows for record in row.records.values()}
    means = [
        (one.mean, one, row)
        for row in rows
        if (one := spread([last_map(record, "medium") for record in row.records.values()])).mean is not None
    ]
    # The largest of figures on several datasets says nothing.
    if not means or len(datasets) > 1:
        return f"{len(rows)} rows; {counted}."
    _, best, row = max(means, key=lambda one: one[0] or 0.0)
    deviation = "" if best.deviation is None else f" ± {percent(best.deviation)}"
    return (
        f"Largest mean of Medium mAP on {min(datasets)}: {percent(best.mean)}{deviation} "
        f"({row.title}; seeds: {best.count}); {counted}."
    )
