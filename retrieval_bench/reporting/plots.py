"""Plots of a report as inline SVG. They read in grey: lightness, hatches and markers tell things apart, not colour."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from retrieval_bench.reporting.tables import STAGE_LABELS

PLOT_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 9,
}
_SIZE = (3.5, 2.3)
_LONGEST = 48
_BINS = np.linspace(0, 100, 11)
_BARS: tuple[dict[str, Any], ...] = (
    {"facecolor": "#dddddd", "hatch": "////", "edgecolor": "#777777"},
    {"facecolor": "#333333", "hatch": "", "edgecolor": "#333333"},
)
_LINES = (("-", "o", "#111111"), ("--", "s", "#555555"), (":", "^", "#333333"), ("-.", "D", "#777777"))


def ap_distributions(per_query: pd.DataFrame, stages: Sequence[str], levels: Sequence[str]) -> dict[str, str]:
    """How the AP of the queries spreads: an SVG histogram per level with bars per stage, one scale for all levels.

    Args:
        per_query: with columns `<stage>/ap_<level>`, fractions; NaN where a query has no positives at that level.

    Returns:
        SVG by level; levels without any AP are left out.
    """
    counts = {}
    for level in levels:
        columns = [f"{stage}/ap_{level}" for stage in stages]
        values = [per_query[column].dropna() for column in columns if column in per_query.columns]
        if values and any(len(value) for value in values):
            counts[level] = [np.histogram(100 * value.to_numpy(float), _BINS)[0] for value in values]
    top = max((int(bars.max()) for level in counts.values() for bars in level), default=0)
    return {level: _distribution(level, bars, stages, top) for level, bars in counts.items()}


def training_curves(validation: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """What was logged per epoch, as SVGs by title: losses, mAP (in percent) and learning rate apart, then the rest."""
    names = sorted({name for epoch in validation for name in epoch} - {"epoch"})
    panels: dict[str, list[str]] = {}
    for name in names:
        panels.setdefault(_panel(name), []).append(name)
    epochs = [epoch.get("epoch", float(number)) for number, epoch in enumerate(validation)]
    return {title: _curves(title, panels[title], epochs, validation) for title in sorted(panels, key=_panel_order)}


def _distribution(level: str, bars: Sequence[np.ndarray], stages: Sequence[str], top: int) -> str:
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _panel_axes()
        width = 8.6 / len(bars)
        for number, (counts, stage) in enumerate(zip(bars, stages, strict=False)):
            style = _BARS[(number if len(bars) > 1 else 1) % len(_BARS)]
            left = _BINS[:-1] + 0.7 + number * width
            axes.bar(left, counts, width=width, align="edge", label=STAGE_LABELS.get(stage, stage), **style)
        axes.set_xlim(0, 100)
        axes.set_ylim(0, top * 1.3 + 0.5)
        axes.set_title(level.capitalize(), loc="left", fontsize=10)
        axes.set_xlabel("average precision of a query (%)")
        axes.set_ylabel("queries")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        if len(bars) > 1:
            axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)
        said = "; ".join(
            f"{STAGE_LABELS.get(stage, stage)}: {', '.join(map(str, counts))}"
            for stage, counts in zip(stages, bars, strict=False)
        )
        return inline_svg(figure, f"ap-{level}", f"Queries by {level} AP, in ten steps from 0 to 100 %. {said}")


def _curves(title: str, names: Sequence[str], epochs: Sequence[float], rows: Sequence[Mapping[str, float]]) -> str:
    factor = 100 if title == "mAP (%)" else 1
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _panel_axes()
        for number, name in enumerate(names):
            style, marker, grey = _LINES[number % len(_LINES)]
            values = [factor * row.get(name, np.nan) for row in rows]
            axes.plot(epochs, values, style, marker=marker, color=grey, markersize=3.5, linewidth=1.3, label=name)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        # Else a single epoch stands among fractions of epochs.
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8)
        last = ", ".join(f"{name} {factor * rows[-1].get(name, np.nan):.4g}" for name in names)
        return inline_svg(
            figure, "curve-" + re.sub(r"\W+", "-", title), f"{title} over {len(rows)} epochs; last: {last}"
        )


def _panel(name: str) -> str:
    lowered = name.lower()
    if "loss" in lowered:
        return "loss"
    if "map" in lowered:
        return "mAP (%)"
    # Training and validation of one figure share a panel.
    return "learning rate" if re.search(r"(^|[^a-z])lr([^a-z]|$)", lowered) else name.rpartition("/")[2]


def _panel_order(title: str) -> tuple[int, str]:
    known = ("loss", "mAP (%)", "learning rate")
    return (known.index(title) if title in known else len(known), title)


def row_axes(names: Sequence[str], label: str) -> tuple[Figure, Axes]:
    """A figure with a line for each name, the first on top.

    Args:
        names: of the lines; long ones are cut.
        label: of the axis of figures.
    """
    figure = Figure(figsize=(7.0, 0.9 + 0.26 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_yticks(range(len(names)), [_short(name) for name in names], parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.set_xlabel(label)
    return figure, axes


def _short(name: str) -> str:
    """Cut in the middle: names of one comparison mostly differ at their ends."""
    half = _LONGEST // 2
    return name if len(name) <= _LONGEST else f"{name[: half - 1].rstrip()}…{name[-half:].lstrip()}"


def _panel_axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """A figure as SVG to stand in a page.

    Args:
        figure: drawn under `PLOT_STYLE`.
        name: its own on the page; begins all ids in it.
        description: for those who cannot see it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Inside HTML an SVG needs no namespaces.
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    # Several figures share one page, so their ids must differ.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    head = re.sub(r'\s(width|height)="[^"]*"', "", svg[: svg.index(">")])
    return f'{head} role="img" aria-label="{label}"' + svg[svg.index(">") :]
