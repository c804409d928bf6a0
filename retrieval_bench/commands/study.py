"""``study``."""

import argparse
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from retrieval_bench.commands.telling import tell_failures
from retrieval_bench.reporting.terminal import output, print_table
from retrieval_bench.settings.plugins import load_plugins
from retrieval_bench.studies.definition import read_study
from retrieval_bench.studies.journal import Journal
from retrieval_bench.studies.misfits import refuse_misfits
from retrieval_bench.studies.plan import Planned
from retrieval_bench.studies.running import Asked, RunsFailedError, run_study


def study(arguments: argparse.Namespace) -> None:
    """Make what is missing of a study, then print and write its table.

    Raises:
        InputError: rows that cannot be made, before the first run begins.
        RunsFailedError: some runs failed; the table shows the others.
    """
    from retrieval_bench.commands.study_check import StudyCheck
    from retrieval_bench.reporting.console import rich_table

    wanted = read_study(arguments.file)
    if arguments.skip_misfits:
        wanted = wanted.model_copy(update={"skip_misfits": True})
    asked = Asked(wanted, arguments.settings, arguments.plugin)
    progress = Console(stderr=True)
    tell_failures(load_plugins([*wanted.plugins, *arguments.plugin]))
    check = StudyCheck(progress, dry=arguments.dry_run)
    if arguments.dry_run:
        first, made = asked.first(), asked.plan()
        misfits = check(first, made)
        journal = Journal(asked.folder(made) / "journal.jsonl")
        print_table(output(), listed([*first.values(), *made.runs], journal, misfits))
        refuse_misfits(wanted, made, misfits)
        return
    results, failed = run_study(asked, arguments.engine, arguments.workers, progress, check)
    console = output()
    print_table(console, rich_table(results.table))
    console.print(f"\nreport: {results.report}", highlight=False, markup=False, soft_wrap=True)
    if failed:
        raise RunsFailedError(f"{failed} of {results.runs} runs; the same command tries them again")


def listed(planned: Sequence[Planned], journal: Journal, misfits: Mapping[int, str]) -> Table:
    """What a study would run, what it would not repeat, and what it cannot make.

    Args:
        planned: its runs.
        journal: of how they ended.
        misfits: row -> why it cannot be made.
    """
    entries = journal.latest()
    makeable = [run for run in planned if run.folder is None and run.row not in misfits]
    table = Table("run", "settings", "state", title=f"{len(makeable)} runs to make")
    for run in planned:
        if run.row in misfits and run.folder is None:
            table.add_row(Text(run.name), "", Text(f"cannot be made: {misfits[run.row]}"))
            continue
        if run.waits_for is not None:
            # Its digest counts what is in that checkpoint, which nobody knows yet.
            table.add_row(Text(run.name), "", Text(f"to be made after trained: {run.waits_for}"))
            continue
        entry = entries.get(run.digest)
        state = f"failed: {entry.reason}" if entry is not None and entry.state == "failed" else "to be made"
        table.add_row(Text(run.name), run.digest, Text(state if run.folder is None else f"recorded: {run.folder}"))
    return table
