"""``list``."""

import argparse
import fnmatch

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from retrieval_bench.commands.cards import print_card
from retrieval_bench.commands.telling import tell_failures
from retrieval_bench.reporting.terminal import PROSE, output, print_table
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.listing import listed_settings
from retrieval_bench.settings.options import paragraphs
from retrieval_bench.settings.plugins import load_plugins


def list_parts(arguments: argparse.Namespace) -> None:
    """Print the names of one kind of part with their options, one part in full, or the settings."""
    tell_failures(load_plugins(arguments.plugin))
    console = output()
    if arguments.card is not None:
        if arguments.kind == "settings":
            raise InputError("settings have no cards; write --filter, such as 'train.*'")
        if arguments.filter:
            raise InputError("--card names one part, which --filter cannot narrow; leave one out")
        _print_card(console, arguments.kind, arguments.card)
    elif arguments.kind == "settings":
        _print_settings(console, arguments)
    elif arguments.kind == "backbones":
        from retrieval_bench.backbones import list_backbones

        names = list_backbones(arguments.filter or "*")
        _require(names, arguments)
        console.print("\n".join(names), highlight=False, markup=False)
    else:
        _print_table(console, arguments)


def _print_table(console: Console, arguments: argparse.Namespace) -> None:
    kind = next(one for one in KINDS.values() if one.plural == arguments.kind)
    registry = kind.registry()
    names = [name for name in registry.names() if fnmatch.fnmatch(name, arguments.filter or "*")]
    _require(names, arguments)
    table = _empty_table("name")
    table.add_column("what it is", max_width=PROSE)
    table.add_column("options", max_width=PROSE // 2)
    for name in names:
        first = next(iter(paragraphs(registry.get(name).__doc__)), "")
        table.add_row(Text(name), Text(first), Text(", ".join(kind.options(name))))
    print_table(console, table)
    console.print(
        f"\nOne in full: retrieval-bench list {arguments.kind} --card {names[0]}", highlight=False, markup=False
    )


def _print_settings(console: Console, arguments: argparse.Namespace) -> None:
    settings = [one for one in listed_settings() if fnmatch.fnmatch(one.name, arguments.filter or "*")]
    _require([one.name for one in settings], arguments)
    table = _empty_table("setting")
    for heading, least, most in (("takes", 12, PROSE // 2), ("default", 8, PROSE // 4), ("what it is", 20, PROSE)):
        table.add_column(heading, min_width=least, max_width=most)
    for one in settings:
        table.add_row(Text(one.name), Text(one.kind), Text(one.default), Text(one.text))
    print_table(console, table)
    note = (
        "\nPresets in configs/methods and configs/datasets lie over the defaults; config.yaml of a run has what held."
    )
    if any(one.default.endswith("*") for one in settings):
        note += "\n* of the common recipe; a method's recipes say otherwise: `retrieval-bench list methods --card NAME`"
    console.print(note, highlight=False, markup=False)


def _empty_table(first: str) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def _print_card(console: Console, plural: str, name: str) -> None:
    if plural == "methods":
        from retrieval_bench.commands.model_cards import print_method

        print_method(console, name)
    elif plural == "backbones":
        from retrieval_bench.commands.model_cards import print_backbone

        print_backbone(console, name)
    else:
        print_card(console, next(one for one in KINDS.values() if one.plural == plural), name)


def _require(names: list[str], arguments: argparse.Namespace) -> None:
    if not names:
        raise InputError(f"none of the {arguments.kind} matches {arguments.filter!r}")
