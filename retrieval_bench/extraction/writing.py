"""The callback that writes descriptors and local features to disk while the predict loop runs."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from retrieval_bench.data.loading import loaded_size
from retrieval_bench.extraction.feed import SkippedRow
from retrieval_bench.extraction.local_store import shard_path, write_local_shard
from retrieval_bench.extraction.parts import Finished, write_part
from retrieval_bench.extraction.predicting import require_finite
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.dataset import ImageList
from retrieval_bench.values.local_features import LocalFeatures


class PartWriter(pl.Callback):
    """Collects whole batches and writes a part once it holds `part_images` images or more.

    Args:
        folder: of the unfinished store.
        images: the image list.
        protocol: how its images are read.
        finished: the parts there are; counts on.
        dtype: of the stored descriptors, global and local.
        local: whether local features are written too.
        part_images: images of a part, to the next whole batch.
        advance: told how many images each batch had.

    Attributes:
        described: images that went through the network.
    """

    def __init__(
        self,
        folder: Path,
        images: ImageList,
        protocol: Protocol,
        finished: Finished,
        *,
        dtype: torch.dtype,
        local: bool,
        part_images: int,
        advance: Callable[[int], None],
    ):
        self.folder = folder
        self.images = images
        self.unlimited = protocol.model_copy(update={"image_size": None})
        self.finished = finished
        self.dtype = dtype
        self.local = local
        self.part_images = part_images
        self.advance = advance
        self.described = 0
        self._since = time.perf_counter()
        self._clear()

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Take a batch's descriptors; write a part when it is full."""
        rows = outputs["indices"].cpu()
        descriptors = outputs["descriptors"].cpu().to(self.dtype)
        require_finite(rows, descriptors, self.images.names)
        self._rows += rows.tolist()
        self._descriptors.append(descriptors)
        self._skipped += batch["skipped"]
        if self.local:
            self._take_local(outputs, batch["fed"] if "fed" in batch else batch["images"].shape[-2:])
        self.described += len(rows)
        self.advance(len(rows) + len(batch["skipped"]))
        if len(self._rows) >= self.part_images:
            self.write()

    def write(self) -> None:
        """Write what was collected as the next part, if there is anything."""
        if not self._rows:
            return
        number = self.finished.parts
        if self.local:
            write_local_shard(shard_path(self.folder, number), self._rows, self._features, self.dtype)
        now = time.perf_counter()
        write_part(self.folder, number, self._rows, torch.cat(self._descriptors), self._skipped, now - self._since)
        self.finished.parts += 1
        self.finished.rows += self._rows
        self.finished.skipped += self._skipped
        self.finished.seconds += now - self._since
        self._since = now
        self._clear()

    def _clear(self) -> None:
        self._rows: list[int] = []
        self._descriptors: list[Tensor] = []
        self._skipped: list[SkippedRow] = []
        self._features: list[LocalFeatures] = []

    def _take_local(self, outputs: Mapping[str, Any], shape: tuple[int, int]) -> None:
        features = outputs["local_features"]
        rows = outputs["indices"].tolist()
        if len(features) != len(rows):
            raise InputError(f"the model returned local features of {len(features)} images for a batch of {len(rows)}")
        for row, item in zip(rows, features, strict=True):
            size = loaded_size(self.images.paths[row], self.images.boxes[row], self.unlimited)
            self._features.append(in_original_pixels(item, (shape[1], shape[0]), size))


def in_original_pixels(features: LocalFeatures, fed: tuple[int, int], original: tuple[int, int]) -> LocalFeatures:
    """Keypoints of a shrunk image in pixels of the image before its size limit.

    Args:
        features: with keypoints in pixels of what the network was fed.
        fed: width and height of that.
        original: width and height of the whole image, or of its crop.
    """
    factors = torch.tensor([original[0] / fed[0], original[1] / fed[1]], device=features.keypoints.device)
    return LocalFeatures(features.keypoints * factors, features.descriptors, features.scores, features.scales)
