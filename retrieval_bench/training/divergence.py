"""A training whose weights broke ends at once, and its last checkpoint is one from which it can go on."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from retrieval_bench.settings.errors import InputError


class Divergence(Callback):
    """Ends a training at the end of an epoch after which weights are no longer finite.

    Losses are not looked at: one that half precision overflowed in costs a step, not the training. It goes before the
    callback that writes checkpoints.
    """

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at all weights before descriptors are made with them."""
        check_finite(pl_module, trainer.current_epoch + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at all weights, as not every epoch has a validation."""
        check_finite(pl_module, trainer.current_epoch + 1)


def check_finite(model: nn.Module, epoch: int) -> None:
    """Raise an `InputError` where weights or buffers of a model hold NaN or infinity.

    Args:
        epoch: after which this is, counted from 1.
    """
    for name, weight in model.state_dict().items():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise InputError(
                f"training diverged: after epoch {epoch} the weights {name} are not finite; "
                "set train.lr lower, train.clip_norm=1 or runtime.precision=32-true"
            )
