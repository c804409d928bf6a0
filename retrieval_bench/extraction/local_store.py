"""`LocalFeatureStore`: local features in shards on disk, read image by image.

A shard ``local/00000.safetensors`` holds the features of some images one after the other: ``keypoints`` ``(T, 2)``,
``scores`` ``(T,)`` and ``scales`` ``(T,)`` float32, ``descriptors`` ``(T, d)`` float16 or float32, and of its images
``rows`` and ``counts``. ``local_offsets.safetensors`` says for each row of the image list which shard holds it, from
where, and how many; a row without features has count 0.
"""

import operator
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor

from retrieval_bench.extraction.tensor_file import open_tensors, write_tensors
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.local_features import LocalFeatures

OFFSETS = "local_offsets.safetensors"


def shard_path(folder: Path, number: int) -> Path:
    """Where the local features of shard `number` lie."""
    return folder / "local" / f"{number:05d}.safetensors"


def write_local_shard(path: Path, rows: Sequence[int], features: Sequence[LocalFeatures], dtype: torch.dtype) -> None:
    """Write the features of some images.

    Args:
        rows: of these images in the image list.
        features: as many; all with descriptors of one d.
        dtype: of the stored descriptors.

    Raises:
        InputError: a value that is not finite.
    """
    tensors = {
        "keypoints": torch.cat([item.keypoints.detach().float().cpu() for item in features]),
        "scores": torch.cat([item.scores.detach().float().cpu() for item in features]),
        "scales": torch.cat([item.scales.detach().float().cpu() for item in features]),
        "descriptors": torch.cat([item.descriptors.detach().to("cpu", dtype) for item in features]),
    }
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"local features have {name} that are not finite; check the weights")
    counts = torch.tensor([len(item) for item in features], dtype=torch.int64)
    write_tensors(path, {**tensors, "rows": torch.tensor(rows, dtype=torch.int64), "counts": counts})


def write_offsets(folder: Path, count: int, shards: int) -> None:
    """Index the shards of `folder` for an image list of `count` rows."""
    table = torch.zeros(count, 3, dtype=torch.int64)
    dim = 0
    for number in range(shards):
        with open_tensors(shard_path(folder, number)) as shard:
            rows, counts = shard.get_tensor("rows"), shard.get_tensor("counts")
            dim = shard.get_slice("descriptors").get_shape()[1]
        starts = counts.cumsum(0) - counts
        table[rows] = torch.stack([torch.full_like(rows, number), starts, counts], dim=1)
    write_tensors(folder / OFFSETS, {"offsets": table, "dim": torch.tensor(dim)})


class LocalFeatureStore(Sequence[LocalFeatures]):
    """Local features in the order of the image list, read from disk when asked for.

    Keypoints are x, y in pixels of the image before the protocol's size limit: of the whole image, or of its crop where
    the list has a box. Everything is float32. An image that was skipped has no features.

    Args:
        folder: of the descriptor store.
        cached: how many images' features are kept in memory, those used last.

    Raises:
        InputError: the folder has none.
    """

    def __init__(self, folder: str | Path, cached: int = 512):
        self.folder = Path(folder)
        self.cached = cached
        with _opened(self.folder / OFFSETS) as table:
            self._offsets: Tensor = table.get_tensor("offsets").clone()
            self.dim = int(table.get_tensor("dim"))
        self._shards: dict[int, Any] = {}
        self._recent: OrderedDict[int, LocalFeatures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._offsets)

    def __reduce__(self) -> tuple[type["LocalFeatureStore"], tuple[Path, int]]:
        return LocalFeatureStore, (self.folder, self.cached)

    @property
    def counts(self) -> Tensor:
        """``(N,)`` int64: L of every image."""
        return self._offsets[:, 2].clone()

    @overload
    def __getitem__(self, row: int) -> LocalFeatures: ...
    @overload
    def __getitem__(self, row: slice) -> list[LocalFeatures]: ...
    def __getitem__(self, row: int | slice) -> LocalFeatures | list[LocalFeatures]:
        """The features of one image, or of a slice of images."""
        if isinstance(row, slice):
            return [self[index] for index in range(*row.indices(len(self)))]
        index = range(len(self))[operator.index(row)]
        if index in self._recent:
            self._recent.move_to_end(index)
            return self._recent[index]
        features = self._read(index)
        self._recent[index] = features
        if len(self._recent) > self.cached:
            self._recent.popitem(last=False)
        return features

    def _read(self, row: int) -> LocalFeatures:
        number, start, count = self._offsets[row].tolist()
        if not count:
            return LocalFeatures(torch.zeros(0, 2), torch.zeros(0, self.dim), torch.zeros(0), torch.zeros(0))
        if number not in self._shards:
            self._shards[number] = _opened(shard_path(self.folder, number))
        shard = self._shards[number]
        keypoints, descriptors, scores, scales = (
            shard.get_slice(name)[start : start + count].to(torch.float32, copy=True)
            for name in ("keypoints", "descriptors", "scores", "scales")
        )
        return LocalFeatures(keypoints, descriptors, scores, scales)


def _opened(path: Path) -> Any:
    shard = open_tensors(path)
    if shard is None:
        raise InputError(f"{path} is missing or damaged; delete the store's folder and extract again")
    return shard
