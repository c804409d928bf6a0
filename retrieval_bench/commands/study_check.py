"""Whether the runs of a study can be made, looked at before the first begins."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from retrieval_bench.recording.content import SAID_BY_OPTIONS
from retrieval_bench.running.check import Checks, like_models
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.studies.foreseen import foreseen
from retrieval_bench.studies.plan import Plan, Planned

PATIENCE = 2.0
"""Seconds after which checks show how far they are."""

Item = TypeVar("Item")


class StudyCheck:
    """Checks of a study's rows, one per row: seeds fit or do not all together. What is known is not looked at again.

    Args:
        console: where progress is shown.
        dry: whether nothing may be rendered; a dataset that its options say all of is not looked at then.
    """

    def __init__(self, console: Console, *, dry: bool = False):
        self.console = console
        self.dry = dry
        self._checks = Checks()

    def __call__(self, first: Mapping[str, Planned], made: Plan) -> dict[int, str]:
        """Row -> why it cannot be made, in one line.

        Args:
            first: the runs that others start from, by name.
            made: all others; those that are recorded are right.

        Raises:
            InputError: a run that others start from cannot be made.
        """
        rows: dict[int, RunSettings] = {}
        for run in made.runs:
            if run.row not in rows and run.folder is None and (settings := foreseen(run, first)) is not None:
                rows[run.row] = settings
        starts = [run for run in first.values() if run.folder is None]
        reasons: dict[int, str] = {}
        with _shown(self.console, 2 * (len(rows) + len(starts))) as each:
            # Options of all before the data of any, which may take long to get.
            for data in (False, True):
                for run in each(starts):
                    if (reason := self._reason(run.settings, data)) is not None:
                        raise InputError(f"{run.name}: {reason}")
                for row in each(sorted(rows, key=lambda row: like_models(rows[row]))):
                    if row not in reasons and (reason := self._reason(rows[row], data)) is not None:
                        reasons[row] = reason
                if len(reasons) == len(made.rows):
                    break
        return reasons

    def _reason(self, settings: RunSettings, data: bool) -> str | None:
        if data and self.dry and settings.dataset.name in SAID_BY_OPTIONS:
            return None
        return self._checks.reason(settings, data=data)


@contextmanager
def _shown(console: Console, total: int) -> Iterator[Callable[[Sequence[Item]], Iterator[Item]]]:
    """What goes over items one by one, and shows how far it is of `total` once that takes long."""
    columns = (TextColumn("check the runs"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=console, transient=True)
    task, begin, told = bar.add_task("", total=total), time.monotonic(), False

    def each(items: Sequence[Item]) -> Iterator[Item]:
        nonlocal told
        for item in items:
            yield item
            bar.advance(task)
            if not told and time.monotonic() - begin > PATIENCE:
                told = True
                if console.is_terminal:
                    bar.start()
                else:
                    console.print("check the runs before the first begins", highlight=False)

    try:
        yield each
    finally:
        if told and console.is_terminal:
            bar.stop()
