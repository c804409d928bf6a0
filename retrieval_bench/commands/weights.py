"""``weights``: what a weight file is, and writing it in our own format."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from retrieval_bench.commands.weight_facts import (
    ALARM,
    Claim,
    Facts,
    accounting,
    claim_facts,
    destinations,
    file_digest,
    file_facts,
    provenance_facts,
    unknown_facts,
)
from retrieval_bench.reporting.terminal import output
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins

if TYPE_CHECKING:
    from retrieval_bench.weights.reading import WeightFile


def inspect_weights(arguments: argparse.Namespace) -> None:
    """Print what a weight file holds, which methods read it, and what becomes of each tensor."""
    from retrieval_bench.weights.provenance import read_provenance
    from retrieval_bench.weights.reading import read_weights

    console = output()
    _plugins(arguments.plugin)
    file = read_weights(arguments.file, "the path")
    found = claims(file, arguments.method)
    _say(console, str(file.path), file_facts(file))
    provenance = read_provenance(file.extra, file.path)
    while provenance is not None:
        _say(console, "converted", provenance_facts(provenance))
        provenance = provenance.earlier
    for claim in found:
        _say(console, f"recognised as {claim.method} ({claim.format})", claim_facts(file, claim))
    if not found:
        _say(console, "in no known format", unknown_facts(file))
    if not arguments.tensors:
        console.print("--tensors lists every tensor with its shape", highlight=False, markup=False, style="dim")
        return
    ours = destinations(file, found[0]) if len(found) == 1 else {}
    _say(
        console,
        "tensors",
        [("", f"{key} {tuple(value.shape)}{ours.get(key, '')}") for key, value in file.state.items()],
    )


def convert_weights(arguments: argparse.Namespace) -> None:
    """Write a weight file as our own safetensors file, with where it came from."""
    import datetime

    import retrieval_bench as rb
    from retrieval_bench.extraction.tensor_file import write_tensors
    from retrieval_bench.weights.own_entry import OWN
    from retrieval_bench.weights.provenance import PROVENANCE, Provenance, read_provenance
    from retrieval_bench.weights.reading import read_weights

    target: Path = arguments.output
    if target.suffix != ".safetensors":
        raise InputError(f"the output {target} must end in .safetensors")
    if target.exists():
        raise InputError(f"{target} is there already; remove it, or give another name")
    _plugins(arguments.plugin)
    file = read_weights(arguments.file, "the path")
    chosen = _chosen(file, claims(file, arguments.method))
    digest = file_digest(file.path)
    model = rb.create_model(chosen.method, weights=file.path)
    # What the file lacks is drawn at random: kept out, it is named as absent whenever the result is loaded.
    tensors = {
        key: value.detach().clone().contiguous()
        for key, value in model.state_dict().items()
        if key not in model.absent_weights
    }
    provenance = Provenance(
        source=file.path.name,
        sha256=digest,
        format=chosen.format,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=rb.__version__,
        trained_on=model.trained_on,
        unused=model.unused_weights,
        absent=model.absent_weights,
        earlier=read_provenance(file.extra, file.path),
    )
    write_tensors(target, tensors, {OWN: model.own_entry(), PROVENANCE: provenance.to_json()})
    _say(
        output(),
        f"{target}: {len(tensors)} tensors of {chosen.method} from {model.weights_source}",
        accounting(model.unused_weights, model.absent_weights),
    )


def claims(file: "WeightFile", method: str | None = None) -> list[Claim]:
    """The methods that recognise a file.

    Args:
        file: that was read.
        method: the only one to ask.

    Raises:
        InputError: `method` is unknown, or does not recognise the file; a damaged entry of our own.
    """
    from retrieval_bench.methods.checkpoints import recognised, translated
    from retrieval_bench.methods.registry import METHODS
    from retrieval_bench.weights.own_entry import OWN, own_entry

    own = own_entry(file.extra, file.path)
    found = []
    for name in METHODS.names() if method is None else [method]:
        part = METHODS.get(name)
        formats, also = getattr(part, "formats", ()), getattr(part, "loads_from", ())
        known = None if own is not None else recognised(file, formats)[0]
        fits = known is not None or (own is not None and own["method"] in (name, *also))
        if not fits and method is None:
            continue
        title = OWN if known is None else known.name
        try:
            found.append(Claim(name, title, translated(file, formats, method=name, also=also)))
        except InputError as error:
            if not fits:
                raise
            found.append(Claim(name, title, None, str(error)))
    return found


def _chosen(file: "WeightFile", found: Sequence[Claim]) -> Claim:
    """The one method to convert for.

    Raises:
        InputError: none recognises the file, or several do.
    """
    own = [claim for claim in found if claim.checkpoint is not None and claim.checkpoint.holds == claim.method]
    candidates = own or found
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InputError(
            f"{file.path} is in no format that a method knows; see `retrieval-bench weights inspect {file.path}`"
        )
    names = [claim.method for claim in candidates]
    raise InputError(f"{file.path} loads as {' and as '.join(names)}; say which: --method {names[0]}")


def _plugins(files: Sequence[Path]) -> None:
    for failure in load_plugins(files):
        Console(stderr=True).print(Text(failure, style="yellow"))


def _say(console: Console, heading: str, facts: Facts) -> None:
    console.print(Text(heading, style="bold"), soft_wrap=True)
    for label, value in facts:
        name = (f"{label}: ", "bold red" if label in ALARM else "cyan") if label else ""
        console.print(Text.assemble("  ", name, value), soft_wrap=True)
