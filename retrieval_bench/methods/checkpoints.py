"""Checkpoints: reading a file without running code, naming its format, and accounting for every tensor."""

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from retrieval_bench.settings.errors import InputError

State = dict[str, Tensor]

WRAPPERS = ("model_state", "state_dict", "model", "network")
"""Keys under which training scripts keep the weights of the network."""


LISTED = 12
"""Tensors of one kind that an error names; it counts them all."""

OWN = "retrieval_bench"
"""The entry of our own checkpoints: JSON with the method's name and its constructor arguments."""


@dataclass(frozen=True)
class Translation:
    """Published tensors under our names.

    Attributes:
        state: our key -> tensor.
        settings: constructor arguments that the tensors fix: backbone, dim, num_classes, variant ...
        unused: published key -> why it is not needed.
        trained_on: the training set, as far as the file tells.
        optional: our keys that this format may lack, such as a classifier that was stripped off.
    """

    state: State
    settings: dict[str, Any] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    trained_on: str = "as its authors published; see the method's card"
    optional: tuple[str, ...] = ()


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
    """A file that was read and recognised."""

    path: Path
    format: str
    translation: Translation

    @property
    def settings(self) -> dict[str, Any]:
        """Constructor arguments that the file fixes."""
        return self.translation.settings


def read_checkpoint(path: Path, formats: Sequence[CheckpointFormat], *, method: str) -> Checkpoint:
    """Read a weight file and translate it.

    Raises:
        InputError: no such file, no weight file, or a format that the method does not know.
    """
    state, extra = read_state(path)
    own = own_entry(extra, path, method)
    if own is not None:
        return Checkpoint(path, OWN, Translation(state, own["settings"], trained_on=own["trained_on"]))
    for known in formats:
        if known.recognises(list(state)):
            return Checkpoint(path, known.name, known.translate(state, extra))
    shown = ", ".join(list(state)[:3])
    raise InputError(
        f"{path} is in no format known for method {method!r} (its keys begin {shown}); known: "
        f"{', '.join(known.name for known in formats)}"
    )


def own_entry(extra: Mapping[str, Any], path: Path, method: str) -> dict[str, Any] | None:
    """What a checkpoint of ours says of itself, or None for a file that is not one.

    Raises:
        InputError: it holds another method.
    """
    if OWN not in extra:
        return None
    try:
        own: dict[str, Any] = json.loads(extra[OWN])
        own = {key: own[key] for key in ("method", "settings", "trained_on")}
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"the entry {OWN!r} of {path} is damaged; train or convert the weights again") from error
    if own["method"] != method:
        raise InputError(f"{path} holds method {own['method']!r}, not {method!r}; use create_model({own['method']!r})")
    return own


def read_state(path: Path) -> tuple[State, dict[str, Any]]:
    """The state dict in a ``.safetensors`` or torch file, unwrapped, and the file's other entries.

    Nothing in the file is executed: torch files load with ``weights_only`` plus plain numpy arrays.

    Raises:
        InputError: missing, damaged, or holding something other than tensors.
    """
    if not path.is_file():
        raise InputError(f"no weight file at {path}; check weights=")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as stored:
                return {key: stored.get_tensor(key) for key in stored.keys()}, dict(stored.metadata() or {})  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"{path} is no readable safetensors file ({error}); fetch it again") from error
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is no torch checkpoint that loads without running code ({reason})") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}, not a state dict; save model.state_dict()")
    wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
    tensors = content if wrapper is None else content[wrapper]
    extra = {} if wrapper is None else {key: value for key, value in content.items() if key != wrapper}
    state = {str(key).removeprefix("module."): value for key, value in tensors.items() if isinstance(value, Tensor)}
    if not state:
        raise InputError(f"{path} holds no tensors; give the file that the training script saved")
    return state, extra


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy every translated tensor into `model`, in place.

    Raises:
        InputError: tensors that are missing, unexpected or of another shape; all are listed.
    """
    own = model.state_dict()
    # Batch counters are no weights: some tools store them as (1,) instead of ().
    given = {
        key: value.reshape(()) if key.endswith("num_batches_tracked") and value.numel() == 1 else value
        for key, value in checkpoint.translation.state.items()
    }
    optional = checkpoint.translation.optional
    lacking = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    absent = [key for key in lacking if optional and key.startswith(optional)]
    missing = [key for key in lacking if key not in absent]
    unexpected = [key for key in given if key not in own]
    misshaped = [
        f"{key} {tuple(given[key].shape)} for {tuple(own[key].shape)}"
        for key in given
        if key in own and given[key].shape != own[key].shape
    ]
    complaints = [
        f"{len(keys)} {what}: {', '.join(keys[:LISTED])}{' ...' if len(keys) > LISTED else ''}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("misshaped", misshaped))
        if keys
    ]
    if complaints:
        raise InputError(f"{checkpoint.path} ({checkpoint.format}) does not fit the model: {'; '.join(complaints)}")
    model.load_state_dict(given, strict=False)
    model.weights_source = f"{checkpoint.path.name} ({checkpoint.format})"  # type: ignore[assignment]
    model.trained_on = checkpoint.translation.trained_on  # type: ignore[assignment]
    model.absent_weights = tuple(absent)  # type: ignore[assignment]
    model.unused_weights = dict(checkpoint.translation.unused)  # type: ignore[assignment]


def take(state: State, prefix: str, reason: str) -> dict[str, str]:
    """Remove the keys with `prefix` from `state`; returns them with the reason why they are not used."""
    unused = {key: reason for key in list(state) if key.startswith(prefix)}
    for key in unused:
        del state[key]
    return unused


def _numpy_globals() -> list[Any]:
    """What a pickled numpy array needs: cirtorch keeps whitening matrices beside the weights."""
    reconstruct = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
    return [
        np.ndarray,
        np.dtype,
        type(np.dtype(np.float32)),
        type(np.dtype(np.float64)),
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (reconstruct, "numpy._core.multiarray._reconstruct"),
    ]
