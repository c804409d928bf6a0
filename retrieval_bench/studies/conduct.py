"""Running the jobs of a study, so many at a time, whatever comes."""

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from retrieval_bench.recording.run_folder import runs_folder
from retrieval_bench.settings.loading import dump
from retrieval_bench.settings.whole_file import write_text
from retrieval_bench.studies.engines.base import Engine, Handle
from retrieval_bench.studies.interruption import undisturbed
from retrieval_bench.studies.job import POLL, Job, Outcome
from retrieval_bench.studies.journal import Journal
from retrieval_bench.studies.live import Progress
from retrieval_bench.studies.plan import Planned
from retrieval_bench.studies.share import passed_on


def job_of(run: Planned, folder: Path, loaders: int) -> Job:
    """What an engine needs to make a run; its settings are written into the study's folder.

    Args:
        run: not yet recorded.
        folder: of the study.
        loaders: loader processes where the settings leave them open; they decide no figure.
    """
    folder = folder.resolve()
    settings = run.settings
    config = _made(folder / "configs") / f"{run.digest}.yaml"
    if settings.runtime.workers is None:
        settings = settings.model_copy(update={"runtime": settings.runtime.model_copy(update={"workers": loaders})})
    return Job(
        name=run.name,
        digest=run.digest,
        command=command(write_text(config, dump(settings))),
        parent=runs_folder(settings).resolve(),
        log=folder / "logs" / f"{run.digest}.txt",
        # Beside all studies: two of them may share a run.
        lock=folder.parent / ".locks" / run.digest,
        folder=Path.cwd(),
        gpu=settings.runtime.accelerator != "cpu",
        environment=passed_on(),
    )


def command(config: Path) -> list[str]:
    """The ordinary command line of a run, whatever engine starts it."""
    return [sys.executable, "-m", "retrieval_bench", "bench", "--config", str(config)]


def conduct(jobs: Sequence[Job], engine: Engine, workers: int, progress: Progress, journal: Journal, name: str) -> int:
    """Run jobs; returns how many failed. One that fails does not stop the others.

    However this ends, no job is left running: what was under way goes on from its files next time.

    Args:
        jobs: in the order in which they start.
        engine: that runs them.
        workers: how many at a time.
        progress: told what happens.
        journal: written for every job that ends.
        name: of the engine, for the journal.
    """
    waiting = deque(jobs)
    free = list(reversed(range(workers)))
    running: dict[int, tuple[Job, Handle]] = {}
    failed = 0
    try:
        while waiting or running:
            while waiting and free:
                job, slot = waiting.popleft(), free.pop()
                with undisturbed():
                    running[slot] = (job, engine.submit(job, slot))
                progress.started(job)
            for slot, (job, handle) in list(running.items()):
                outcome = handle.poll()
                if outcome is None:
                    continue
                del running[slot]
                free.append(slot)
                failed += outcome.state == "failed"
                journal.write(job, outcome, name, workers)
                progress.ended(job, _one_line(outcome))
            progress.refresh()
            if running:
                time.sleep(POLL)
    finally:
        with undisturbed():
            engine.stop([handle for _, handle in running.values()])
    return failed


def _one_line(outcome: Outcome) -> Outcome:
    return replace(outcome, reason=" ".join(outcome.reason.split()))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
