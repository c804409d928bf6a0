"""Parts in full: what one is, where it comes from, what it needs, and every option."""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import retrieval_bench
from retrieval_bench.reporting.terminal import PROSE, print_prose, print_table
from retrieval_bench.settings.kinds import KINDS, Kind
from retrieval_bench.settings.options import Option, options_of, paragraphs

Facts = list[tuple[str, str]]

BATCHES = {
    "shuffle": "any; images in random order",
    "class-balanced": "several images of each class (train.sampler=class-balanced)",
}


def print_card(console: Console, kind: Kind, name: str) -> None:
    """Print one part of a registry.

    Raises:
        InputError: there is no such part.
    """
    registry = kind.registry()
    part = registry.get(name)
    texts = paragraphs(part.__doc__)
    options = options_of(part, kind.given)
    facts = facts_of(registry.kind, part)
    if registry.kind == "loss":
        options.append(_batch_attention())
    print_head(console, name, registry.kind, texts)
    print_facts(console, facts)
    print_options(console, options, registry.section)


def _batch_attention() -> Option:
    """The option that every loss has beside its own."""
    names = " | ".join([*KINDS["batch_attention"].registry().names(), "null"])
    text = "what the images of a batch do to each other before the loss, in training only; see list batch_attentions"
    return Option("batch_attention", names, "null", text)


def facts_of(kind: str, part: Any) -> Facts:
    """What can be said of a part without building it."""
    facts: Facts = []
    if kind == "pooling":
        facts.append(("needs", " and ".join(["the last feature map", *(f"the {one}" for one in part.needs)])))
    elif kind == "loss":
        facts.append(("batches", BATCHES.get(part.sampler, part.sampler)))
    elif kind == "re-ranker":
        facts.append(("needs", f"{getattr(part, 'needs', 'descriptors')} of queries and database"))
    facts += [("source", text) for text in sources(part)]
    return [*facts, ("file", file_of(part))]


def sources(part: Any) -> list[str]:
    """The paragraphs of the part's file that say where it comes from: those marked so, or with a year in them."""
    module = inspect.getmodule(part)
    texts = paragraphs(module.__doc__ if module else None)
    marked = [text.removeprefix("Source:").strip() for text in texts if text.startswith("Source:")]
    return marked or [text for text in texts if re.search(r"\b(19|20)\d\d\b", text)]


def file_of(part: Any) -> str:
    """The file of a part: from the package's folder where it is built in."""
    try:
        file = Path(str(inspect.getsourcefile(part)))
    except TypeError:
        return "typed in this session"
    package = Path(retrieval_bench.__file__).parent
    return f"{file.relative_to(package.parent)} (built in)" if file.is_relative_to(package) else f"{file} (plug-in)"


def print_head(console: Console, name: str, kind: str, texts: Sequence[str]) -> None:
    """Print the name and what the part is."""
    console.print(Text.assemble((name, "bold"), f"  {kind}"))
    for text in texts:
        print_prose(console, Text(text), indent=2)


def print_facts(console: Console, facts: Facts) -> None:
    """Print labelled lines; a label that repeats is printed once."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(max_width=PROSE)
    before = ""
    for label, text in facts:
        table.add_row(Text("" if label == before else label, style="cyan"), Text(text))
        before = label
    console.print()
    print_table(console, table, indent=2)


def print_options(console: Console, options: Sequence[Option], section: str) -> None:
    """Print every option with its type, default and text."""
    console.print()
    if not options:
        console.print(Text("  It has no options."))
        return
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("option", no_wrap=True)
    table.add_column("type", min_width=8, max_width=20)
    table.add_column("default", min_width=7, max_width=16)
    table.add_column("what it is", max_width=PROSE)
    for one in options:
        table.add_row(Text(one.name), Text(one.kind), Text(one.default), Text(one.text))
    print_table(console, table, indent=2)
    first = next((one for one in options if one.default not in ("required", "null")), options[0])
    value = first.default if first.default not in ("required", "null") else "VALUE"
    console.print(Text(f"\n  Set as {section}.{first.name}={value}"))
