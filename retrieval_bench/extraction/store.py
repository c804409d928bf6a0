"""`DescriptorStore`: the descriptors of an image list on disk, memory-mapped, in the order of the list.

A store is a folder:

- ``descriptors-00000.safetensors`` ...: ``descriptors`` ``(n, D)`` float16 or float32, consecutive rows of the list;
- ``names.json``: the name of every row;
- ``local/`` and ``local_offsets.safetensors``: local features, where they were asked for (see `local_store`);
- ``costs.json``: seconds it took;
- ``manifest.json``: format, key and what it was made from, protocol, dtype, sizes, shards with their sha256, skipped
  images. It is written last: a folder without it is no store.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.extraction.local_store import LocalFeatureStore
from retrieval_bench.extraction.report import ExtractionReport
from retrieval_bench.extraction.tensor_file import open_tensors
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.whole_file import write_text

FORMAT = 1
DTYPES = {"float16": torch.float16, "float32": torch.float32}

Rows = Sequence[int] | Tensor | np.ndarray


@dataclass(frozen=True)
class SkippedImage:
    """An image that gave no pixels. Its row of the store is NaN."""

    row: int
    name: str
    reason: str


class DescriptorStore:
    """A finished store, opened read-only. Row i belongs to entry i of the image list.

    Values are read as float32, whatever the store holds; float16 rounds a unit vector's entries by at most 2^-11 of
    their size and the norm is not mended. Rows of skipped images are NaN: leave them out by `valid_rows`.

    Args:
        folder: of the store.

    Attributes:
        folder: of the store.
        key, key_parts: its name and what that is a digest of.
        protocol, scales: how it was made.
        dtype: "float16" or "float32", as stored.
        dim: D.
        skipped: images without a descriptor, in row order.
        report: what it cost.

    Raises:
        InputError: no finished store there, one of another version, or one with missing or cut shards.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        manifest = _read_manifest(self.folder)
        self.key: str = manifest["key"]
        self.key_parts: dict[str, str] = manifest["key_parts"]
        self.protocol = Protocol.model_validate(manifest["protocol"])
        self.scales: tuple[float, ...] = tuple(manifest["scales"])
        self.dtype: str = manifest["dtype"]
        self.dim: int = manifest["dim"]
        self.skipped = [SkippedImage(**entry) for entry in manifest["skipped"]]
        self._count: int = manifest["count"]
        self._shards: list[dict[str, Any]] = manifest["shards"]
        self._starts = np.array([shard["start"] for shard in self._shards])
        self._open: dict[int, Tensor] = {}
        self._local: bool = manifest["local"] is not None
        for shard in [*self._shards, *(manifest["local"] or {}).get("shards", [])]:
            self._check_size(shard)
        self.report = ExtractionReport(
            n_images=self._count,
            seconds=_read_seconds(self.folder),
            forward_images=0,
            bytes_global=sum(shard["bytes"] for shard in self._shards),
            bytes_local=sum(shard["bytes"] for shard in (manifest["local"] or {}).get("shards", [])),
            skipped=len(self.skipped),
        )

    def __len__(self) -> int:
        return self._count

    def __reduce__(self) -> tuple[type["DescriptorStore"], tuple[Path]]:
        return DescriptorStore, (self.folder,)

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return self._count, self.dim

    @cached_property
    def names(self) -> list[str]:
        """The name of every row."""
        return json.loads((self.folder / "names.json").read_text(encoding="utf-8"))

    @property
    def valid_rows(self) -> Tensor:
        """``(M,)`` int64: the rows that hold a descriptor, ascending."""
        valid = torch.ones(self._count, dtype=torch.bool)
        valid[[image.row for image in self.skipped]] = False
        return valid.nonzero().flatten()

    @cached_property
    def local_features(self) -> LocalFeatureStore:
        """The local features of the same images.

        Raises:
            InputError: the store has none.
        """
        if not self._local:
            raise InputError(f"the store {self.folder} has no local features; extract with local=True")
        return LocalFeatureStore(self.folder)

    def __getitem__(self, rows: int | slice) -> Tensor:
        """One row ``(D,)`` or a slice of rows ``(n, D)``, float32, a copy."""
        if not isinstance(rows, slice):
            row = range(self._count)[rows]
            return self[row : row + 1][0]
        start, stop, step = rows.indices(self._count)
        if step != 1:
            return self.tensor(list(range(start, stop, step)))
        result = torch.empty(max(stop - start, 0), self.dim)
        for number, shard in enumerate(self._shards):
            low, high = max(start, shard["start"]), min(stop, shard["start"] + shard["count"])
            if low < high:
                result[low - start : high - start] = self._shard(number)[low - shard["start"] : high - shard["start"]]
        return result

    def tensor(self, rows: Rows | None = None) -> Tensor:
        """``(n, D)`` float32 of the given rows in the given order, or of all.

        Raises:
            InputError: a row outside 0 .. N-1.
        """
        if rows is None:
            return self[:]
        wanted = np.asarray(rows, dtype=np.int64)
        outside = wanted[(wanted < 0) | (wanted >= self._count)]
        if outside.size:
            raise InputError(f"row {outside[0]} asked of a store of {self._count}; rows are 0..{self._count - 1}")
        result = torch.empty(len(wanted), self.dim)
        shard_of = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(shard_of):
            here = np.flatnonzero(shard_of == number)
            inside = torch.from_numpy(wanted[here] - self._starts[number])
            result[torch.from_numpy(here)] = self._shard(int(number))[inside].float()
        return result

    def numpy(self, rows: Rows | None = None) -> np.ndarray:
        """As `tensor`, as an array."""
        return self.tensor(rows).numpy()

    def verify(self) -> None:
        """Compare every descriptor shard with its sha256; reads the whole store.

        Raises:
            InputError: a shard whose content changed.
        """
        for shard in self._shards:
            if file_digest(self.folder / shard["file"]) != shard["sha256"]:
                raise InputError(
                    f"{self.folder / shard['file']} is damaged (sha256 differs); delete the store's folder"
                )

    def with_forward_images(self, count: int) -> "DescriptorStore":
        """This store, its report saying that `count` images went through the network in this call."""
        self.report = replace(self.report, forward_images=count)
        return self

    def _shard(self, number: int) -> Tensor:
        if number not in self._open:
            path = self.folder / self._shards[number]["file"]
            opened = open_tensors(path)
            if opened is None:
                raise InputError(f"{path} is damaged; delete the store's folder and extract again")
            self._open[number] = opened.get_tensor("descriptors")
        return self._open[number]

    def _check_size(self, shard: dict[str, Any]) -> None:
        path = self.folder / shard["file"]
        size = path.stat().st_size if path.is_file() else None
        if size != shard["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes instead of {shard['bytes']}"
            raise InputError(f"{path} {found}; delete the store's folder and extract again")


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise InputError(f"{folder} holds no finished descriptor store (no manifest.json); run the extraction again")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete the store's folder and extract again") from error
    if version != FORMAT:
        raise InputError(f"{path} has format {version}, this version reads {FORMAT}; extract again")
    return manifest


def _read_seconds(folder: Path) -> float:
    path = folder / "costs.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path.is_file() else 0.0
