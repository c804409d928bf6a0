"""Labelled images as training and validation samples."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from retrieval_bench.data.reading import ExifRule, ImageError, probe_size, read_image
from retrieval_bench.data.transforms import train_view, validation_view, view_generator
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.values.dataset import LabelledImages

CACHE_LIMIT = 4 * 2**30
"""The most bytes of decoded images that stay in memory."""


class DecodedImages:
    """Image files decoded once and kept in memory; worker processes forked afterwards share it.

    Broken files do not stop it: asking for one raises its `ImageError` again.

    Args:
        paths: what to decode; a file listed twice is kept once.
        exif: as in `read_image`.

    Raises:
        InputError: together they need more than `CACHE_LIMIT` bytes.
    """

    def __init__(self, paths: Iterable[Path], exif: ExifRule):
        files = list(dict.fromkeys(paths))
        self._pixels: dict[Path, np.ndarray] = {}
        self._broken: dict[Path, ImageError] = {}
        need = 0
        for path in files:
            try:
                width, height = probe_size(path, exif=exif)
            except ImageError as error:
                self._broken[path] = error
                continue
            need += 3 * width * height
            if need > CACHE_LIMIT:
                raise InputError(
                    f"{len(files)} training images need more than {CACHE_LIMIT / 2**30:.0f} GiB decoded; set cache=none"
                )
        for path in files:
            if path in self._broken:
                continue
            try:
                self._pixels[path] = read_image(path, exif=exif)
            except ImageError as error:
                self._broken[path] = error

    def __getitem__(self, path: Path) -> np.ndarray:
        if path in self._broken:
            raise self._broken[path]
        return self._pixels[path]


class LabelledViews(Dataset[dict[str, Any]]):
    """Views of labelled images.

    Items are asked for by ``(epoch, row)`` and are ``{"image": uint8 RGB (3, S, S), "label": int, "index": int}``,
    where index is the image's row in `images`, or ``{"error": str}`` for a file without pixels.

    Args:
        images: files and labels.
        rows: which of them, in the order in which samplers count.
        recipe: size and augmentation.
        view: "train" is random unless the recipe says otherwise, "validation" is the centre.
        seed: of the random views.
        exif: as in `read_image`.
        decoded: where the pixels are kept, None to read files.
    """

    def __init__(
        self,
        images: LabelledImages,
        rows: Sequence[int],
        recipe: Recipe,
        view: Literal["train", "validation"],
        *,
        seed: int,
        exif: ExifRule = "ignore",
        decoded: DecodedImages | None = None,
    ):
        self.images = images
        self.rows = rows
        self.recipe = recipe
        self.view = view
        self.seed = seed
        self.exif = exif
        self.decoded = decoded

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, row = key
        index = self.rows[row]
        path = self.images.paths[index]
        try:
            pixels = read_image(path, exif=self.exif) if self.decoded is None else self.decoded[path]
        except ImageError as error:
            return {"error": str(error)}
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        if self.view == "train" and self.recipe.views == "random":
            image = train_view(image, self.recipe, view_generator(self.seed, epoch, index))
        else:
            image = validation_view(image, self.recipe.image_size)
        return {"image": image.contiguous(), "label": self.images.labels[index], "index": index}

    def collate(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Items to a batch; files without pixels are named in ``errors``."""
        whole = [item for item in items if "error" not in item]
        return {
            **self.stacked(whole),
            "labels": torch.tensor([item["label"] for item in whole], dtype=torch.int64),
            "indices": torch.tensor([item["index"] for item in whole], dtype=torch.int64),
            "errors": [item["error"] for item in items if "error" in item],
        }

    def stacked(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What the network is fed of items with pixels, of which there may be none."""
        images = [item["image"] for item in items]
        return {"images": torch.stack(images) if images else torch.empty(0, 3, 1, 1, dtype=torch.uint8)}


class LabelledLoader(DataLoader[dict[str, Any]]):
    """Batches ``{"images": uint8 RGB (B, 3, S, S), "labels": int64 (B,), "indices": int64 (B,)}`` of `LabelledViews`.

    Args:
        dataset, sampler, batch_size, workers, pin_memory, drop_last: as in `DataLoader`.
        on_error: a broken file ends the pass ("error"), or its batch goes on without it ("skip") and `skipped` tells.
    """

    def __init__(
        self,
        dataset: LabelledViews,
        *,
        sampler: Any,
        batch_size: int,
        workers: int = 0,
        on_error: Literal["error", "skip"] = "error",
        pin_memory: bool = False,
        drop_last: bool = False,
    ):
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=dataset.collate,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            drop_last=drop_last,
        )
        self.on_error = on_error
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        for batch in super().__iter__():
            errors = batch.pop("errors")
            if errors and (self.on_error == "error" or not len(batch["labels"])):
                self._iterator = None  # lets the workers end now and not when the exception is collected
                raise InputError(
                    f"broken training images: {'; '.join(errors)}. Mend them, or set extract.on_error=skip"
                )
            self.skipped += [error for error in errors if error not in self.skipped]
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Empty: the DataModule takes the position from the trainer's counters. Its presence tells Lightning so."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore; see `state_dict`."""
