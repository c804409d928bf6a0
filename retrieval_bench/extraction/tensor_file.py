"""Tensors in one safetensors file, written whole or not at all, read without loading what is not asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from retrieval_bench.settings.whole_file import whole_file


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write contiguous CPU tensors to `path`; an older file there is replaced.

    The bytes depend on the tensors alone where `metadata` has at most one entry (its order is not fixed by the format).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        save_file(dict(tensors), partial, dict(metadata) if metadata else None)


def open_tensors(path: Path) -> Any:
    """The memory-mapped file, as `safetensors.safe_open`; None where it is missing or not whole."""
    try:
        return safe_open(path, "pt")
    except (OSError, SafetensorError):
        return None
