"""Weight files read without running code: the tensors of the network, and whatever lies beside them."""

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.container import AGAIN, Container, container_of
from retrieval_bench.weights.names import bare, rename

State = dict[str, Tensor]

WRAPPERS = ("model_state", "state_dict", "model", "network", "model_state_dict", "net", "state_dict_ema")
"""Keys under which training scripts keep the weights of the network; the first that holds tensors counts."""

NUMPY_KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "U1")


@dataclass(frozen=True)
class WeightFile:
    """What a weight file holds.

    Attributes:
        path: of the file.
        container: how it is stored.
        wrapper: the entry in which the tensors were; empty where they stand at the top.
        state: tensors by name, without the prefixes of parallel or compiled training.
        extra: the file's other entries; of safetensors files the metadata.
    """

    path: Path
    container: Container
    wrapper: str
    state: State
    extra: dict[str, Any]


def read_weights(path: str | Path, asked: str = "weights=") -> WeightFile:
    """Read a ``.safetensors`` or torch file; which of the two it is, its content says.

    Nothing in the file is executed: torch files load with ``weights_only`` plus plain numpy arrays.

    Args:
        path: of the file; ``~`` is expanded.
        asked: where the user gave `path`, for the error about a missing file.

    Raises:
        InputError: missing, damaged, no weight file at all, in need of code, or holding no tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"no weight file at {path}; check {asked}")
    container = container_of(path)
    if container == "safetensors":
        tensors, extra = _read_safetensors(path)
        wrapper = ""
    else:
        wrapper, tensors, extra = _unwrapped(_read_torch(path), path)
    return WeightFile(path, container, wrapper, rename(tensors, {key: bare(key) for key in tensors}, path), extra)


def read_state(path: str | Path) -> tuple[State, dict[str, Any]]:
    """The tensors and the other entries of `read_weights`."""
    file = read_weights(path)
    return file.state, file.extra


def _read_safetensors(path: Path) -> tuple[State, dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as stored:
            tensors, metadata = {key: stored.get_tensor(key) for key in stored.keys()}, stored.metadata()  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is a damaged or incomplete safetensors file ({error}); {AGAIN}") from error
    if not tensors:
        raise InputError(f"{path} holds no tensors; give the file that the training script saved")
    return tensors, dict(metadata or {})


def _read_torch(path: Path) -> Any:
    with torch.serialization.safe_globals(_numpy_globals()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            # Of a path, torch would go by the ending.
            with path.open("rb") as stored:
                return torch.load(stored, map_location="cpu", weights_only=True)
        # Damaged bytes fail anywhere in the unpickler, with any exception.
        except Exception as error:
            raise InputError(f"{path} {_refusal(path, error)}") from error


def _refusal(path: Path, error: Exception) -> str:
    """Why torch did not read a file, and what to do."""
    foreign = _foreign(path, error)
    if foreign:
        refused = f"is no torch checkpoint that loads without running code: it holds {', '.join(foreign)}"
        if any(name.startswith("torch.nn.modules.") for name in foreign):
            return f"{refused}, a whole network; where its code is at hand, save network.state_dict() instead"
        return (
            f"{refused}; if you trust its source, save its tensors alone where these classes are installed: "
            'content = torch.load(FILE, weights_only=False), then torch.save(content["state_dict"], NEW), with the '
            "key under which it keeps them"
        )
    if isinstance(error, pickle.UnpicklingError):
        return f"is no torch checkpoint that loads without running code, or it is damaged; {AGAIN}, or save it again"
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"is no torch checkpoint that loads without running code: damaged or cut short ({reason[:120]}); {AGAIN}"


def _foreign(path: Path, error: Exception) -> list[str]:
    """The classes and functions that a refused torch file asks for."""
    if not isinstance(error, pickle.UnpicklingError):
        return []
    named = re.findall(r"GLOBAL (\S+) was not an allowed global", str(error))
    try:
        with path.open("rb") as stored:
            listed = torch.serialization.get_unsafe_globals_in_checkpoint(stored)
    except Exception:  # only the zip form can be listed
        listed = []
    return sorted({*named, *listed})


def _unwrapped(content: Any, path: Path) -> tuple[str, State, dict[str, Any]]:
    """The entry that held the network's tensors, these, and everything else."""
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}, not a state dict; save model.state_dict()")
    wrapper = _wrapper(content, path)
    inside = content[wrapper] if wrapper else content
    tensors = {str(key): value for key, value in inside.items() if isinstance(value, Tensor)}
    beside = {
        f"{wrapper}.{key}" if wrapper else str(key): value
        for key, value in inside.items()
        if not isinstance(value, Tensor)
    }
    if wrapper:
        beside |= {str(key): value for key, value in content.items() if key != wrapper}
    if not tensors:
        shown = ", ".join(map(str, list(content)[:6])) or "none"
        raise InputError(
            f"{path} holds no tensors of a network (its entries: {shown}); give the file that the training script saved"
        )
    return wrapper, tensors, beside


def _wrapper(content: Mapping[Any, Any], path: Path) -> str:
    """The entry that holds the network's tensors; empty where they stand at the top."""
    for key in WRAPPERS:
        if _holds_tensors(content.get(key)):
            return key
    if any(isinstance(value, Tensor) for value in content.values()):
        return ""
    holders = [key for key, value in content.items() if isinstance(key, str) and _holds_tensors(value)]
    if len(holders) > 1:
        raise InputError(
            f"{path} holds several state dicts ({', '.join(holders)}); save the one you want: "
            f'torch.save(content["{holders[0]}"], NEW)'
        )
    return holders[0] if holders else ""


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(tensor, Tensor) for tensor in value.values())


def _numpy_globals() -> list[Any]:
    """What pickled numpy arrays and numbers need: cirtorch keeps whitening matrices beside the weights."""
    array = np._core.multiarray  # type: ignore[attr-defined]
    return [
        np.ndarray,
        np.dtype,
        *{type(np.dtype(kind)) for kind in NUMPY_KINDS},
        *((array._reconstruct, f"{module}.multiarray._reconstruct") for module in ("numpy.core", "numpy._core")),
        *((array.scalar, f"{module}.multiarray.scalar") for module in ("numpy.core", "numpy._core")),
    ]
