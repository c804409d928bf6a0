"""A study from its plan to its table."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from rich.console import Console

from retrieval_bench.settings.errors import InputError
from retrieval_bench.studies.conduct import conduct, job_of
from retrieval_bench.studies.definition import Study
from retrieval_bench.studies.engines.base import Engine
from retrieval_bench.studies.engines.local import LocalEngine
from retrieval_bench.studies.engines.ray import RayEngine
from retrieval_bench.studies.engines.slurm import SlurmEngine
from retrieval_bench.studies.interruption import kills_interrupt
from retrieval_bench.studies.journal import Journal
from retrieval_bench.studies.live import Progress
from retrieval_bench.studies.lock import give_up, take
from retrieval_bench.studies.misfits import Check, refuse_misfits
from retrieval_bench.studies.plan import Plan, Planned, checkpoint, first_runs, plan
from retrieval_bench.studies.results import Results, write_results
from retrieval_bench.studies.share import cores

EngineName = Literal["local", "ray", "slurm"]
FOLDER = "studies"
"""Below the folder of the runs."""


class RunsFailedError(RuntimeError):
    """Some of several runs failed; the others are recorded."""


@dataclass(frozen=True)
class Asked:
    """A study as a user asks for it.

    Attributes:
        study: as read.
        overrides: ``key=value`` for every run.
        plugins: beside the study's own.
    """

    study: Study
    overrides: Sequence[str] = ()
    plugins: Sequence[Path] = ()

    def first(self) -> dict[str, Planned]:
        """The runs that others start from."""
        return first_runs(self.study, self.overrides, self.plugins)

    def plan(self) -> Plan:
        """All runs; the checkpoint of a run that has not been made yet stands as ``trained:NAME``."""
        paths = {}
        for name, run in self.first().items():
            if (folder := run.folder) is not None:
                paths[name] = checkpoint(folder)
                if not paths[name].is_file():
                    raise InputError(f"trained {name!r}: its run {folder} keeps no {paths[name]}; remove that folder")
        return plan(self.study, self.overrides, paths, self.plugins)

    def checked(self, check: Check | None) -> Plan:
        """All runs, without the rows that cannot be made, where the study is to go on without them.

        Args:
            check: of the rows; None looks at nothing.

        Raises:
            InputError: rows that cannot be made.
        """
        made = self.plan()
        if check is None:
            return made
        misfits = check(self.first(), made)
        refuse_misfits(self.study, made, misfits)
        return replace(made, left_out=misfits)

    def folder(self, made: Plan) -> Path:
        """Where the study keeps what is its own."""
        return made.runs[0].settings.runs / FOLDER / self.study.name


def run_study(
    asked: Asked, engine: EngineName, workers: int, console: Console, check: Check | None = None
) -> tuple[Results, int]:
    """Make what is missing of a study, and its table; returns the results and how many runs failed.

    Args:
        asked: the study.
        engine: what runs it.
        workers: runs at a time.
        console: where progress is shown.
        check: of the rows, before the first run begins; rows that wait for a checkpoint, once more when it is there.

    Raises:
        InputError: a wrong setting, rows that cannot be made, or the study is being run by another process.
        RunsFailedError: a run that others start from failed.
    """
    if workers < 1:
        raise InputError(f"--workers {workers} runs nothing; give 1 or more")
    made = asked.checked(check)
    folder = asked.folder(made)
    lock = take(folder.parent / ".locks" / f"{asked.study.name}.study")
    if lock is None:
        raise InputError(f"another process runs study {asked.study.name!r} in {folder}; wait for it, or stop it")
    try:
        with kills_interrupt():
            journal = Journal(folder / "journal.jsonl")
            made, failed = _run_all(asked, made, engine, workers, folder, journal, console, check)
            return write_results(asked.study, made, folder, journal), failed
    finally:
        give_up(lock)


def _run_all(
    asked: Asked,
    made: Plan,
    name: EngineName,
    workers: int,
    folder: Path,
    journal: Journal,
    console: Console,
    check: Check | None,
) -> tuple[Plan, int]:
    begin = time.monotonic()
    with ExitStack() as stack:

        @cache
        def engine() -> Engine:
            """Made only where something is missing: a cluster takes its time."""
            made = _engine(name, workers, folder, asked.study)
            stack.callback(made.close)
            return made

        def run(runs: Sequence[Planned], title: str, at_once: int) -> int:
            missing = [one for one in runs if one.folder is None]
            if not missing:
                return 0
            loaders = max(0, min(2, cores() // at_once // 2)) if name == "local" else 2
            jobs = [job_of(one, folder, loaders) for one in missing]
            engine().divide(at_once)
            with Progress(console, title, len(runs), len(runs) - len(missing), at_once) as progress:
                return conduct(jobs, engine(), at_once, progress, journal, name)

        first = list(asked.first().values())
        # Divided by all of them and not by those that are missing: threads decide last bits, what was made before must
        # not. One alone has the whole machine, and so the same result however many workers there are.
        if failed := run(first, f"{asked.study.name}, what it starts from", min(workers, len(first))):
            raise RunsFailedError(
                f"{failed} of {len(first)} runs that the others of study {asked.study.name!r} start from failed; see "
                f"{journal.file}. The same command tries again"
            )
        # One plan for the runs and the table: a part that is edited meanwhile belongs to the next study.
        if any(one.waits_for is not None for one in made.runs):
            made = asked.checked(check)
        failed = run(made.wanted, asked.study.name, workers)
        said = f"{time.monotonic() - begin:.0f} s" if engine.cache_info().currsize else "all runs were recorded before"
        console.print(f"{asked.study.name}: {said}", highlight=False, markup=False)
        return made, failed


def _engine(name: EngineName, workers: int, folder: Path, study: Study) -> Engine:
    if name == "ray":
        return RayEngine(workers)
    if name == "slurm":
        return SlurmEngine(workers, folder.resolve() / "slurm", study.slurm)
    return LocalEngine(workers)
