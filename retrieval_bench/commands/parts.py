"""``list``."""

import argparse
import fnmatch

from rich.console import Console
from rich.table import Table

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins


def list_parts(arguments: argparse.Namespace) -> None:
    """Print the names of one kind of part, with their options where they are few."""
    import retrieval_bench as rb
    from retrieval_bench.data.registry import DATASETS
    from retrieval_bench.losses import LOSSES
    from retrieval_bench.methods.registry import METHODS
    from retrieval_bench.pooling import POOLINGS
    from retrieval_bench.reranking import RERANKERS

    for failure in load_plugins(arguments.plugin):
        Console(stderr=True).print(f"[yellow]{failure}[/]", highlight=False)
    console = Console()
    registries = {
        "methods": METHODS,
        "poolings": POOLINGS,
        "losses": LOSSES,
        "rerankers": RERANKERS,
        "datasets": DATASETS,
    }
    names = getattr(rb, f"list_{arguments.kind}")()
    if arguments.filter:
        names = [name for name in names if fnmatch.fnmatch(name, arguments.filter)]
        if not names:
            raise InputError(f"none of the {arguments.kind} matches {arguments.filter!r}")
    if arguments.kind == "backbones":
        console.print("\n".join(names), highlight=False)
        return
    table = Table("name", "what it is", "options")
    given = {"in_channels", "earlier_channels", "token_channels", "dim", "num_classes", "root", "self"}
    for name in names:
        part = registries[arguments.kind].get(name)
        options = [key for key in registries[arguments.kind].options(name) if key not in given]
        table.add_row(name, (part.__doc__ or "").strip().split("\n")[0], ", ".join(options))
    console.print(table)
