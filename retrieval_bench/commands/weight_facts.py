"""What `weights` prints of a file: label and text, line by line."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.normalisation import Normalisation

if TYPE_CHECKING:
    from retrieval_bench.methods.checkpoints import Checkpoint
    from retrieval_bench.weights.provenance import Provenance
    from retrieval_bench.weights.reading import WeightFile

Facts = list[tuple[str, str]]

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
ALARM = ("NOT FINITE", "DOES NOT LOAD")
"""Labels of what is wrong with a file."""


@dataclass(frozen=True)
class Claim:
    """A method that recognises a file.

    Attributes:
        method: its name.
        format: the name of the file's format.
        checkpoint: the file as that method reads it; None where it cannot.
        problem: why it cannot.
    """

    method: str
    format: str
    checkpoint: "Checkpoint | None"
    problem: str = ""


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_facts(file: "WeightFile") -> Facts:
    """The file itself: container, digests, size and number format of its tensors, what lies beside them."""
    from retrieval_bench.extraction.digest import tensors_digest
    from retrieval_bench.weights.own_entry import OWN
    from retrieval_bench.weights.provenance import PROVENANCE

    numbers = {key: value for key, value in file.state.items() if value.is_floating_point()}
    learnt = sum(value.numel() for key, value in numbers.items() if not key.endswith(STATISTICS))
    kinds = Counter(str(value.dtype).removeprefix("torch.") for value in file.state.values())
    broken = [key for key, value in numbers.items() if not value.isfinite().all()]
    beside = [f"{key}: {_summary(value)}" for key, value in file.extra.items() if key not in (OWN, PROVENANCE)]
    facts = [
        ("container", f"{file.container}, {file.path.stat().st_size / 2**20:.1f} MiB"),
        ("sha256", file_digest(file.path)),
        ("tensors", f"{len(file.state)}{f' in entry {file.wrapper!r}' if file.wrapper else ''}"),
        ("parameters", f"{learnt:,}"),
        ("number format", ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())),
        ("tensor digest", tensors_digest(file.state)),
        ("other entries", "; ".join(beside)),
        ("NOT FINITE", ", ".join(broken)),
    ]
    return [(label, value) for label, value in facts if value]


def provenance_facts(provenance: "Provenance") -> Facts:
    """Where a converted file came from, and what was left behind then."""
    return [
        ("from", f"{provenance.source} ({provenance.format})"),
        ("its sha256", provenance.sha256),
        ("on", f"{provenance.date} by retrieval_bench {provenance.version}"),
        ("trained on", provenance.trained_on),
        *accounting(provenance.unused, provenance.absent),
    ]


def claim_facts(file: "WeightFile", claim: Claim) -> Facts:
    """What a method makes of the file: sizes that it fixes, tensors that are used, left over or lacking."""
    import retrieval_bench as rb
    from retrieval_bench.extraction.digest import model_digest

    if claim.checkpoint is None:
        return [("DOES NOT LOAD", claim.problem)]
    translation = claim.checkpoint.translation
    facts = [
        ("fixes", ", ".join(f"{key}={_setting(value)}" for key, value in translation.settings.items())),
        ("trained on", translation.trained_on),
    ]
    try:
        model = rb.create_model(claim.method, weights=file.path)
    except InputError as error:
        return [*facts, ("DOES NOT LOAD", str(error))]
    used = Counter(key.partition(".")[0] for key in translation.state if key not in model.unused_weights)
    facts += [
        ("used", f"{used.total()} tensors: {', '.join(f'{part} {count}' for part, count in used.items())}"),
        *accounting(model.unused_weights, model.absent_weights),
        ("pixel values", str(Normalisation.of(model.protocol, model.normalisation_source))),
    ]
    return facts if model.absent_weights else [*facts, ("digest in records", model_digest(model))]


def accounting(unused: Mapping[str, str], absent: Iterable[str]) -> Facts:
    """What was left behind, reason by reason, and what keeps its initial values."""
    reasons: dict[str, list[str]] = {}
    for key, reason in unused.items():
        reasons.setdefault(reason, []).append(key)
    lines = [("not used", f"{len(keys)}, {reason}: {', '.join(keys)}") for reason, keys in reasons.items()]
    missing = list(absent)
    return [*lines, ("initial values", f"{len(missing)} not in the file: {', '.join(missing)}")] if missing else lines


def unknown_facts(file: "WeightFile") -> Facts:
    """What may help with a file that no method recognises."""
    from retrieval_bench.methods.naming import resnet_of
    from retrieval_bench.methods.registry import METHODS
    from retrieval_bench.weights.own_entry import own_entry

    own = own_entry(file.extra, file.path)
    if own is not None:
        return [("what to do", f"it holds method {own['method']!r}, which is not here: give its file as --plugin FILE")]
    counts = Counter(".".join(key.split(".")[: 2 if key.count(".") > 1 else 1]) for key in file.state)
    facts = [("names begin", ", ".join(f"{prefix} ({count})" for prefix, count in counts.items()))]
    known = [f"{name}: {known.name}" for name in METHODS.names() for known in getattr(METHODS.get(name), "formats", ())]
    facts.append(("known formats", "; ".join(known)))
    try:
        network = resnet_of(key.removeprefix("model.") for key in file.state)
        facts.append(("what to do", f"the names are those of an ImageNet {network}: give it as backbone.weights=FILE"))
    except InputError:
        facts.append(
            ("what to do", "for a backbone, give it as backbone.weights=FILE; for a network of your own, register a "
             "method whose `formats` name its tensors, and give its file as --plugin FILE")
        )  # fmt: skip
    return facts


def destinations(file: "WeightFile", claim: Claim) -> dict[str, str]:
    """The file's name of a tensor -> where it goes, for the list of tensors; those that keep their names are left out.

    A format may also split or merge tensors, whose way cannot be told.
    """
    if claim.checkpoint is None:
        return {}
    went = {theirs: "" if ours == theirs else f" -> {ours}" for ours, theirs in claim.checkpoint.names.items()}
    went |= {key: f", not used: {reason}" for key, reason in claim.checkpoint.translation.unused.items()}
    return {key: went.get(key, ", not taken over as it is") for key in file.state}


def _summary(value: Any) -> str:
    """An entry beside the tensors, in a few words."""
    import numpy as np
    import torch

    if isinstance(value, np.ndarray | torch.Tensor):
        return f"array {tuple(value.shape)}"
    if isinstance(value, Mapping | list | tuple):
        return f"{type(value).__name__} of {len(value)} entries, {_tensors_in(value)} tensors"
    text = str(value)
    return text if len(text) <= 80 and "\n" not in text else f"text of {len(text)} characters"


def _tensors_in(value: Any) -> int:
    import torch

    if isinstance(value, Mapping | list | tuple):
        return sum(map(_tensors_in, value.values() if isinstance(value, Mapping) else value))
    return int(isinstance(value, torch.Tensor))


def _setting(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        options = ", ".join(f"{key}={option}" for key, option in value.items() if key != "name")
        return f"{value['name']}({options})" if options else str(value["name"])
    return str(value)
