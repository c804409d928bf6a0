"""The plot of a study: every row's mean, spread and seeds on one axis."""

from collections.abc import Sequence

import matplotlib as mpl

from retrieval_bench.reporting.plots import PLOT_STYLE, inline_svg, row_axes
from retrieval_bench.reporting.study_table import StudyRow, spread
from retrieval_bench.settings.record import RunRecord


def seeds_plot(rows: Sequence[StudyRow], level: str = "medium") -> str | None:
    """mAP of the last stage as an SVG: a line per row with its seeds as rings, their mean and ± one deviation.

    Returns:
        the SVG; None where nothing was measured at that level.
    """
    measured = []
    for row in rows:
        values = [100 * value for record in row.records.values() if (value := last_map(record, level)) is not None]
        if values:
            measured.append((row.title, values))
    if not measured:
        return None
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = row_axes([name for name, _ in measured], f"{level.capitalize()} mAP (%)")
        for place, (_, values) in enumerate(measured):
            one = spread(values)
            axes.plot(values, [place] * len(values), "o", markersize=4, markerfacecolor="none", color="#777777")
            axes.errorbar(
                one.mean or 0.0, place, xerr=one.deviation or 0.0, fmt="|", color="#111111", markersize=11, capsize=3
            )
        said = "; ".join(f"{name}: {', '.join(f'{value:.2f}' for value in values)}" for name, values in measured)
        return inline_svg(figure, f"seeds-{level}", f"{level.capitalize()} mAP of every row and seed. {said}")


def last_map(record: RunRecord, level: str) -> float | None:
    """mAP of a run's last stage at a level, a fraction."""
    at = record.stages[-1].levels.get(level) if record.stages else None
    return None if at is None else at.map
