"""mAP on the validation retrieval split after every validated epoch."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from retrieval_bench.evaluation import evaluate
from retrieval_bench.search import search
from retrieval_bench.values.dataset import GroundTruth


def leave_one_out(labels: Tensor) -> GroundTruth:
    """Ground truth in which each image asks for the others of its label; the image itself is junk."""
    rows = torch.arange(len(labels))
    return [
        {"easy": rows[(labels == label) & (rows != row)].tolist(), "hard": [], "junk": [row]}
        for row, label in enumerate(labels.tolist())
    ]


class RetrievalValidation(Callback):
    """Logs ``validation/map``: leave-one-out mAP over the retrieval validation loader."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the module described."""
        if isinstance(outputs, Mapping) and "descriptors" in outputs:
            self._parts.append(
                (outputs["indices"].cpu(), outputs["descriptors"].float().cpu(), outputs["labels"].cpu())
            )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather the ranks' parts, search, evaluate and log."""
        parts, self._parts = self._parts, []
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            gathered: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, parts)
            parts = [part for rank in gathered for part in rank]
        if not parts:
            return
        indices, descriptors, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        order = indices.argsort()
        ranking = search(descriptors[order], descriptors[order])
        result = evaluate(ranking, leave_one_out(labels[order]))
        pl_module.log("validation/map", float(result.map_easy), rank_zero_only=True)
