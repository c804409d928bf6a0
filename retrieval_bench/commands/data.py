"""``data``: which datasets there are, what getting one would fetch, getting it, and checking it."""

import argparse
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from retrieval_bench.commands.telling import tell_failures
from retrieval_bench.reporting.terminal import output, print_table
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import parse_override
from retrieval_bench.settings.options import paragraphs
from retrieval_bench.settings.plugins import load_plugins


def list_datasets(arguments: argparse.Namespace) -> None:
    """Print the datasets."""
    from retrieval_bench.data.registry import DATASETS

    tell_failures(load_plugins(arguments.plugin))
    table = Table("name", "what it is", "options")
    for name in DATASETS.names():
        options = [key for key in DATASETS.options(name) if key != "root"]
        first = next(iter(paragraphs(DATASETS.get(name).__doc__)), "")
        table.add_row(name, Text(first), Text(", ".join(options)))
    print_table(output(), table)


def plan(arguments: argparse.Namespace) -> None:
    """Print what `prepare` would fetch."""
    from retrieval_bench.data.preparation import plan as planned

    table = Table("file", "size", "from", "state")
    for fetch in planned(arguments.name, arguments.root, **_options(arguments)):
        size = f"{'' if fetch.exact else 'about '}{fetch.size / 2**20:.1f} MiB"
        table.add_row(Text(str(fetch.path)), size, Text(fetch.url), "there" if fetch.present else "to fetch")
    print_table(output(), table)


def prepare(arguments: argparse.Namespace) -> None:
    """Fetch, unpack and check a dataset, or build the embedded one."""
    from retrieval_bench.data.preparation import prepare as prepared
    from retrieval_bench.data.progress import download_bars

    with download_bars(Console(stderr=True)) as report:
        dataset = prepared(arguments.name, arguments.root, report=report, **_options(arguments))
    output().print(
        f"{dataset.name}: {len(dataset.queries)} queries, {len(dataset.database)} database images in {dataset.root}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def verify(arguments: argparse.Namespace) -> None:
    """Check that every image is there and readable, and that the ground truth is the official one.

    Raises:
        InputError: problems, of which the first is named; all are printed.
    """
    from retrieval_bench.data.preparation import verify as verified

    found = verified(arguments.name, arguments.root, **_options(arguments))
    console = output()
    console.print(
        f"{found.name} in {found.root}: {found.queries} queries, {found.database} database images, "
        f"{found.train} training images",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for key, value in found.facts.items():
        console.print(f"  {key}: {value}", highlight=False, markup=False, soft_wrap=True)
    for note in found.notes:
        console.print(f"  note: {note}", highlight=False, markup=False, soft_wrap=True)
    for problem in found.problems:
        console.print(f"  problem: {problem}", highlight=False, markup=False, soft_wrap=True)
    if not found.ok:
        raise InputError(f"{found.name}: {len(found.problems)} problems, first: {found.problems[0]}")
    console.print("  in order")


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The dataset's options; plug-ins are loaded first, since the dataset may be theirs."""
    tell_failures(load_plugins(arguments.plugin))
    options: dict[str, Any] = {}
    for text in arguments.settings:
        options |= parse_override(text)
    return options
