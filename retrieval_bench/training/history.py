"""The training curve as data: one row per epoch, kept in a file so that a resumed run has all of it."""

import json
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from retrieval_bench.settings.whole_file import write_text


class History(Callback):
    """Collects losses, learning rate and validation figures per epoch.

    Attributes:
        rows: one mapping per finished epoch; ``epoch`` counts from 1.
    """

    def __init__(self, path: Path):
        self.path = path
        self._validated = False
        self.rows: list[dict[str, float]] = json.loads(path.read_text()) if path.is_file() else []

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning keeps old validation figures: remember that this epoch has its own."""
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add this epoch's figures."""
        epoch = trainer.current_epoch + 1
        figures = {
            name.removesuffix("_epoch"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(("train/", "validation/") if self._validated else "train/")
            and not name.endswith("_step")
        }
        self._validated = False
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        self.rows = [row for row in self.rows if row["epoch"] < epoch]
        self.rows.append({"epoch": float(epoch), "lr": rate, **figures})
        if trainer.is_global_zero:
            write_text(self.path, json.dumps(self.rows, indent=1) + "\n")
