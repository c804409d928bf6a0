"""Checkpoints: naming the format of a weight file, and accounting for every tensor in it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from retrieval_bench.methods.parts import named_batch_attention
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.weights.names import bare_inside, rename
from retrieval_bench.weights.own_entry import OWN, own_entry
from retrieval_bench.weights.provenance import Provenance, read_provenance
from retrieval_bench.weights.reading import State, WeightFile, read_weights

LISTED = 12
"""Tensors of one kind that an error names; it counts them all."""

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Translation:
    """Published tensors under our names.

    Attributes:
        state: our key -> tensor.
        settings: constructor arguments that the tensors fix: backbone, dim, num_classes, variant ...
        unused: published key -> why it is not needed.
        trained_on: the training set, as far as the file tells.
        optional: our keys that this format may lack, such as a classifier that was stripped off.
        implied: our keys that it has no tensor for because they are constants of the method, as built.
    """

    state: State
    settings: dict[str, Any] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    trained_on: str = "as its authors published; see the method's card"
    optional: tuple[str, ...] = ()
    implied: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckpointFormat:
    """One way in which a method's weights are published.

    Attributes:
        name: as shown to the user, such as ``"feymanpriv/DELG (pycls)"``.
        recognises: whether a state dict with these keys is of this format.
        translate: state dict and the file's other entries -> `Translation`.
    """

    name: str
    recognises: Callable[[Sequence[str]], bool]
    translate: Callable[[State, Mapping[str, Any]], Translation]


@dataclass(frozen=True)
class Checkpoint:
    """A file that was read and recognised.

    Attributes:
        path: of the file.
        format: its name; `OWN` for our own.
        translation: its tensors under our names.
        method: the method that it is read for.
        holds: the method that an own checkpoint was saved by; empty for published files.
        names: our key -> the file's, for tensors that were taken over as they are.
        provenance: of a converted file.
        normalisation: that an own checkpoint was trained with; None for published files, which are of the method's
            own, and for checkpoints from before it was stored.
    """

    path: Path
    format: str
    translation: Translation
    method: str = ""
    holds: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    provenance: Provenance | None = None
    normalisation: Normalisation | None = None

    @property
    def foreign(self) -> bool:
        """Whether it is our own checkpoint of another method, which `method` loads too."""
        return self.holds not in ("", self.method)

    @property
    def settings(self) -> dict[str, Any]:
        """Constructor arguments that the file fixes."""
        return self.translation.settings

    def settings_for(self, known: Collection[str]) -> dict[str, Any]:
        """`settings`, of another method's checkpoint only those in `known`, the constructor's arguments."""
        return {key: value for key, value in self.settings.items() if not self.foreign or key in known}

    @property
    def source(self) -> str:
        """Where the weights came from, for protocol cards; of a converted file the original as well."""
        kind = f"{self.format}, method {self.holds}" if self.foreign else self.format
        if self.provenance is None:
            return f"{self.path.name} ({kind})"
        first = self.provenance.original
        return f"{self.path.name} ({kind}), converted from {first.source} ({first.format})"


def read_checkpoint(
    path: Path, formats: Sequence[CheckpointFormat], *, method: str, also: Sequence[str] = ()
) -> Checkpoint:
    """Read a weight file and translate it.

    Args:
        path: of the file.
        formats: published ones that the method knows.
        method: that will load it.
        also: other methods whose own checkpoints it can load.

    Raises:
        InputError: no such file, no weight file, or a format that the method does not know.
    """
    return translated(read_weights(path), formats, method=method, also=also)


def translated(
    file: WeightFile, formats: Sequence[CheckpointFormat], *, method: str, also: Sequence[str] = ()
) -> Checkpoint:
    """A file that was read, as `read_checkpoint` translates it.

    Raises:
        InputError: a format that the method does not know, or a file that lacks what its format needs.
    """
    own = own_entry(file.extra, file.path)
    if own is not None:
        if own["method"] not in (method, *also):
            raise InputError(
                f"{file.path} holds method {own['method']!r}, not {method!r}; use create_model({own['method']!r})"
            )
        provenance = read_provenance(file.extra, file.path)
        absent = () if provenance is None else provenance.absent
        translation = Translation(file.state, own["settings"], trained_on=own["trained_on"], optional=absent)
        names = {key: key for key in file.state}
        return Checkpoint(file.path, OWN, translation, method, own["method"], names, provenance, own["normalisation"])
    known, state = recognised(file, formats)
    if known is None:
        shown = ", ".join(list(file.state)[:3])
        raise InputError(
            f"{file.path} is in no format known for method {method!r} (its keys begin {shown}); known: "
            f"{', '.join(known.name for known in formats) or 'our own checkpoints'}"
        )
    published = {id(value): key for key, value in file.state.items()}
    try:
        translation = known.translate(dict(state), file.extra)
    except InputError as error:
        raise InputError(f"{file.path} ({known.name}): {error}") from error
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{file.path} looks like {known.name}, but lacks what that needs or holds it otherwise "
            f"({type(error).__name__}: {error}); compare it with `retrieval-bench weights inspect`"
        ) from error
    names = {key: published[id(value)] for key, value in translation.state.items() if id(value) in published}
    return Checkpoint(file.path, known.name, translation, method, names=names)


def recognised(file: WeightFile, formats: Sequence[CheckpointFormat]) -> tuple[CheckpointFormat | None, State]:
    """The published format of a file, None where it is none of these, and its tensors under the names it knows."""
    # A part called `module` may be a part's name in one format, and a trace of parallel training in another.
    inside = rename(file.state, bare_inside(file.state), file.path)
    for state in (file.state, inside):
        for known in formats:
            if known.recognises(list(state)):
                return known, state
    return None, file.state


def replaced_parts(checkpoint: Checkpoint, wanted: Mapping[str, Any]) -> dict[str, str]:
    """Prefix -> new name, for `load_weights`, of each pooling, loss or batch attention that is not the checkpoint's.

    A published file that does not tell its part counts as replaced where one was named: its tensors fit if it was the
    same. `wanted` is what the user asked for: part -> mapping with ``name`` and options.
    """
    named = {part: wanted[part].get("name") for part in ("pooling", "loss") if part in wanted}
    stored = {part: (checkpoint.settings.get(part) or {}).get("name") for part in named}
    replaced = {f"{part}.": name for part, name in named.items() if name is not None and name != stored[part]}
    losses = (wanted.get("loss", {}), checkpoint.settings.get("loss") or {})
    asked, kept = (named_batch_attention(loss.get("batch_attention"))["name"] for loss in losses)
    changed = "batch_attention" in losses[0] and asked != kept
    return replaced | ({"loss.batch_attention.": asked or "none"} if changed else {})


def new_classifier(checkpoint: Checkpoint, num_classes: int | None, prefixes: Sequence[str]) -> dict[str, str]:
    """Prefix -> why it starts anew, for `load_weights`, where another number of classes is trained on.

    Args:
        checkpoint: that was read.
        num_classes: C that was asked for; None keeps the checkpoint's.
        prefixes: of the parts whose tensors depend on C, and of what was learnt with them.
    """
    stored = checkpoint.settings.get("num_classes")
    if num_classes is None or num_classes == stored:
        return {}
    return dict.fromkeys(prefixes, f"trained for {stored or 'no'} classes, the model has {num_classes}")


def load_weights(
    model: nn.Module,
    checkpoint: Checkpoint,
    replaced: Mapping[str, str] = NOTHING,
    renewed: Mapping[str, str] = NOTHING,
) -> None:
    """Copy every translated tensor into `model`, in place.

    What the file has and the model does not need is named in ``unused_weights``, what the model has and the file lacks
    by right in ``absent_weights``; that keeps its initial values.

    Args:
        model: of the checkpoint's settings.
        checkpoint: that was read.
        replaced: prefix -> name of a part that was swapped; of its tensors and of those of its copies, those load that
            fit the new part by name and shape.
        renewed: key, or prefix that ends in a dot -> why it is not loaded, such as a classifier of other classes.

    Raises:
        InputError: tensors that are missing, unexpected or of another shape; all are listed.
    """
    own = model.state_dict()
    # Batch counters are no weights: some tools store them as (1,) instead of ().
    given = {
        key: value.reshape(()) if key.endswith("num_batches_tracked") and value.numel() == 1 else value
        for key, value in checkpoint.translation.state.items()
    }
    loaded: State = {}
    unused = dict(checkpoint.translation.unused)
    unexpected, misshaped = [], []
    for key, value in given.items():
        name = checkpoint.names.get(key, key)
        swapped, anew = _below(key, replaced), _below(key, renewed)
        if anew is not None:
            unused[name] = renewed[anew]
        elif key in own and own[key].shape == value.shape:
            loaded[key] = value
        elif swapped is not None:
            unused[name] = f"{swapped.rstrip('.')} was replaced by {replaced[swapped]}"
        elif key in own:
            misshaped.append(key)
        elif checkpoint.foreign:
            unused[name] = f"belongs to method {checkpoint.holds}, not to {checkpoint.method}"
        else:
            unexpected.append(key)
    implied = () if _below("pooling.", replaced) else checkpoint.translation.implied
    by_right = (*checkpoint.translation.optional, *implied, *replaced, *renewed)
    met = {*loaded, *misshaped}
    lacking = [key for key in own if key not in met and not key.endswith("num_batches_tracked")]
    absent = [key for key in lacking if _below(key, by_right) is not None]
    missing = [key for key in lacking if key not in absent]
    absent = [key for key in absent if _below(key, implied) is None]
    shapes = [f"{key} {tuple(given[key].shape)} for {tuple(own[key].shape)}" for key in misshaped]
    complaints = [
        f"{len(keys)} {what}: {', '.join(keys[:LISTED])}{' ...' if len(keys) > LISTED else ''}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("misshaped", shapes))
        if keys
    ]
    if complaints:
        raise InputError(f"{checkpoint.path} ({checkpoint.format}) does not fit the model: {'; '.join(complaints)}")
    model.load_state_dict(loaded, strict=False)
    model.weights_source = checkpoint.source  # type: ignore[assignment]
    model.trained_on = checkpoint.translation.trained_on  # type: ignore[assignment]
    model.loaded_weights = frozenset(loaded)  # type: ignore[assignment]
    model.absent_weights = tuple(absent)  # type: ignore[assignment]
    model.unused_weights = unused  # type: ignore[assignment]


def _below(key: str, names: Collection[str]) -> str | None:
    """The one of `names`, keys or parts that end in a dot, that `key` is or stands below, in copies of parts too."""
    return next((name for name in names if key == name or (name.endswith(".") and f".{name}" in f".{key}")), None)


def take(state: State, prefix: str, reason: str) -> dict[str, str]:
    """Remove the keys with `prefix` from `state`; returns them with the reason why they are not used."""
    unused = {key: reason for key in list(state) if key.startswith(prefix)}
    for key in unused:
        del state[key]
    return unused
