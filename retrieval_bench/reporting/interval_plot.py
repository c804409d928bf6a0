"""The plot of a comparison: mAP of every run and stage with its interval, on one axis."""

from collections.abc import Sequence

import matplotlib as mpl

from retrieval_bench.reporting.plots import PLOT_STYLE, inline_svg, row_axes
from retrieval_bench.reporting.tables import STAGE_LABELS
from retrieval_bench.settings.record import RunRecord


def intervals_plot(records: Sequence[RunRecord], titles: Sequence[str], level: str = "medium") -> str | None:
    """mAP with its bootstrap interval as an SVG, a line per run and stage; rings are before re-ranking, squares after.

    Args:
        records: of the runs.
        titles: of their lines.
        level: easy, medium or hard.

    Returns:
        the SVG; None where nothing was measured at that level.
    """
    measured = [
        (f"{title}, {STAGE_LABELS.get(stage.name, stage.name)}" if len(record.stages) > 1 else title, stage.name, at)
        for record, title in zip(records, titles, strict=True)
        for stage in record.stages
        if (at := stage.levels.get(level)) is not None and at.map is not None
    ]
    if not measured:
        return None
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = row_axes([name for name, _, _ in measured], f"{level.capitalize()} mAP (%)")
        said = []
        for place, (name, stage, at) in enumerate(measured):
            value = 100 * (at.map or 0.0)
            low, high = (value, value) if at.interval is None else (100 * bound for bound in at.interval)
            axes.plot([low, high], [place, place], "-", color="#777777", linewidth=1.3)
            first = stage == "global"
            fill = "white" if first else "#111111"
            axes.plot([value], [place], "o" if first else "s", color="#111111", markerfacecolor=fill, markersize=5)
            said.append(f"{name}: {value:.2f}, {low:.2f} to {high:.2f}")
        return inline_svg(figure, f"intervals-{level}", f"{level.capitalize()} mAP with interval. {'; '.join(said)}")
