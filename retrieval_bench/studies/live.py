"""All runs of a study in one display: what is done, what runs and what it says, and how long it will take."""

import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from retrieval_bench.studies.job import Job, Outcome, said


class Progress:
    """The state of a study on a console; on one that is no terminal, a line for every run that ended.

    Args:
        console: stderr, as a rule.
        title: of the study.
        total: runs that it has in all.
        recorded: of those, finished before.
        workers: how many run at a time.
    """

    def __init__(self, console: Console, title: str, total: int, recorded: int, workers: int):
        self.console = console
        self.title = title
        self.total = total
        self.recorded = recorded
        self.workers = workers
        self.done = 0
        self.failed = 0
        self._seconds: list[float] = []
        self._running: dict[str, tuple[Job, float]] = {}
        self._live = Live(console=console, auto_refresh=False, get_renderable=self._drawn, transient=True)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def started(self, job: Job) -> None:
        """A job was handed to the engine."""
        self._running[job.digest] = (job, time.monotonic())

    def ended(self, job: Job, outcome: Outcome) -> None:
        """A job ended: say so."""
        del self._running[job.digest]
        if outcome.state == "done":
            self.done += 1
            self._seconds.append(outcome.seconds)
            text = Text(f"{self._count()} done    {job.name} ({outcome.seconds:.0f} s)")
        else:
            self.failed += 1
            text = Text(f"{self._count()} failed  {job.name}: {outcome.reason}; log: {job.log}", style="red")
        self.console.print(text, soft_wrap=True)

    def refresh(self) -> None:
        """Draw again."""
        if self._live.is_started:
            self._live.refresh()

    def _count(self) -> str:
        return f"[{self.recorded + self.done + self.failed}/{self.total}]"

    def _drawn(self) -> RenderableType:
        parts = [f"{self.recorded + self.done} of {self.total} runs recorded", f"{len(self._running)} running"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self._seconds:
            left = self.total - self.recorded - self.done - self.failed
            minutes = left * sum(self._seconds) / len(self._seconds) / self.workers / 60
            parts.append(f"about {max(1, round(minutes))} min left")
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis", style="dim")
        for job, begin in self._running.values():
            lines = said(job.log)
            table.add_row(Text(job.name), f"{time.monotonic() - begin:.0f} s", Text(lines[-1] if lines else "starting"))
        return Group(Text(f"{self.title}: {', '.join(parts)}", style="bold"), table)
