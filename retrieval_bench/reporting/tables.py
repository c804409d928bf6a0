"""Records -> tables: pure functions, no output."""

from collections.abc import Hashable, Mapping, Sequence
from string import ascii_lowercase

from retrieval_bench.reporting.best import best_note, with_best
from retrieval_bench.reporting.cells import NOTHING, Cell, Column, Table, interval, percent, quantity
from retrieval_bench.reporting.comparability import card_differences, reference_card
from retrieval_bench.reporting.part_lines import distinct_titles
from retrieval_bench.reporting.protocol_card import protocol_line
from retrieval_bench.settings.record import LEVELS, RunRecord, Stage

STAGE_LABELS = {"global": "before re-ranking", "reranked": "after re-ranking"}
TEST_NOTE = (
    "p: Medium AP of the queries against the first row, two-sided paired permutation test, corrected after Holm for "
    "the number of rows."
)
NOT_COMPARABLE = "not comparable"
INTERVAL_NOTE = "mAP in percent, in brackets its 95 % bootstrap interval over queries."


def stage_label(stage: Stage, record: RunRecord) -> str:
    """How a stage is called in a table."""
    if len(record.stages) == 1 and stage.name == "global":
        return "global, no re-ranking"
    return STAGE_LABELS.get(stage.name, stage.name)


def map_table(record: RunRecord) -> Table:
    """mAP easy, medium and hard with intervals; a row per stage."""
    rows = [(Cell(stage_label(stage, record)), *_map_cells(stage)) for stage in record.stages]
    return Table(
        f"{record.title} on {record.dataset}: mAP",
        (Column("Ranking", numeric=False), *(Column(level.capitalize(), "mAP") for level in LEVELS)),
        tuple(rows),
        (INTERVAL_NOTE, _query_counts(record)),
    )


def precision_table(record: RunRecord) -> Table:
    """mP@k at every level; a row per stage."""
    cuts = _cuts([record])
    columns = [Column(f"@{cut}", f"mP {level.capitalize()}") for level in LEVELS for cut in cuts]
    rows = [
        (Cell(stage_label(stage, record)), *(_precision_cell(stage, level, cut) for level in LEVELS for cut in cuts))
        for stage in record.stages
    ]
    return Table(
        f"{record.title} on {record.dataset}: mP@k",
        (Column("Ranking", numeric=False), *columns),
        tuple(rows),
        ("Mean precision at k in percent; k is cut to the last positive's rank, as in the Revisited protocol.",),
    )


def groups_table(record: RunRecord) -> Table | None:
    """Medium mAP per query group, a row per group and a column per stage; None where there are no groups."""
    names = sorted({group for stage in record.stages for group in stage.groups})
    if not names:
        return None
    columns = tuple(Column(stage_label(stage, record)) for stage in record.stages)
    rows = [(Cell(name), *(Cell(percent(stage.groups.get(name))) for stage in record.stages)) for name in names]
    return Table("Medium mAP by query group", (Column("Group", numeric=False), *columns), tuple(rows))


def costs_table(record: RunRecord) -> Table:
    """What the run cost; a row per measurement."""
    rows = [(Cell(cost.name), Cell(quantity(cost.value)), Cell(cost.unit)) for cost in record.costs]
    columns = (Column("Cost", numeric=False), Column("Value"), Column("Unit", numeric=False))
    return Table("Costs", columns, tuple(rows))


def published_table(record: RunRecord) -> Table | None:
    """The authors' figures with their source; what this run measured has a column of its own beside them."""
    if not record.published:
        return None
    stages = {stage.name: stage for stage in record.stages}
    rows = []
    for figure in record.published:
        level = stages[figure.stage].levels.get(figure.level) if figure.stage in stages else None
        measured = percent(level.map) if level and figure.dataset == record.dataset else NOTHING
        what = (figure.dataset, figure.level, STAGE_LABELS.get(figure.stage, figure.stage))
        rows.append(
            (
                *(Cell(text) for text in what),
                Cell(percent(figure.map)),
                Cell(measured),
                Cell(figure.variant),
                Cell(figure.source),
            )
        )
    columns = (
        *(Column(name, numeric=False) for name in ("Dataset", "Level", "Ranking")),
        Column("Published mAP"),
        Column("This run's mAP"),
        *(Column(name, numeric=False) for name in ("Published for", "Source")),
    )
    note = f"{NOTHING}: this run did not measure that dataset or stage. Published figures were not measured here."
    return Table("Published by the authors", columns, tuple(rows), (note,))


def comparison_table(
    records: Sequence[RunRecord], p_values: Sequence[Sequence[float | None]] = (), missing: Sequence[str] = ()
) -> Table:
    """Several runs below each other, a row per run and stage.

    A run whose card differs from the others' in a field that moves mAP carries a letter, and the note of that letter
    names the difference. Runs of one title say in which options they differ. A run with warnings carries `!` and the
    notes repeat them.

    Args:
        records: in the order of the rows.
        p_values: per run and stage, of tests against the first row; None where there is none. Empty: no such column.
        missing: runs that there are not, and why; the notes name them.
    """
    cards = [record.card for record in records]
    reference = reference_card(cards) if cards else None
    letters: dict[str, str] = {}
    warnings: dict[str, list[str]] = {}
    cuts = _cuts(records)
    several_datasets = len({record.dataset for record in records}) > 1
    rows: list[tuple[Cell, ...]] = []
    kinds: list[Hashable | None] = []
    titles = distinct_titles(records)
    for run, (record, title) in enumerate(zip(records, titles, strict=True)):
        differences = card_differences(record.card, reference) if reference else []
        own = letters.setdefault("; ".join(differences), letter(len(letters))) if differences else ""
        said = card_warnings(record)
        for warning in said:
            warnings.setdefault(warning, []).append(title)
        mark = " ".join(part for part in (own, "!" if said else "") if part)
        for number, stage in enumerate(record.stages):
            name = (Cell(title, mark=f" ({mark})" if mark else ""),)
            where = (Cell(record.dataset),) if several_datasets else ()
            precision = (_precision_cell(stage, "medium", cut) for cut in cuts)
            test = (Cell(probability(p_values[run][number])),) if p_values else ()
            rows.append((*name, *where, Cell(stage_label(stage, record)), *_map_cells(stage), *test, *precision))
            kinds.append(comparable_kind(record, stage, differences))
    columns = (
        Column("Run", numeric=False),
        *((Column("Dataset", numeric=False),) if several_datasets else ()),
        Column("Ranking", numeric=False),
        *(Column(level.capitalize(), "mAP") for level in LEVELS),
        *((Column("p", "vs first"),) if p_values else ()),
        *(Column(f"@{cut}", "mP Medium") for cut in cuts),
    )
    figures = [place for place, column in enumerate(columns) if column.group in ("mAP", "mP Medium")]
    best = with_best(rows, figures, kinds)
    notes = (
        INTERVAL_NOTE,
        *best_note(best, kinds),
        *((TEST_NOTE,) if p_values else ()),
        *((protocol_line(reference),) if reference else ()),
        *(f"({mark}) {whose_difference(difference)}: {difference}" for difference, mark in letters.items()),
        *warning_notes(warnings, len(records)),
        *(f"Missing: {one}" for one in missing),
    )
    place = "" if several_datasets or not records else f" on {records[0].dataset}"
    return Table(f"Runs side by side{place}", columns, best, notes)


def comparable_kind(record: RunRecord, stage: Stage, differences: Sequence[str]) -> str | None:
    """What a row may be compared with: the rows of its dataset; None where its figures are of another task, or where
    ground truth chose its candidates."""
    other = bool(differences) and whose_difference("; ".join(differences)) == NOT_COMPARABLE
    helped = record.card.ground_truth_in_candidates and stage.name != "global"
    return None if other or helped else record.dataset


def warning_notes(warnings: Mapping[str, Sequence[str]], rows: int) -> list[str]:
    """Notes of warnings, each once.

    Args:
        warnings: each with the rows that it is about.
        rows: how many there are.
    """
    return [
        f"! {'all rows' if len(where) == rows > 1 else '; '.join(where)}: {warning}"
        for warning, where in warnings.items()
    ]


def probability(p: float | None) -> str:
    """A p-value as it is printed in papers."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def whose_difference(differences: str) -> str:
    """What differing cards mean: a method's own protocol is part of it; anything else makes figures of another task."""
    own = all(phrase.startswith("protocol.") for phrase in differences.split("; "))
    return "under a protocol of its own" if own else NOT_COMPARABLE


def card_warnings(record: RunRecord) -> list[str]:
    """What a reader must be warned of before quoting the record."""
    own = []
    if record.card.ground_truth_in_candidates:
        own.append("ground truth chose which candidates were re-ranked: the re-ranked figures are an upper bound")
    # The record says the same in fewer words.
    return own + [warning for warning in record.card.warnings if not any(one.startswith(warning) for one in own)]


def _map_cells(stage: Stage) -> list[Cell]:
    levels = [stage.levels.get(level) for level in LEVELS]
    return [Cell(percent(at.map), interval(at.interval)) if at else Cell(NOTHING) for at in levels]


def _precision_cell(stage: Stage, level: str, cut: int) -> Cell:
    at = stage.levels.get(level)
    return Cell(percent(at.precision_at.get(cut)) if at else NOTHING)


def _cuts(records: Sequence[RunRecord]) -> list[int]:
    stages = [stage for record in records for stage in record.stages]
    return sorted({cut for stage in stages for level in stage.levels.values() for cut in level.precision_at})


def _query_counts(record: RunRecord) -> str:
    if not record.stages:
        return "No stage was evaluated."
    levels = record.stages[-1].levels
    counts = ", ".join(f"{levels[level].queries} {level}" for level in LEVELS if level in levels)
    return f"Queries with positives: {counts} (of {record.card.queries}); database: {record.card.database} images."


def letter(index: int) -> str:
    """The mark of a note: a to z, then aa."""
    return ascii_lowercase[index % 26] * (1 + index // 26)
