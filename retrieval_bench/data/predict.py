"""Whole images in batches of like shape, for extraction and retrieval validation.

No image is distorted or padded to fit a batch: the processed size of every image is known from its header, images of
equal size go together, and each is decoded once, in a worker.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from retrieval_bench.data.loading import load_for_protocol, loaded_size
from retrieval_bench.data.reading import ImageError
from retrieval_bench.data.resizing import Size
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.dataset import ImageList

OnError = Literal["error", "skip"]


class Skipped(NamedTuple):
    """An image that gave no pixels: its row in the list, its name and file, and why."""

    row: int
    name: str
    path: Path
    reason: str


class ProtocolImages(Dataset[dict[str, Any]]):
    """The images of a list as the protocol reads them.

    Item i is ``{"index": i, "image": uint8 RGB (3, H, W), "error": None}``; for a file without pixels "image" is None
    and "error" says why.
    """

    def __init__(self, images: ImageList, protocol: Protocol, *, tolerate_truncated: bool = False):
        self.images = images
        self.protocol = protocol
        self.tolerate_truncated = tolerate_truncated

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, box = self.images.paths[index], self.images.boxes[index]
        try:
            pixels = load_for_protocol(path, box, self.protocol, tolerate_truncated=self.tolerate_truncated)
        except InputError as error:
            return {"index": index, "image": None, "error": _reason(error, path)}
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
        return {"index": index, "image": image, "error": None}

    def size(self, index: int) -> Size:
        """Width and height of item `index`, from its file's header.

        Raises:
            InputError: the header or the box is broken.
        """
        return loaded_size(self.images.paths[index], self.images.boxes[index], self.protocol)


def like_shape_batches(indices: Sequence[int], sizes: Sequence[Size], batch_size: int) -> list[list[int]]:
    """Batches of at most `batch_size` indices whose sizes are equal.

    Indices keep their order within a size; batches are ordered by their first index. Every index occurs once.

    Args:
        indices: what to batch.
        sizes: of each of them, as many.
    """
    groups: dict[Size, list[int]] = {}
    for index, size in zip(indices, sizes, strict=True):
        groups.setdefault(size, []).append(index)
    batches = [
        group[start : start + batch_size] for group in groups.values() for start in range(0, len(group), batch_size)
    ]
    return sorted(batches, key=lambda batch: batch[0])


class ExtractionLoader:
    """Batches ``{"indices": int64 (B,), "images": uint8 RGB (B, 3, H, W), "skipped": list[Skipped]}`` of one pass.

    It is an iterable and not a `DataLoader`, so that Lightning runs it as it is instead of replacing its sampler by one
    that repeats images to fill up ranks. Rank r of w gets the rows r, r + w, r + 2w ...

    After a pass `skipped` holds every image that gave no pixels, in the order of the list. "skipped" of a batch holds
    those found since the batch before; those found after the last batch are in the attribute only.

    Args:
        images: what to read.
        protocol: how.
        batch_size: the most images of one batch.
        workers: processes that decode; 0 decodes in this one.
        on_error: "error": one `InputError` names every broken file of this rank's share, before the first batch where a
            header is broken and instead of the last one otherwise. "skip": they are left out and reported.
        rank, world: of this process.
        labels: of each image; adds "labels" ``(B,)`` int64 to the batches.
        tolerate_truncated: as in `read_image`.
        pin_memory: for faster copies to a GPU.
    """

    def __init__(
        self,
        images: ImageList,
        protocol: Protocol,
        *,
        batch_size: int = 8,
        workers: int = 0,
        on_error: OnError = "error",
        rank: int = 0,
        world: int = 1,
        labels: Sequence[int] | None = None,
        tolerate_truncated: bool = False,
        pin_memory: bool = False,
    ):
        if batch_size < 1:
            raise InputError(f"the extraction batch size is {batch_size}; it must be at least 1")
        if not 0 <= rank < world:
            raise InputError(f"rank {rank} is not within 0..{world - 1}")
        self.dataset = ProtocolImages(images, protocol, tolerate_truncated=tolerate_truncated)
        self.on_error = on_error
        self.labels = None if labels is None else torch.as_tensor(list(labels), dtype=torch.int64)
        self.skipped: list[Skipped] = []
        self._unreadable: list[Skipped] = []
        readable, sizes = [], []
        for index in range(rank, len(images), world):
            try:
                sizes.append(self.dataset.size(index))
            except InputError as error:
                self._unreadable.append(self._skip(index, _reason(error, images.paths[index])))
            else:
                readable.append(index)
        self._batches = like_shape_batches(readable, sizes, batch_size)
        self._loader: DataLoader[dict[str, Any]] = DataLoader(
            self.dataset,
            batch_sampler=self._batches,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
        )

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        found = list(self._unreadable)
        if self.on_error == "error" and found:
            for batch in self._loader:
                found += self._broken(batch)
            raise broken_images(found)
        self.skipped = sorted(found)
        # One batch is held back: the last one must not come out of a pass that fails.
        held: dict[str, Any] | None = None
        for batch in self._loader:
            broken = self._broken(batch)
            found += broken
            self.skipped = sorted(self.skipped + broken)
            if not len(batch["indices"]):
                continue
            if held is not None:
                yield held
            held = {**batch, "skipped": found}
            if self.labels is not None:
                held["labels"] = self.labels[batch["indices"]]
            found = []
        if self.on_error == "error" and self.skipped:
            raise broken_images(self.skipped)
        if held is not None:
            yield held

    def _broken(self, batch: dict[str, Any]) -> list[Skipped]:
        return [self._skip(index, reason) for index, reason in batch.pop("errors")]

    def _skip(self, index: int, reason: str) -> Skipped:
        images = self.dataset.images
        return Skipped(index, images.names[index], Path(images.paths[index]), reason)


def _collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole = [item for item in items if item["error"] is None]
    return {
        "indices": torch.tensor([item["index"] for item in whole], dtype=torch.int64),
        "images": torch.stack([item["image"] for item in whole]) if whole else torch.empty(0),
        "errors": [(item["index"], item["error"]) for item in items if item["error"] is not None],
    }


def broken_images(skipped: Sequence[Skipped]) -> InputError:
    """One error that names every broken file."""
    ordered = sorted(skipped)
    listed = "; ".join(f"{broken.path} ({broken.reason})" for broken in ordered)
    noun = "image gives" if len(ordered) == 1 else "images give"
    return InputError(
        f"{len(ordered)} {noun} no pixels: {listed}. Mend them, or leave them out by extract.on_error=skip"
    )


def _reason(error: InputError, path: str | Path) -> str:
    return error.reason if isinstance(error, ImageError) else str(error).removeprefix(f"{path}: ")
