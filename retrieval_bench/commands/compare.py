"""``compare``."""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from retrieval_bench.commands.runs import settings_of
from retrieval_bench.reporting.terminal import output, print_table
from retrieval_bench.settings.entries import parse_entries, row_titles
from retrieval_bench.settings.errors import InputError, one_line


def compare(arguments: argparse.Namespace) -> None:
    """Several methods under the same settings, side by side; finished runs are not repeated.

    Raises:
        InputError: a run that cannot be made, before the first begins.
        RunsFailedError: some runs failed; the table shows the others.
    """
    from retrieval_bench.bench import check_runs, naming, run
    from retrieval_bench.recording.comparing import p_values
    from retrieval_bench.reporting.comparison_page import write_comparison
    from retrieval_bench.reporting.console import side_by_side
    from retrieval_bench.settings.record import read_record
    from retrieval_bench.studies.running import RunsFailedError

    entries = parse_entries(arguments.methods)
    wanted = {}
    for entry in entries:
        if entry.text in wanted:
            raise InputError(f"--methods names {entry.text} twice; take one out")
        with naming(entry.text):
            wanted[entry.text] = settings_of(arguments, entry.method, entry.settings)
    folders = check_runs(wanted)
    progress = Console(stderr=True)
    failures: dict[str, Exception] = {}
    for name, settings in wanted.items():
        if name in folders:
            continue
        try:
            folders[name] = run(settings, progress)[1]
        except Exception as error:
            failures[name] = error
            progress.print(f"{name} failed: {one_line(error)}", highlight=False, markup=False, soft_wrap=True)
    first = next(iter(failures.values()), None)
    if first is not None and not folders:
        raise first
    made = [entry for entry in entries if entry.text in folders]
    shown: list[Path] = [folders[entry.text] for entry in made]
    records = [read_record(folder) for folder in shown]
    titles = [wanted[entry.text].title or record.title for entry, record in zip(made, records, strict=True)]
    rows = [
        record.model_copy(update={"title": title})
        for record, title in zip(records, row_titles(made, titles), strict=True)
    ]
    missing = [f"{name}: {one_line(error)}" for name, error in failures.items()]
    tested, console = p_values(shown), output()
    print_table(console, side_by_side(rows, tested, missing))
    place = comparison_folder(next(iter(wanted.values())).runs, shown)
    page = write_comparison(place, dict(zip(shown, rows, strict=True)), tested, missing)
    console.print(f"\nreport: {page}", highlight=False, markup=False, soft_wrap=True)
    if first is not None:
        raise RunsFailedError(
            f"{len(failures)} of {len(entries)} runs ({', '.join(failures)}); the same command tries them again"
        ) from first


def comparison_folder(runs: Path, shown: Sequence[Path]) -> Path:
    """Where the page of a comparison goes: the same runs in the same order have the same folder.

    Args:
        runs: folder of all runs.
        shown: run folders.
    """
    names = [folder.name for folder in shown]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    return runs / "comparisons" / f"{max(names)[: len('20250101-120000')]}-{digest}"
