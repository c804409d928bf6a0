"""The measured costs that stand in columns, where several runs are compared."""

from collections.abc import Sequence

from retrieval_bench.reporting.cells import NOTHING, Cell, Column, Table, quantity
from retrieval_bench.settings.record import RunRecord

COSTS = (
    ("training", "Train"),
    ("extraction per image", "Extract"),
    ("re-ranking", "Rerank"),
    ("descriptor", "Descr."),
    ("local features", "Local"),
    ("parameters", "Param."),
)
"""Names in records, and headings."""

COST_NOTE = "extraction, descriptor and local features per image, re-ranking of all queries"

_SHORT_UNITS = {"bytes/image": "B", "KiB/image": "KiB", "million": "M"}


def cost_columns(records: Sequence[RunRecord]) -> list[tuple[str, str, str]]:
    """Name, heading and unit of every cost that has a column: those that a run has."""
    units = {cost.name: cost.unit for record in records for cost in record.costs}
    return [(name, heading, units[name]) for name, heading in COSTS if name in units]


def short_unit(unit: str) -> str:
    """A unit as it stands under a heading."""
    return _SHORT_UNITS.get(unit, unit)


def cost_of(record: RunRecord, name: str) -> float | None:
    """A cost of a run; None where it was not measured."""
    return next((cost.value for cost in record.costs if cost.name == name), None)


def costs_side_by_side(records: Sequence[RunRecord], titles: Sequence[str]) -> Table | None:
    """What several runs cost, a row per run; None where nothing was measured.

    Args:
        records: of the runs.
        titles: of their rows.
    """
    costs = cost_columns(records)
    if not costs:
        return None
    rows = [
        (Cell(title), *(_cell(cost_of(record, name)) for name, _, _ in costs))
        for record, title in zip(records, titles, strict=True)
    ]
    columns = (Column("Run", numeric=False), *(Column(short_unit(unit), heading) for _, heading, unit in costs))
    notes = (f"Costs: {COST_NOTE}. {NOTHING}: not measured, or done by an earlier run.",)
    return Table("Costs side by side", columns, tuple(rows), notes)


def _cell(value: float | None) -> Cell:
    return Cell(NOTHING if value is None else quantity(value))
