"""``check``: the checks of one part."""

import argparse
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from retrieval_bench.commands.telling import tell_failures
from retrieval_bench.reporting.terminal import PROSE, output, print_table
from retrieval_bench.settings.loading import merge, parse_override
from retrieval_bench.settings.plugins import load_plugins


class ChecksFailedError(Exception):
    """A part does not keep its contract."""


def check_part(arguments: argparse.Namespace) -> None:
    """Make all checks of a part and print what came of them.

    Raises:
        InputError: an unknown part or option, or options with which it cannot be built.
        ChecksFailedError: checks failed; the table says why.
    """
    from retrieval_bench import contracts

    tell_failures(load_plugins(arguments.plugin))
    options: dict[str, Any] = {}
    for text in arguments.settings:
        merge(options, parse_override(text))
    kind, name = arguments.kind, arguments.name
    chosen = contracts.check_names(kind) if arguments.fast else None
    console = output()
    found = []
    with Console(stderr=True).status("") as status:
        for outcome in contracts.outcomes(kind, name, options, which=chosen, begins=lambda one: status.update(one)):
            found.append(outcome)
    table = Table("check", "", title=f"{kind} {name}")
    table.add_column("what is checked, and why it failed or was left out", max_width=PROSE)
    first: dict[str, str] = {}
    for outcome in found:
        word, style = (
            ("skipped", "yellow") if outcome.skipped else ("passed", "green") if outcome.passed else ("FAILED", "red")
        )
        said = Text(contracts.describe(kind, outcome.check))
        if outcome.reason:
            known = first.setdefault(outcome.reason, outcome.check)
            reason = outcome.reason if known == outcome.check else f"for the same reason as {known}"
            said.append(f"\n{reason}", style="" if outcome.passed and not outcome.skipped else style)
        table.add_row(outcome.check, Text(word, style=style), said)
    print_table(console, table)
    failed = [outcome.check for outcome in found if not outcome.passed]
    skipped = sum(outcome.skipped for outcome in found)
    if failed:
        raise ChecksFailedError(f"{len(failed)} of {len(found)} checks of {kind} {name!r}: {', '.join(failed)}")
    if arguments.fast and (slow := contracts.slow_check_names(kind)):
        console.print(f"--fast left out: {', '.join(slow)}", highlight=False, markup=False)
    left_out = f", {skipped} skipped" if skipped else ""
    console.print(f"{len(found) - skipped} checks passed{left_out}", highlight=False, markup=False)
