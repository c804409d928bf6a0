"""One run of Lightning's predict loop that leaves the model as it found it."""

import logging
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import Tensor

from retrieval_bench.extraction.describing import DescribingModel
from retrieval_bench.settings.errors import InputError

_LIGHTNING_LOGGERS = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")


class ChannelsLast(pl.Callback):
    """Lay the images of each batch out as `torch.channels_last` on the device."""

    def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: Any) -> None:
        """Replace the batch's images, if it has some."""
        if "images" in batch:
            batch["images"] = batch["images"].contiguous(memory_format=torch.channels_last)


def run_predict(
    model: DescribingModel,
    batches: Iterable[Any],
    callbacks: Sequence[pl.Callback],
    *,
    scales: Sequence[float] | None,
    local: bool,
    accelerator: str = "auto",
    devices: list[int] | int = 1,
    precision: str = "32-true",
) -> None:
    """Run `model.predict_step` on every batch, on one device, in inference mode; callbacks take what comes out.

    Args:
        batches: what `predict_step` takes.
        scales, local: see `DescribingModel`.
        accelerator, devices: as in `pytorch_lightning.Trainer`.
        precision: as there; see `effective_precision`.
    """
    with _quiet_lightning(), _as_it_was(model, scales, local) as module:
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=devices,
            precision=cast(Any, precision),
            callbacks=[ChannelsLast(), *callbacks],
            # A cluster's task count must not turn an extraction of one process into a distributed one.
            plugins=[LightningEnvironment()],
            inference_mode=True,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        with _interruptible(trainer):
            trainer.predict(module, dataloaders=batches, return_predictions=False)


def on_gpu(accelerator: str) -> bool:
    """Whether Lightning would run on a CUDA device."""
    return accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())


def effective_precision(precision: str | None, accelerator: str) -> str:
    """The arithmetic that is used: `precision` on a GPU, "32-true" where it is None and everywhere else.

    Raises:
        InputError: not one of 32-true, 16-mixed, bf16-mixed.
    """
    if precision not in (None, "32", "32-true", "16-mixed", "bf16-mixed"):
        raise InputError(f"precision {precision!r} is not known; use 32-true, 16-mixed or bf16-mixed")
    return precision if precision in ("16-mixed", "bf16-mixed") and on_gpu(accelerator) else "32-true"


def require_finite(rows: Tensor, descriptors: Tensor, names: Sequence[str]) -> None:
    """Refuse descriptors ``(B, D)`` of `rows` with NaN or infinite values.

    Raises:
        InputError: naming the images.
    """
    broken = rows[~torch.isfinite(descriptors).all(dim=1)].tolist()
    if broken:
        listed = ", ".join(names[row] for row in broken[:5]) + (", ..." if len(broken) > 5 else "")
        raise InputError(
            f"the descriptors of {len(broken)} images are not finite: {listed}; check the weights, or extract with "
            "precision 32-true where it was a mixed one"
        )


@contextmanager
def _as_it_was(model: DescribingModel, scales: Sequence[float] | None, local: bool) -> Iterator[pl.LightningModule]:
    """Set the model up for the pass; afterwards its device, trainer, memory layout and attributes are the old ones."""
    module = cast(pl.LightningModule, model)
    device, trainer = module.device, module._trainer
    before = model.extraction_scales, model.extract_local
    model.extraction_scales, model.extract_local = None if scales is None else tuple(scales), local
    # Module.to converts tensors of four dimensions only; its stubs know no call with nothing but a layout.
    cast(Any, module).to(memory_format=torch.channels_last)
    try:
        yield module
    finally:
        model.extraction_scales, model.extract_local = before
        cast(Any, module).to(device, memory_format=torch.contiguous_format)
        module._trainer = trainer


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's remarks on devices, workers and batch indices away from the user; its errors still come."""
    loggers = [logging.getLogger(name) for name in _LIGHTNING_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning(\.|$)")
            warnings.filterwarnings("ignore", module=r"lightning_fabric(\.|$)")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Ctrl+C stays a `KeyboardInterrupt`; Lightning would exit the process and leave the signal ignored."""
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main else None
    try:
        yield
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        if in_main and handler is not None:
            signal.signal(signal.SIGINT, handler)
