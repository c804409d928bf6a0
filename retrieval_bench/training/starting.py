"""Before the first step: a pooling that begins from data is shown training images."""

import json
import time
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.starting import start_images, start_pooling
from retrieval_bench.settings.whole_file import write_text


class PoolingStart(Callback):
    """Lets the pooling of a method start from centre views of training images, drawn from the seed of the data.

    It does so when a training begins; one that is resumed has what it then found. Every process of a distributed run
    computes it, and takes the result of the first.

    Args:
        path: where it is kept what was done, so that a resumed training tells the same.
        limit: the most images; None: as many as the pooling asks for.
        resumed: whether the training goes on from a checkpoint.
        console: on which it is told.

    Attributes:
        images: from which it started; 0: it did not.
        seconds: they took.
    """

    def __init__(self, path: Path, limit: int | None, console: Console, *, resumed: bool):
        self.path = path
        self.limit = limit
        self.console = console
        self.resumed = resumed
        known = json.loads(path.read_text(encoding="utf-8")) if resumed and path.is_file() else {}
        self.images = int(known.get("images", 0))
        self.seconds = float(known.get("seconds", 0))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start, if it is time to: Lightning has put the model on its device, and nothing is mined with it yet."""
        assert isinstance(pl_module, RetrievalModule)
        wanted = start_images(pl_module, self.limit)
        if self.resumed or not wanted or not trainer.max_epochs:
            return
        data: RetrievalDataModule = trainer.datamodule  # type: ignore[attr-defined]
        generator = torch.Generator().manual_seed(data.seed)
        rows = torch.randperm(len(data.train_rows), generator=generator)[:wanted].sort().values.tolist()
        console = self.console if trainer.is_global_zero else Console(quiet=True)
        began = time.perf_counter()
        columns = (TextColumn("[bold]start"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(
            *columns, console=console, transient=True, disable=console.quiet or not console.is_terminal
        ) as bar:
            task = bar.add_task("start", total=len(rows))
            self.images = start_pooling(
                pl_module,
                data.mining_dataloader(rows),
                generator,
                fill=data.recipe.batch_size,
                arithmetic=trainer.precision_plugin.forward_context,
                advance=lambda count: bar.advance(task, count),
            )
        if trainer.world_size > 1:
            pooling = cast(nn.Module, pl_module.pooling)
            state = {name: value.cpu() for name, value in pooling.state_dict().items()}
            pooling.load_state_dict(trainer.strategy.broadcast(state))
        self.seconds = time.perf_counter() - began
        name = pl_module.settings["pooling"]["name"]
        console.print(
            f"{name} starts from {self.images} training images, {self.seconds:.1f} s", highlight=False, markup=False
        )
        if trainer.is_global_zero:
            write_text(self.path, json.dumps({"images": self.images, "seconds": self.seconds}) + "\n")
