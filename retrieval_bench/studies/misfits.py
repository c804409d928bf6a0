"""Rows of a study that cannot be made: how they are refused, or named as left out."""

from collections.abc import Callable, Mapping, Sequence

from retrieval_bench.settings.errors import InputError
from retrieval_bench.studies.definition import Study
from retrieval_bench.studies.grid import Row
from retrieval_bench.studies.plan import Plan, Planned

SHOWN = 8
"""Rows that are named of those that one thing keeps from being made."""

Check = Callable[[Mapping[str, Planned], Plan], Mapping[int, str]]
"""Given the runs that come first, by name, and the plan: row -> why it cannot be made. Wrong first runs are refused."""


def refuse_misfits(study: Study, plan: Plan, reasons: Mapping[int, str]) -> None:
    """Refuse a study with rows that cannot be made, unless it is to go on without them and some are left.

    Args:
        study: as read.
        plan: its rows.
        reasons: row -> why it cannot be made.

    Raises:
        InputError: a line for every distinct reason, with the rows that it keeps; one line where it keeps all.
    """
    name = study.name
    if not reasons or (study.skip_misfits and len(reasons) < len(plan.rows)):
        return
    grouped = _by_reason(plan.rows, reasons)
    if len(reasons) == len(plan.rows) and len(grouped) == 1:
        raise InputError(f"study {name!r}: {next(iter(grouped))}")
    lines = [f"  {_counted(titles)} ({_named(titles)}): {reason}" for reason, titles in grouped.items()]
    raise InputError(
        f"study {name!r}: {len(reasons)} of {_counted(plan.rows)} cannot be made; mend or exclude them, or write "
        "skip_misfits: true in the study file (--skip-misfits) to go on without them\n" + "\n".join(lines)
    )


def left_out(rows: Sequence[Row], reasons: Mapping[int, str]) -> list[str]:
    """What a table says of rows that were left out: a note for every distinct reason."""
    return [f"Left out: {_named(titles)}: {reason}." for reason, titles in _by_reason(rows, reasons).items()]


def _by_reason(rows: Sequence[Row], reasons: Mapping[int, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for number, reason in sorted(reasons.items()):
        grouped.setdefault(reason.rstrip("."), []).append(rows[number].title)
    return grouped


def _counted(rows: Sequence[object]) -> str:
    return f"{len(rows)} row{'s' if len(rows) != 1 else ''}"


def _named(titles: Sequence[str]) -> str:
    more = len(titles) - SHOWN
    return "; ".join([*titles[:SHOWN], *([f"and {more} more"] if more > 0 else [])])
