"""Pictures for TensorBoard: what a batch looks like, and where the attention lies."""

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.utils import make_grid

SHOWN = 16
"""Images of a batch that are drawn."""


class TrainingPictures(Callback):
    """Draws the first training batch, and after each validated epoch the attention over held-out images.

    A module with an ``attention_maps(images) -> (B, 1, H, W)`` has its attention drawn. Batches of stored features have
    no images to draw.
    """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw the first batch of the run."""
        if trainer.global_step == 0 and batch_idx == 0 and "images" in batch:
            self._draw(trainer, "train/batch", make_grid(batch["images"][:SHOWN], nrow=4))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the attention over the first validation batch."""
        attention = getattr(pl_module, "attention_maps", None)
        if batch_idx == 0 and dataloader_idx == 0 and attention is not None and "images" in batch:
            images = batch["images"][:SHOWN]
            self._draw(trainer, "validation/attention", make_grid(overlay(images, attention(images)), nrow=4))

    def _draw(self, trainer: pl.Trainer, name: str, picture: Tensor) -> None:
        if trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_image(name, picture.cpu(), trainer.global_step)


def overlay(images: Tensor, scores: Tensor) -> Tensor:
    """Images dimmed where the attention is low.

    Args:
        images: ``(B, 3, H, W)`` uint8.
        scores: ``(B, 1, h, w)`` positive.

    Returns:
        ``(B, 3, H, W)`` uint8.
    """
    resized = F.interpolate(scores.float(), size=images.shape[-2:], mode="bilinear", align_corners=False)
    highest = resized.amax(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return (images * (0.2 + 0.8 * resized / highest)).round().to(torch.uint8)
