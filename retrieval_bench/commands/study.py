"""``study``."""

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from retrieval_bench.commands.telling import tell_failures
from retrieval_bench.reporting.terminal import output, print_table
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.studies.definition import read_study
from retrieval_bench.studies.journal import Journal
from retrieval_bench.studies.plan import Planned
from retrieval_bench.studies.running import Asked, RunsFailedError, run_study


def study(arguments: argparse.Namespace) -> None:
    """Make what is missing of a study, then print and write its table."""
    from retrieval_bench.reporting.console import rich_table

    asked = Asked(read_study(arguments.file), arguments.settings, arguments.plugin)
    planned = [*asked.first().values(), *asked.plan().runs]
    progress = Console(stderr=True)
    tell_failures(load_plugins([*asked.study.plugins, *arguments.plugin]))
    check_names([run.settings for run in planned])
    if getattr(arguments, "dry_run", False):
        print_table(output(), listed(planned, Journal(asked.folder() / "journal.jsonl")))
        return
    results, failed = run_study(asked, arguments.engine, arguments.workers, progress)
    console = output()
    print_table(console, rich_table(results.table))
    console.print(f"\nreport: {results.report}", highlight=False, markup=False, soft_wrap=True)
    if failed:
        raise RunsFailedError(f"{failed} of {len(asked.plan().runs)} runs; the same command tries them again")


def listed(planned: Sequence[Planned], journal: Journal) -> Table:
    """What a study would run, and what it would not repeat."""
    entries = journal.latest()
    table = Table("run", "settings", "state", title=f"{sum(run.folder is None for run in planned)} runs to make")
    for run in planned:
        if run.waits_for is not None:
            # Its digest counts what is in that checkpoint, which nobody knows yet.
            table.add_row(Text(run.name), "", Text(f"to be made after trained: {run.waits_for}"))
            continue
        entry = entries.get(run.digest)
        state = f"failed: {entry.reason}" if entry is not None and entry.state == "failed" else "to be made"
        table.add_row(Text(run.name), run.digest, Text(state if run.folder is None else f"recorded: {run.folder}"))
    return table


def check_names(wanted: Sequence[RunSettings]) -> None:
    """Refuse names of parts that nothing bears before the first of many runs begins.

    Raises:
        InputError: an unknown name, with the nearest known one.
    """
    from retrieval_bench.data.registry import DATASETS
    from retrieval_bench.losses import LOSSES
    from retrieval_bench.methods.registry import METHODS
    from retrieval_bench.pooling import POOLINGS
    from retrieval_bench.reranking import RERANKERS

    for settings in wanted:
        load_plugins(settings.plugins)
        METHODS.get(settings.method)
        for part, registry in (
            (settings.dataset, DATASETS),
            (settings.pooling, POOLINGS),
            (settings.loss, LOSSES),
            (settings.rerank, RERANKERS),
        ):
            if part.name is not None:
                registry.get(part.name)
    if not wanted:
        raise InputError("the study has no runs")
