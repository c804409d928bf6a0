"""The pass that fills a feature store, and the callback that writes it to disk."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from retrieval_bench.frozen.form import packed
from retrieval_bench.frozen.shard import About, Batch, shard_name, write_shard
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.filling import filled_features
from retrieval_bench.settings.errors import InputError

SHARD_BYTES = 1 << 27
"""Of a shard, to the next whole batch: what a killed run loses at most."""


class FeatureReader(pl.LightningModule):
    """What the backbone of a model makes of images, as a predict loop asks for it.

    Args:
        model: in evaluation mode.
        scales: of the image pyramid; None: images go through as they are, as in training.
        fill: without a pyramid, smaller batches are filled up to so many images: those of training go in batches of one
            size.
    """

    def __init__(self, model: RetrievalModule, scales: Sequence[float] | None, fill: int = 1):
        super().__init__()
        self.fill = fill
        self.model = model
        self.scales = scales
        self.method = model.method
        self.settings = model.settings
        self.protocol = model.protocol
        self.has_local_features = False
        self.extraction_scales: tuple[float, ...] | None = None
        self.extract_local = False

    @torch.no_grad()
    def predict_step(self, batch: Mapping[str, Any], batch_idx: int = 0) -> dict[str, Any]:
        """``indices`` and ``images`` of one shape -> ``indices`` and ``pyramid``."""
        if self.scales is None:
            features = filled_features(self.model, batch["images"], self.fill)
            return {"indices": batch["indices"], "pyramid": [(1.0, features)]}
        return {"indices": batch["indices"], "pyramid": list(self.model.pyramid(batch["images"], self.scales))}


class ShardWriter(pl.Callback):
    """Collects whole batches and writes a shard once they are large enough.

    Args:
        folder: of the unfinished store.
        names: of all rows, for errors.
        number: of the next shard.
        dtype: see `form.packed`.
        advance: told how many images each batch had.
        shard_bytes: see `SHARD_BYTES`.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        number: int,
        *,
        dtype: str,
        advance: Callable[[int], None],
        shard_bytes: int = SHARD_BYTES,
    ):
        self.folder = folder
        self.names = names
        self.number = number
        self.dtype = dtype
        self.advance = advance
        self.shard_bytes = shard_bytes
        self._since = time.perf_counter()
        self._clear()

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Take a batch; write a shard when it is full."""
        rows = outputs["indices"].tolist()
        self._content.skipped += batch["skipped"]
        forms: dict[str, Sequence[str]] = {}
        for level, (_, features) in enumerate(outputs["pyramid"]):
            for name, (value, form) in packed(features, self.dtype).items():
                self._require_finite(value, rows)
                self._tensors[f"{len(self._content.batches)}/{level}/{name}"] = value
                self._bytes += value.nbytes
                forms[f"{level}/{name}"] = form
        scales = [float(scale) for scale, _ in outputs["pyramid"]]
        height, width = batch["images"].shape[-2:]
        self._content.batches.append(Batch(rows, scales, (height, width), forms))
        self.advance(len(rows) + len(batch["skipped"]))
        if self._bytes >= self.shard_bytes:
            self.write()

    def write(self, skipped: Sequence[tuple[int, str]] = ()) -> None:
        """Write what was collected, and rows without pixels at the end, as the next shard, if there is anything."""
        self._content.skipped += skipped
        if not self._content.batches and not self._content.skipped:
            return
        now = time.perf_counter()
        self._content.seconds = now - self._since
        write_shard(self.folder / shard_name(self.number), self._tensors, self._content)
        self.number += 1
        self._since = now
        self._clear()

    def _clear(self) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._content = About()
        self._bytes = 0

    def _require_finite(self, value: Tensor, rows: Sequence[int]) -> None:
        if not bool(torch.isfinite(value).all()):
            broken = torch.tensor(rows)[~torch.isfinite(value.flatten(1)).all(dim=1)].tolist()
            listed = ", ".join(self.names[row] for row in broken[:5])
            raise InputError(f"the feature maps of {listed} are not finite; check the backbone's weights")
