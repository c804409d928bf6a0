"""A training bar that says what a waiting person wants to know."""

import json
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from retrieval_bench.settings.whole_file import write_text


class TrainingProgress(Callback):
    """One bar over all steps, with loss, validation mAP and images per second; it also measures the training.

    The bar shows the loss of the last batch, the line of an epoch the mean over its images.

    Args:
        path: where the measures are kept, so that a resumed training counts what came before.
        console: on which it is shown; a quiet one shows nothing.

    Attributes:
        seconds: of the epochs so far, validation included; a piece of an epoch that was lost does not count.
        images: that passed through the network.
    """

    def __init__(self, path: Path, console: Console) -> None:
        self.path = path
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.seconds = float(known.get("seconds", 0))
        self.images = int(known.get("images", 0))
        self._started = 0.0
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("[bold]train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epoch {task.fields[epoch]}  batch loss {task.fields[loss]}  mAP {task.fields[map]}"),
            TextColumn("{task.fields[rate]} images/s"),
            TimeRemainingColumn(),
            console=console,
            disable=console.quiet,
        )

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter() - self.seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar."""
        if not trainer.is_global_zero:
            return
        batches = int(trainer.num_training_batches)
        total = batches * (trainer.max_epochs or 1)
        done = trainer.current_epoch * batches
        self._bar.start()
        self._task = self._bar.add_task("train", total=total, completed=done, epoch="-", loss="-", map="-", rate="-")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance."""
        self.images += len(batch["labels"]) * trainer.world_size
        if self._task is None:
            return
        elapsed = time.perf_counter() - self._started
        loss = trainer.callback_metrics.get("train/loss_step", trainer.callback_metrics.get("train/loss"))
        self._bar.update(
            self._task,
            advance=1,
            epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
            loss="-" if loss is None else f"{float(loss):.3f}",
            rate=f"{self.images / elapsed:.0f}",
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the measures; where there is no terminal to draw on, tell each epoch in a line."""
        self.seconds = time.perf_counter() - self._started
        if not trainer.is_global_zero:
            return
        write_text(self.path, json.dumps({"seconds": self.seconds, "images": self.images}) + "\n")
        if not self._bar.console.is_terminal:
            loss, value = (trainer.callback_metrics.get(name) for name in ("train/loss", "validation/map"))
            known = [f"mean loss {float(loss):.3f}"] if loss is not None else []
            known += [f"validation mAP {100 * float(value):.1f}"] if value is not None else []
            speed = self.images / self.seconds
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self._bar.console.print(", ".join([epoch, *known, f"{speed:.0f} images/s"]), highlight=False, markup=False)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the validation mAP."""
        value = trainer.callback_metrics.get("validation/map")
        if self._task is not None and value is not None:
            self._bar.update(self._task, map=f"{100 * float(value):.1f}")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()
