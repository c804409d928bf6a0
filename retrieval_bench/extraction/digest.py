"""Digests of what makes a descriptor: the key under which a store is kept.

A store is used again only if everything that could change its values is as it was: the model's tensors and
constructor arguments, the code that reads and describes, the libraries that decode and compute, the protocol with its
scales, the number format, and the image files.
"""

import hashlib
import importlib.metadata
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

import retrieval_bench.settings
from retrieval_bench.extraction.describing import DescribingModel
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.dataset import ImageList

_ROOMS = ("data", "backbones", "pooling", "methods", "extraction")
_LIBRARIES = ("torch", "torchvision", "timm", "pillow", "numpy")
_UNWATCHED = ("torch", "torchvision", "timm", "pytorch_lightning", "lightning_fabric", "retrieval_bench", "builtins")


def model_digest(model: Any) -> str:
    """sha256 over a model's tensors: name, dtype, shape and bytes of each, sorted by name; the device does not matter.

    Args:
        model: anything with a ``state_dict()``.
    """
    return tensors_digest(model.state_dict())


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over named tensors, as in `model_digest`."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def image_list_digest(images: ImageList) -> str:
    """sha256 over names, boxes and files of an image list, in its order.

    A file counts by its absolute path, size, time of last change in nanoseconds and readability, not by its content:
    that would cost a full read of the collection per run. A file rewritten with size and time kept goes unnoticed.
    """
    total = hashlib.sha256()
    for name, path, box in zip(images.names, images.paths, images.boxes, strict=True):
        absolute = Path(path).absolute()
        try:
            status = absolute.stat()
            state: tuple[Any, ...] = (status.st_size, status.st_mtime_ns, os.access(absolute, os.R_OK))
        except OSError:
            state = ("missing",)
        box_values = None if box is None else [float(value) for value in box]
        total.update(_canonical([name, os.fspath(absolute), box_values, *state]))
    return total.hexdigest()


def protocol_digest(protocol: Protocol, scales: Sequence[float] | None = None) -> str:
    """sha256 over the canonical JSON of a protocol, with `scales` in place of its own where given."""
    content = protocol.model_dump(mode="json")
    if scales is not None:
        content["scales"] = [float(scale) for scale in scales]
    return hashlib.sha256(_canonical(content)).hexdigest()


def code_digest(model: object, rooms: tuple[str, ...] = _ROOMS) -> str:
    """sha256 over the code that describes: this package's rooms, the model's own classes, the libraries' versions.

    So an edited `forward` never meets descriptors that its older self made. Of a class that lives in no file, as in a
    notebook, the sources of its methods count.

    Args:
        model: or a part of one.
        rooms: folders and files of this package that count.
    """
    total = hashlib.sha256(_package_digest(rooms).encode())
    kinds = {kind for module in _modules(model) for kind in type(module).__mro__}
    for kind in sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__)):
        if kind.__module__.partition(".")[0] not in _UNWATCHED:
            total.update(f"{kind.__qualname__}\0{_source(kind)}\0".encode())
    return total.hexdigest()


def key_parts(
    model: DescribingModel,
    images: ImageList,
    *,
    scales: Sequence[float] | None = None,
    dtype: str = "float16",
    local: bool = False,
    precision: str = "32-true",
) -> dict[str, str]:
    """What `store_key` is made from, by name; kept in the store's manifest.

    Args:
        scales: in place of the protocol's.
        dtype: of the stored descriptors.
        local: whether local features are stored.
        precision: of the network's arithmetic, as Lightning calls it.
    """
    return {
        "method": model.method,
        "settings": hashlib.sha256(_canonical(model.settings)).hexdigest(),
        "weights": model_digest(model),
        "images": image_list_digest(images),
        "protocol": protocol_digest(model.protocol, scales),
        "code": code_digest(model),
        "dtype": dtype,
        "local": str(local),
        "precision": precision,
    }


def store_key(parts: Mapping[str, str]) -> str:
    """The name of a store's folder: 32 hex digits over `key_parts`."""
    return hashlib.sha256(_canonical(dict(parts))).hexdigest()[:32]


def canonical_digest(value: Any) -> str:
    """sha256 over the canonical JSON of plain values."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def _modules(model: object) -> list[object]:
    return list(model.modules()) if isinstance(model, nn.Module) else [model]


def _source(kind: type) -> str:
    functions = [value for _, value in sorted(vars(kind).items()) if isinstance(value, FunctionType)]
    sources = [_function_source(function) for function in functions]
    try:
        file = inspect.getsourcefile(kind)
    except (TypeError, OSError):
        file = None  # built in, or typed into a session: its methods are all there is
    return "\0".join(sources if file is None else [Path(file).read_text(encoding="utf-8"), *sources])


def _function_source(function: FunctionType) -> str:
    try:
        return inspect.getsource(function)
    except (TypeError, OSError):
        return _bytecode(function.__code__)


def _bytecode(code: CodeType) -> str:
    constants = [_bytecode(value) if isinstance(value, CodeType) else repr(value) for value in code.co_consts]
    return " ".join([code.co_code.hex(), *code.co_names, *constants])


@cache
def _package_digest(rooms: tuple[str, ...]) -> str:
    root = Path(inspect.getfile(retrieval_bench.settings)).parent.parent
    total = hashlib.sha256()
    for room in rooms:
        place = root / room
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            total.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    for library in _LIBRARIES:
        total.update(f"{library}=={_version(library)}\0".encode())
    return total.hexdigest()


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"
