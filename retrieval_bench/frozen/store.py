"""`FeatureStore`: the features of an image list on disk, memory-mapped.

A store is a folder:

- ``features-00000.safetensors`` ...: the tensors of whole batches, named ``<batch>/<level>/<map>``; the metadata say
  which rows and scales a batch has, how its tensors lie, what gave no pixels and how long it took (see `shard`);
- ``manifest.json``: format, what it was made from, number of rows, shards with their sizes. It is written last: a
  folder without it is no store.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrieval_bench.extraction.tensor_file import open_tensors
from retrieval_bench.frozen.form import TOKENS, unpacked
from retrieval_bench.frozen.shard import Batch, about
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.features import Features

FORMAT = 1
AGAIN = "delete it and run again"


class FeatureStore:
    """A finished store, opened read-only. Row i belongs to entry i of the image list.

    Args:
        folder: of the store.
        stages: how many of the last stages are read; it may hold more.
        tokens: whether tokens are read.

    Attributes:
        folder, stages, tokens: as given.
        key: its name.
        batches: rows, scales and size of each batch in which the images passed through the backbone.
        skipped: rows that gave no pixels, and why.
        seconds: they took, over all runs that made the store.
        bytes: on disk.

    Raises:
        InputError: no finished store there, one of another version, or one with missing or cut shards.
    """

    def __init__(self, folder: Path, *, stages: int = 1, tokens: bool = False):
        self.folder = folder
        self.stages = stages
        self.tokens = tokens
        manifest = _manifest(folder)
        self.key: str = manifest["key"]
        self._count: int = manifest["count"]
        self._shards: list[dict[str, Any]] = manifest["shards"]
        self.bytes = sum(shard["bytes"] for shard in self._shards)
        self.batches: list[Batch] = []
        self._shard_of: list[tuple[int, int]] = []
        self.skipped: list[tuple[int, str]] = []
        self.seconds = 0.0
        self._files: dict[int, Any] = {}
        self._views: dict[str, Tensor] = {}
        for number, shard in enumerate(self._shards):
            path = folder / shard["file"]
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise InputError(f"{path} is missing or cut short; the store {folder} is damaged: {AGAIN}")
            content = about(self._file(number))
            self._shard_of += [(number, position) for position in range(len(content.batches))]
            self.batches += content.batches
            self.skipped += content.skipped
            self.seconds += content.seconds
        self._place = {
            row: (batch, position)
            for batch, entry in enumerate(self.batches)
            for position, row in enumerate(entry.rows)
        }

    def __len__(self) -> int:
        return self._count

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _opened, (self.folder, self.stages, self.tokens)

    def __contains__(self, row: object) -> bool:
        """Whether a row gave pixels."""
        return row in self._place

    def row(self, row: int) -> dict[str, Tensor]:
        """The tensors of one image at its first scale, by name, not copied: for `stacked`."""
        batch, position = self._place[row]
        return {name: self._tensor(batch, 0, name)[position] for name in self._names()}

    def stacked(self, rows: Sequence[int]) -> Features:
        """Features of B rows whose images had one shape, at their first scale."""
        parts = [self.row(row) for row in rows]
        tensors = {name: torch.stack([part[name] for part in parts]) for name in self._names()}
        return unpacked(tensors, self._forms(self._place[rows[0]][0], 0), self.stages, self.tokens)

    def pyramid(self, batch: int, rows: Sequence[int] | None = None) -> list[tuple[float, Features]]:
        """Scale and features of a batch, for every scale.

        Args:
            batch: its number.
            rows: those of its rows that are wanted; None: all.
        """
        entry = self.batches[batch]
        places = slice(None) if rows is None else [entry.rows.index(row) for row in rows]
        found = []
        for level, scale in enumerate(entry.scales):
            # A pooling may work in place; what it writes must not come back with the next reading.
            tensors = {name: self._tensor(batch, level, name)[places].clone() for name in self._names()}
            found.append((scale, unpacked(tensors, self._forms(batch, level), self.stages, self.tokens)))
        return found

    def _names(self) -> list[str]:
        return [str(place) for place in range(-self.stages, 0)] + ([TOKENS] if self.tokens else [])

    def _forms(self, batch: int, level: int) -> dict[str, Sequence[str]]:
        forms = self.batches[batch].forms
        return {name: forms[f"{level}/{name}"] for name in self._names()}

    def _tensor(self, batch: int, level: int, name: str) -> Tensor:
        shard, position = self._shard_of[batch]
        place = f"{shard}/{position}/{level}/{name}"
        if place not in self._views:
            self._views[place] = self._file(shard).get_tensor(f"{position}/{level}/{name}")
        return self._views[place]

    def _file(self, number: int) -> Any:
        if number not in self._files:
            path = self.folder / self._shards[number]["file"]
            opened = open_tensors(path)
            if opened is None:
                raise InputError(f"{path} is damaged; the store {self.folder} is of no use: {AGAIN}")
            self._files[number] = opened
        return self._files[number]


def _opened(folder: Path, stages: int, tokens: bool) -> FeatureStore:
    return FeatureStore(folder, stages=stages, tokens=tokens)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] == FORMAT:
            return manifest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no finished feature store ({type(error).__name__}); {AGAIN}") from error
    raise InputError(f"{path} has format {manifest['format']}, this version reads {FORMAT}; {AGAIN}")
