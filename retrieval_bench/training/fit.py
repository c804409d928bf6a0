"""Training with Lightning: checkpoints, resume, EMA, TensorBoard, progress."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console

from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.settings.run import RuntimeSettings
from retrieval_bench.training.averaging import MovingAverage
from retrieval_bench.training.divergence import Divergence
from retrieval_bench.training.history import History
from retrieval_bench.training.joint_batchnorm import JointStatistics
from retrieval_bench.training.mining import HardNegativeMining
from retrieval_bench.training.pictures import TrainingPictures
from retrieval_bench.training.progress import TrainingProgress
from retrieval_bench.training.starting import PoolingStart
from retrieval_bench.training.validation import RetrievalValidation
from retrieval_bench.weights.reading import read_state


@dataclass(frozen=True)
class Trained:
    """What a training left behind.

    Attributes:
        history: per epoch: losses, learning rate, validation figures.
        seconds: wall-clock time of all its epochs, validation included, also of those before it was resumed.
        images: training images that passed through the network.
        checkpoint: the file with the final weights.
        start_images: training images from which the pooling started; 0: it began without.
        start_seconds: that took, before the first epoch.
    """

    history: list[dict[str, float]]
    seconds: float
    images: int
    checkpoint: Path
    start_images: int = 0
    start_seconds: float = 0.0


def fit(
    model: RetrievalModule,
    data: RetrievalDataModule,
    folder: Path,
    runtime: RuntimeSettings,
    *,
    validate_every: int = 1,
    start_images: int | None = None,
    console: Console | None = None,
) -> Trained:
    """Train `model` in place with its recipe.

    A folder that holds the checkpoint of an unfinished training is continued where it stopped, with the same result as
    an uninterrupted one; a finished training is loaded.

    Args:
        model: its ``recipe`` decides epochs, optimiser and schedule.
        data: training and validation loaders.
        folder: of the run; checkpoints go to ``checkpoints/``, TensorBoard events to ``tensorboard/``.
        runtime: accelerator, devices, precision.
        validate_every: epochs between two validations.
        start_images: the most training images from which the pooling starts; None: as many as it asks for.
        console: where progress is shown; None is stderr.
    """
    console = console or Console(stderr=True)
    recipe = model.recipe
    history = History(folder / "history.json")
    progress = TrainingProgress(folder / "costs.json", console)
    final, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("final", "last"))
    resumed = final.is_file() or last.is_file()
    start = PoolingStart(folder / "start.json", start_images, console, resumed=resumed)
    if final.is_file():
        state, _ = read_state(final)
        model.load_state_dict(state)
        trained_here(model)
        model.eval()
        return Trained(history.rows, progress.seconds, progress.images, final, start.images, start.seconds)
    checkpoints = ModelCheckpoint(
        folder / "checkpoints",
        filename="last",
        save_top_k=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    callbacks: list[Callback] = [
        Divergence(),
        start,
        HardNegativeMining(),
        RetrievalValidation(),
        TrainingPictures(),
        LearningRateMonitor("step"),
        history,
        progress,
        checkpoints,
    ]
    if recipe.ema:
        callbacks.insert(0, MovingAverage(recipe.ema))
    on_gpu = runtime.accelerator != "cpu" and torch.cuda.is_available()
    with quiet():
        trainer = pl.Trainer(
            accelerator=runtime.accelerator,
            devices=runtime.devices,
            precision=precision(runtime),
            max_epochs=recipe.epochs,
            accumulate_grad_batches=recipe.accumulate,
            gradient_clip_val=recipe.clip_norm or None,
            check_val_every_n_epoch=validate_every,
            num_sanity_val_steps=0,
            sync_batchnorm=runtime.devices > 1 and on_gpu,
            plugins=[JointStatistics()] if runtime.devices > 1 and not on_gpu else None,
            use_distributed_sampler=False,
            logger=TensorBoardLogger(folder, name="tensorboard", version=""),
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=10,
        )
        # Lightning keeps the mode it finds, and methods are built in eval mode.
        model.train().to(memory_format=torch.channels_last)
        trainer.fit(model, data, ckpt_path=last if last.is_file() else None, weights_only=True)
    # Another memory layout gives other last bits than the same weights loaded from the file.
    model.to(memory_format=torch.contiguous_format)
    trained_here(model)
    trainer.save_checkpoint(final, weights_only=True)
    model.eval()
    return Trained(history.rows, progress.seconds, progress.images, final, start.images, start.seconds)


def trained_here(model: RetrievalModule) -> None:
    """Let the model say so, and no longer call absent what it has learnt by now."""
    model.weights_source = "trained in this run"
    learnt = {name.rpartition(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.absent_weights = tuple(name for name in model.absent_weights if name.rpartition(".")[0] not in learnt)


def precision(runtime: RuntimeSettings) -> Any:
    """Lightning's precision: as set, or mixed on a GPU and float32 on a CPU."""
    if runtime.precision != "auto":
        return runtime.precision
    if runtime.accelerator == "cpu" or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's notes about hardware and loaders out of the user's way; errors still show."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning")
        warnings.filterwarnings("ignore", module=r"torch\.utils\.data")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
