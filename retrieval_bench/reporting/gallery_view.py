"""Gallery rows -> what the page's template draws."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from retrieval_bench.reporting.cells import Cell, Column, Table, percent
from retrieval_bench.reporting.match_drawing import draw_matches
from retrieval_bench.reporting.pictures import Pictures, UnreadablePictureError, data_uri
from retrieval_bench.reporting.query_choice import choose_queries
from retrieval_bench.reporting.run_folder import RunFolder
from retrieval_bench.reporting.tables import STAGE_LABELS
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.record import LEVELS, Candidate, GalleryRow

THUMBNAIL_SIDE = 120
QUERY_SIDE = 220
SHOWN_CANDIDATES = 10
DRAWN_PAIRS = 2
DRAWN_LINES = 40

RELATION_LABELS = {"easy": "✓ easy", "hard": "✓ hard", "junk": "junk", "negative": "✗ negative"}


@dataclass(frozen=True)
class Frame:
    """One picture with its frame; `picture` is a data URI, or None with the reason in `gone`."""

    picture: str | None
    gone: str
    name: str
    relation: str
    label: str
    position: str
    score: str
    alt: str


@dataclass(frozen=True)
class Pair:
    """A drawn pair of query crop and database image with its matches."""

    picture: str | None
    gone: str
    caption: str


@dataclass(frozen=True)
class QueryView:
    """One query's part of the page."""

    anchor: str
    name: str
    group: str
    query: Frame
    figures: Table | None
    medium: str
    best: Sequence[Frame]
    missed: Sequence[Frame]
    pairs: Sequence[Pair]


@dataclass(frozen=True)
class GallerySection:
    """Queries under one heading."""

    title: str
    queries: Sequence[QueryView]


def gallery_sections(run: RunFolder, pictures: Pictures, max_queries: int) -> list[GallerySection]:
    """The gallery of a run, the query with the worst medium AP of the last stage first; empty where it has none.

    Raises:
        InputError: a candidate whose matched keypoints do not come in pairs.
    """
    if run.gallery is None or not run.gallery.rows:
        return []
    rows = {row.query: row for row in run.gallery.rows}
    last = run.record.stages[-1].name if run.record.stages else ""
    medium = {query: _figure(run.per_query, query, f"{last}/ap_medium") for query in rows}
    sections = []
    number = 0
    for section in choose_queries(medium, max_queries):
        views = []
        for query in section.queries:
            number += 1
            views.append(_query_view(rows[query], f"q{number}", run, percent(medium[query]), pictures))
        sections.append(GallerySection(section.title, views))
    return sections


def _query_view(row: GalleryRow, anchor: str, run: RunFolder, medium: str, pictures: Pictures) -> QueryView:
    group = ""
    if run.per_query is not None and "group" in run.per_query.columns and row.query in run.per_query.index:
        value = run.per_query.loc[row.query, "group"]
        group = "" if value is None or pd.isna(value) else str(value)
    return QueryView(
        anchor=anchor,
        name=row.query,
        group=group,
        query=_query_frame(row, pictures),
        figures=_figures(row.query, run),
        medium=medium,
        best=[_frame(candidate, pictures) for candidate in row.best[:SHOWN_CANDIDATES]],
        missed=[_frame(candidate, pictures) for candidate in row.missed],
        pairs=_pairs(row, pictures),
    )


def _query_frame(row: GalleryRow, pictures: Pictures) -> Frame:
    picture, gone = None, ""
    try:
        picture = pictures.boxed(row.path, row.box, QUERY_SIDE)
    except UnreadablePictureError as error:
        gone = str(error)
    alt = f"Query {row.query}" + (", its box drawn" if row.box else "")
    return Frame(picture, gone, row.query, "query", "query", "", "", alt)


def _frame(candidate: Candidate, pictures: Pictures) -> Frame:
    picture, gone = None, ""
    try:
        picture = pictures.thumbnail(candidate.path, THUMBNAIL_SIDE)
    except UnreadablePictureError as error:
        gone = str(error)
    position = str(candidate.position + 1)
    if candidate.before is not None:
        position = f"{candidate.before + 1} → {position}"
    alt = f"{candidate.name}: {candidate.relation}, position {candidate.position + 1}"
    if candidate.before is not None:
        alt += f", {candidate.before + 1} before re-ranking"
    label = RELATION_LABELS.get(candidate.relation, candidate.relation)
    score = f"{candidate.score:.4g}"
    return Frame(picture, gone, candidate.name, candidate.relation, label, position, score, alt)


def _pairs(row: GalleryRow, pictures: Pictures) -> list[Pair]:
    verified = [candidate for candidate in row.best if candidate.query_points][:DRAWN_PAIRS]
    pairs = []
    for candidate in verified:
        if len(candidate.query_points) != len(candidate.database_points):
            raise InputError(
                f"gallery.json: candidate {candidate.name!r} of query {row.query!r} has {len(candidate.query_points)} "
                f"query points but {len(candidate.database_points)} database points; run it again"
            )
        picture, gone = None, ""
        try:
            drawing = draw_matches(
                pictures.crop(row.path, row.box),
                pictures.read(candidate.path)[0],
                candidate.query_points,
                candidate.database_points,
                most=DRAWN_LINES,
            )
            picture = data_uri(drawing)
        except UnreadablePictureError as error:
            gone = str(error)
        count = len(candidate.query_points)
        drawn = f", {DRAWN_LINES} of them drawn" if count > DRAWN_LINES else ""
        label = RELATION_LABELS.get(candidate.relation, candidate.relation)
        matches = f"{count} verified match{'' if count == 1 else 'es'}"
        caption = f"Query crop and {candidate.name} (position {candidate.position + 1}, {label}): {matches}{drawn}"
        pairs.append(Pair(picture, gone, caption))
    return pairs


def _figures(query: str, run: RunFolder) -> Table | None:
    if run.per_query is None or query not in run.per_query.index:
        return None
    counts = [_figure(run.per_query, query, f"n_{kind}") for kind in ("easy", "hard", "junk")]
    shown = ("0" if count is None else f"{count:.0f}" for count in counts)
    note = "Database images: " + ", ".join(
        f"{count} {kind}" for count, kind in zip(shown, ("easy", "hard", "junk"), strict=True)
    )
    rows = []
    for stage in run.record.stages:
        values = [_figure(run.per_query, query, f"{stage.name}/ap_{level}") for level in LEVELS]
        rows.append((Cell(STAGE_LABELS.get(stage.name, stage.name)), *(Cell(percent(value)) for value in values)))
    columns = (Column("AP", numeric=False), *(Column(level.capitalize()) for level in LEVELS))
    return Table("", columns, tuple(rows), (note,))


def _figure(per_query: pd.DataFrame | None, query: str, column: str) -> float | None:
    if per_query is None or column not in per_query.columns or query not in per_query.index:
        return None
    value = per_query.loc[query, column]
    return None if pd.isna(value) else float(value)
