"""``list`` and ``weights``."""

import argparse
import fnmatch
import json
from pathlib import Path

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
    given = {"in_channels", "dim", "num_classes", "root", "self"}
    for name in names:
        part = registries[arguments.kind].get(name)
        options = [key for key in registries[arguments.kind].options(name) if key not in given]
        table.add_row(name, (part.__doc__ or "").strip().split("\n")[0], ", ".join(options))
    console.print(table)


def inspect_weights(arguments: argparse.Namespace) -> None:
    """Print what a weight file holds and which methods can load it."""
    from retrieval_bench.methods.checkpoints import OWN, read_state
    from retrieval_bench.methods.registry import METHODS

    state, extra = read_state(arguments.file)
    console = Console()
    formats = [
        f"{name}: {known.name}"
        for name in METHODS.names()
        for known in METHODS.get(name).formats  # type: ignore[attr-defined]
        if known.recognises(list(state))
    ]
    if OWN in extra:
        own = json.loads(extra[OWN])
        formats = [f"{own['method']}: retrieval_bench, trained on {own['trained_on']}"]
    console.print(f"{arguments.file}: {len(state)} tensors", highlight=False, soft_wrap=True)
    console.print("\n".join(f"loads as {known}" for known in formats) or "in no known format", highlight=False)
    for key, value in state.items():
        console.print(f"  {key} {tuple(value.shape)}", highlight=False)


def convert_weights(arguments: argparse.Namespace) -> None:
    """Write a published checkpoint as our own safetensors file, with its provenance."""
    from safetensors.torch import save_file

    import retrieval_bench as rb
    from retrieval_bench.methods.checkpoints import OWN

    model = rb.create_model(arguments.method, weights=arguments.file)
    target: Path = arguments.output
    if target.suffix != ".safetensors":
        raise InputError(f"the output {target} must end in .safetensors")
    partial = target.with_name(target.name + ".partial")
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, partial, metadata={OWN: model.own_entry(), "source": model.weights_source})
    partial.replace(target)
    console = Console()
    console.print(f"{target}: {len(tensors)} tensors from {model.weights_source}", highlight=False, soft_wrap=True)
    for key, reason in model.unused_weights.items():
        console.print(f"  not used: {key} ({reason})", highlight=False)
