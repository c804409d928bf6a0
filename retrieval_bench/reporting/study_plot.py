"""The plot of a study: every row's mean, spread and seeds on one axis."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from retrieval_bench.reporting.plots import PLOT_STYLE, inline_svg
from retrieval_bench.reporting.study_table import StudyRow, spread
from retrieval_bench.settings.record import RunRecord

_WIDTH = 7.0
_ROW = 0.26
_LONGEST = 48


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
        figure = Figure(figsize=(_WIDTH, 0.9 + _ROW * len(measured)), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right", "left"]].set_visible(False)
        for place, (_, values) in enumerate(measured):
            one = spread(values)
            axes.plot(values, [place] * len(values), "o", markersize=4, markerfacecolor="none", color="#777777")
            axes.errorbar(
                one.mean or 0.0, place, xerr=one.deviation or 0.0, fmt="|", color="#111111", markersize=11, capsize=3
            )
        axes.set_yticks(range(len(measured)), [_short(name) for name, _ in measured])
        axes.set_ylim(len(measured) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="#eeeeee")
        axes.set_axisbelow(True)
        axes.set_xlabel(f"{level.capitalize()} mAP (%)")
        said = "; ".join(f"{name}: {', '.join(f'{value:.2f}' for value in values)}" for name, values in measured)
        return inline_svg(figure, f"seeds-{level}", f"{level.capitalize()} mAP of every row and seed. {said}")


def last_map(record: RunRecord, level: str) -> float | None:
    """mAP of a run's last stage at a level, a fraction."""
    at = record.stages[-1].levels.get(level) if record.stages else None
    return None if at is None else at.map


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
