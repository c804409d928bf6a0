"""Reader of parity cases: what a method's published implementation returned, stored as data.

A case is a folder with two files. `manifest.json` says how to rebuild the weights and the inputs;
`outputs.npz` holds the values the published implementation computed from them. Weights are never
stored: a tensor is drawn from its name, so every machine rebuilds the same one::

    generator = Generator(PCG64(crc32(name)))
    tensor    = mean + std * standard_normal(shape), its absolute value where "abs" is true

An entry that carries "value" is that constant instead, a scalar or a nested list.

A test imports the reader as `from parity_case import load`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DEFAULT_TOLERANCE: Mapping[str, float] = {"rtol": 1e-4, "atol": 1e-5}


@dataclass(frozen=True)
class ParityCase:
    """One case, read.

    `settings`: how the published implementation was configured. `state_dict`: weights under the
    published checkpoint's own names. `inputs`, `outputs`: what went in and what came out.
    `tolerance`: the `rtol` and `atol` for comparing against `outputs`.
    """

    settings: dict[str, Any]
    state_dict: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    tolerance: dict[str, float]


def load(folder: str | Path) -> ParityCase:
    """The case stored in `folder`; OSError where one of its two files is absent."""
    folder = Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    with np.load(folder / "outputs.npz", allow_pickle=False) as archive:
        outputs = {name: archive[name] for name in archive.files}
    return ParityCase(
        settings=manifest["settings"],
        state_dict=_tensors(manifest["state_dict"]),
        inputs=_tensors(manifest["inputs"]),
        outputs=outputs,
        tolerance={**DEFAULT_TOLERANCE, **manifest.get("tolerance", {})},
    )


def _tensors(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    return {name: _tensor(name, entry) for name, entry in entries.items()}


def _tensor(name: str, entry: Mapping[str, Any]) -> np.ndarray:
    dtype = np.dtype(entry.get("dtype", "float32"))
    shape = tuple(entry["shape"])
    if "value" in entry:
        return np.asarray(entry["value"], dtype=dtype).reshape(shape)
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode("utf-8"))))
    # Drawn in float64 and cast last: casting earlier would change the last bits.
    drawn = entry.get("mean", 0.0) + entry.get("std", 1.0) * generator.standard_normal(shape)
    return (np.abs(drawn) if entry.get("abs", False) else drawn).astype(dtype)
