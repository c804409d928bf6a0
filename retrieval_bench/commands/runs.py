"""``bench``, ``train``, ``extract``, ``evaluate`` and ``report``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from retrieval_bench.reporting.terminal import output, print_table
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import given_values, layered
from retrieval_bench.settings.run import RunSettings


def settings_of(arguments: argparse.Namespace, method: str | None, later: Sequence[str] = ()) -> RunSettings:
    """The settings that a command line asks for.

    Args:
        arguments: with ``settings``, ``config`` and ``plugin``.
        method: the word before the settings.
        later: settings that are laid over those of the command line.

    Raises:
        InputError: a wrong setting, or neither the command line nor its file names a method.
    """
    first = [] if method is None else [f"method={method}"]
    given = given_values([*first, *arguments.settings], arguments.config, later)
    if given.get("method") is None:
        raise InputError(
            "no METHOD: name one, such as gem, or give a --config FILE that does; `retrieval-bench list methods` shows "
            "them"
        )
    settings = layered(given, arguments.plugin)
    settings.plugins = [*settings.plugins, *(file.expanduser().absolute() for file in arguments.plugin)]
    return settings


def bench(arguments: argparse.Namespace) -> None:
    """One run, end to end."""
    from retrieval_bench.bench import run

    settings = settings_of(arguments, arguments.method)
    _tell(*run(settings, Console(stderr=True)))


def train(arguments: argparse.Namespace) -> None:
    """Train only, and say where the checkpoint is."""
    from retrieval_bench.bench import train_only

    checkpoint = train_only(settings_of(arguments, arguments.method), Console(stderr=True))
    output().print(f"checkpoint: {checkpoint}", highlight=False, markup=False, soft_wrap=True)


def extract(arguments: argparse.Namespace) -> None:
    """Describe queries and database, and say where the stores are."""
    from retrieval_bench.bench import extract_only

    console = output()
    for what, store in extract_only(settings_of(arguments, arguments.method), Console(stderr=True)).items():
        console.print(
            f"{what}: {len(store)} x {store.dim} {store.dtype} in {store.folder}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def evaluate(arguments: argparse.Namespace) -> None:
    """Score the ranking of a run folder again, or bench given weights without training."""
    folder = None if arguments.method is None else Path(arguments.method)
    if folder is not None and folder.is_dir():
        from retrieval_bench.bench import score_again

        console = output()
        for name, result in score_again(folder).items():
            console.print(f"{name}: {result}", highlight=False, markup=False)
        return
    from retrieval_bench.bench import run

    _tell(*run(settings_of(arguments, arguments.method, ["train.enabled=false"]), Console(stderr=True)))


def report(arguments: argparse.Namespace) -> None:
    """Write the pages of run folders again; several are also shown side by side, without those that are unfinished.

    Raises:
        InputError: none of the folders holds a finished run, or one alone cannot be compared.
    """
    from retrieval_bench.recording.comparing import p_values
    from retrieval_bench.reporting.comparison_page import write_comparison
    from retrieval_bench.reporting.console import print_record, side_by_side
    from retrieval_bench.reporting.page import write_report
    from retrieval_bench.settings.record import RunRecord, read_record

    console = output()
    named = [Path(folder) for folder in arguments.runs] or [latest_run(Path("runs"))]
    found: dict[Path, RunRecord] = {}
    for folder in named:
        try:
            found[folder] = read_record(folder)
        except InputError as error:
            if len(named) == 1:
                raise
            Console(stderr=True).print(f"left out: {error}", highlight=False, markup=False, soft_wrap=True)
    if not found:
        raise InputError(f"none of these {len(named)} folders holds a finished run; name run folders")
    folders, records = list(found), list(found.values())
    if arguments.into is not None and len(records) == 1:
        raise InputError("--into keeps the comparison of several runs; name at least two finished ones")
    if len(records) == 1:
        print_record(records[0], console)
    else:
        tested = p_values(folders)
        print_table(console, side_by_side(records, tested))
        if arguments.into is not None:
            page = write_comparison(arguments.into, found, tested)
            console.print(f"comparison: {page}", highlight=False, markup=False, soft_wrap=True)
    for folder in folders:
        console.print(f"report: {write_report(folder)}", highlight=False, markup=False, soft_wrap=True)


def latest_run(runs: Path) -> Path:
    """The finished run that was written last.

    Raises:
        InputError: there is none.
    """
    records = sorted(runs.glob("*/*/*/record.json"), key=lambda path: path.stat().st_mtime)
    if not records:
        raise InputError(f"no finished run under {runs}; run `retrieval-bench bench METHOD`, or name one")
    return records[-1].parent


def _tell(record: object, folder: Path) -> None:
    from retrieval_bench.reporting.console import print_record

    console = output()
    print_record(record, console)  # type: ignore[arg-type]
    console.print(f"run: {folder}\nreport: {folder / 'report.html'}", highlight=False, markup=False, soft_wrap=True)
