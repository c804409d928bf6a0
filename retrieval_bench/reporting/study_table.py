"""The runs of a study -> its one table: mean and spread over seeds, a row per combination and stage."""

import csv
import io
import math
import statistics
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from retrieval_bench.reporting.best import best_note, with_best
from retrieval_bench.reporting.cells import NOTHING, Cell, Column, Table, percent, quantity
from retrieval_bench.reporting.comparability import card_differences, reference_card
from retrieval_bench.reporting.cost_columns import COST_NOTE, cost_columns, cost_of, short_unit
from retrieval_bench.reporting.protocol_card import protocol_line
from retrieval_bench.reporting.tables import (
    card_warnings,
    comparable_kind,
    letter,
    probability,
    stage_label,
    warning_notes,
    whose_difference,
)
from retrieval_bench.settings.record import LEVELS, RunRecord, Stage

SPREAD_NOTE = f"mAP in percent: mean ± sample standard deviation over seeds. Costs: mean over seeds; {COST_NOTE}."
TEST_NOTE = (
    "p: Medium AP of the queries, each the mean over seeds, against the first row; two-sided paired permutation test "
    "over queries, corrected after Holm for the number of rows. Seeds are averaged out: compare the ± beside the mean."
)


@dataclass(frozen=True)
class StudyRow:
    """One combination of a study, with what was recorded of it.

    Attributes:
        labels: what the row says, by column.
        records: of its finished runs, by seed.
        wanted: how many runs the study asks for.
        p_values: per stage, against the first row; empty where nothing was tested.
    """

    labels: Mapping[str, str]
    records: Mapping[int, RunRecord]
    wanted: int
    p_values: Sequence[float | None] = ()

    @property
    def title(self) -> str:
        """The row in one line."""
        return ", ".join(label for label in self.labels.values() if label)


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of some values; None where there are too few."""

    mean: float | None
    deviation: float | None
    count: int = field(default=0)


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and sample standard deviation (divisor n - 1); the deviation is None for fewer than two values."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return Spread(None, None)
    return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


def study_table(title: str, rows: Sequence[StudyRow], notes: Sequence[str] = ()) -> Table:
    """The table of a study.

    Rows whose protocol cards differ from the others' on that dataset in a field that moves mAP carry a letter, which
    the notes explain; rows with warnings carry `!`.

    Args:
        title: above it.
        rows: in its order; those without any record stand there, too.
        notes: below it, after what the figures are.
    """
    records = [record for row in rows for record in row.records.values()]
    datasets = {record.dataset for record in records}
    reference = {name: reference_card([one.card for one in records if one.dataset == name]) for name in datasets}
    several_datasets = len(datasets) > 1
    several_stages = any(len(record.stages) > 1 for record in records)
    costs = cost_columns(records)
    tested = any(p is not None for row in rows for p in row.p_values)
    letters: dict[str, str] = {}
    warnings: dict[str, list[str]] = {}
    cells: list[tuple[Cell, ...]] = []
    kinds: list[Hashable | None] = []
    for row in rows:
        found = list(row.records.values())
        differing = {
            phrase: None for record in found for phrase in card_differences(record.card, reference[record.dataset])
        }
        said = {warning: None for record in found for warning in card_warnings(record)}
        for warning in said:
            warnings.setdefault(warning, []).append(row.title)
        marks = [letters.setdefault("; ".join(differing), letter(len(letters)))] if differing else []
        mark = " ".join([*marks, *(["!"] if said else [])])
        for number, (name, stages) in enumerate(_stages(row)):
            first, *rest = [Cell(label or NOTHING) for label in row.labels.values()]
            p = row.p_values[number] if number < len(row.p_values) else None
            cells.append(
                (
                    Cell(first.text, mark=f" ({mark})" if mark else ""),
                    *rest,
                    *([Cell(found[0].dataset if found else NOTHING)] if several_datasets else []),
                    *([Cell(name)] if several_stages else []),
                    *(_map_cell(stages, level) for level in LEVELS),
                    *([Cell(probability(p))] if tested else []),
                    Cell(f"{len(found)}" if len(found) == row.wanted else f"{len(found)} of {row.wanted}"),
                    *(_cost_cell(found, cost) for cost, _, _ in costs),
                )
            )
            kinds.append(comparable_kind(found[0], stages[0], list(differing)) if stages else "")
    columns = (
        *(Column(name.capitalize(), numeric=False) for name in _dimensions(rows)),
        *([Column("Dataset", numeric=False)] if several_datasets else []),
        *([Column("Ranking", numeric=False)] if several_stages else []),
        *(Column(level.capitalize(), "mAP") for level in LEVELS),
        *([Column("p", "vs first")] if tested else []),
        Column("Seeds"),
        *(Column(short_unit(unit), heading) for _, heading, unit in costs),
    )
    differences = [f"({mark}) {whose_difference(difference)}: {difference}" for difference, mark in letters.items()]
    best = with_best(cells, [place for place, column in enumerate(columns) if column.group == "mAP"], kinds)
    below = (
        SPREAD_NOTE,
        *best_note(best, kinds),
        *([TEST_NOTE] if tested else []),
        *(protocol_line(card) for card in reference.values()),
        *differences,
        *notes,
        *warning_notes(warnings, len(rows)),
    )
    return Table(title, columns, best, below)


def study_csv(rows: Sequence[StudyRow]) -> str:
    """A line per row and stage: mAP as fractions, mean and sample deviation, in full precision; costs likewise."""
    costs = cost_columns([record for row in rows for record in row.records.values()])
    heads = [*_dimensions(rows), "dataset", "stage", "seeds", "seeds_wanted"]
    heads += [f"map_{level}_{what}" for level in LEVELS for what in ("mean", "std")] + ["p"]
    heads += [f"{cost} ({unit}) {what}" for cost, _, unit in costs for what in ("mean", "std")]
    lines = []
    for row in rows:
        found = list(row.records.values())
        for number, (_, stages) in enumerate(_stages(row)):
            figures = [spread([_map(stage, level) for stage in stages]) for level in LEVELS]
            figures += [spread([cost_of(record, cost) for record in found]) for cost, _, _ in costs]
            flat: list[object] = [value for one in figures for value in (one.mean, one.deviation)]
            p = row.p_values[number] if number < len(row.p_values) else None
            place = [found[0].dataset if found else None, stages[0].name if stages else None, len(found), row.wanted]
            lines.append([*row.labels.values(), *place, *flat[: 2 * len(LEVELS)], p, *flat[2 * len(LEVELS) :]])
    return _csv([heads, *lines])


def runs_csv(rows: Sequence[StudyRow], folders: Mapping[str, str]) -> str:
    """A line per run and stage, for figures of the reader's own.

    Args:
        rows: of the study.
        folders: run id -> folder.
    """
    costs = cost_columns([record for row in rows for record in row.records.values()])
    heads = [*_dimensions(rows), "seed", "dataset", "stage", *(f"map_{level}" for level in LEVELS)]
    heads += [*(f"{cost} ({unit})" for cost, _, unit in costs), "run"]
    lines = [
        [
            *row.labels.values(),
            seed,
            record.dataset,
            stage.name,
            *(_map(stage, level) for level in LEVELS),
            *(cost_of(record, cost) for cost, _, _ in costs),
            folders.get(record.run_id, record.run_id),
        ]
        for row in rows
        for seed, record in row.records.items()
        for stage in record.stages
    ]
    return _csv([heads, *lines])


def _stages(row: StudyRow) -> Iterator[tuple[str, list[Stage]]]:
    """Per stage, its name and that stage of every run; one without a name where nothing is recorded."""
    found = list(row.records.values())
    if not found:
        yield NOTHING, []
    for stages in zip_longest(*(record.stages for record in found)):
        known = [stage for stage in stages if stage is not None]
        yield stage_label(known[0], found[0]), known


def _dimensions(rows: Sequence[StudyRow]) -> list[str]:
    return list(rows[0].labels) if rows else []


def _map(stage: Stage, level: str) -> float | None:
    return stage.levels[level].map if level in stage.levels else None


def _map_cell(stages: Sequence[Stage], level: str) -> Cell:
    one = spread([_map(stage, level) for stage in stages])
    return Cell(percent(one.mean), "" if one.deviation is None else f"± {percent(one.deviation)}")


def _cost_cell(records: Sequence[RunRecord], name: str) -> Cell:
    mean = spread([cost_of(record, name) for record in records]).mean
    return Cell(NOTHING if mean is None else quantity(mean))


def _csv(lines: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
