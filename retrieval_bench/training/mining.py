"""Hard negatives from the descriptors of the model as it is now, again and again while it trains."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.cvnet.mining import hard_neighbours
from retrieval_bench.methods.merging import unit


class HardNegativeMining(Callback):
    """Before every ``mine_every``-th epoch, let the DataModule know the nearest images of other classes of each one.

    It does so where the recipe's sampler is hard-negatives. Each mining describes all training images once, on every
    process of a distributed run. Checkpoints hold what was mined, so a resumed run goes on with the same.
    """

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mine, if it is time to."""
        assert isinstance(pl_module, RetrievalModule)
        recipe = pl_module.recipe
        if recipe.sampler != "hard-negatives" or trainer.current_epoch % recipe.mine_every:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        with trainer.precision_plugin.forward_context():
            data.remember(neighbours=nearest_of_other_classes(pl_module, data.mining_dataloader()))


@torch.no_grad()
def nearest_of_other_classes(model: RetrievalModule, loader: Any) -> Tensor:
    """The images of other classes whose descriptors are most alike.

    Args:
        model: describes in evaluation mode, at one scale; it is left in the mode it was in.
        loader: batches of ``images`` or stored ``features``, ``labels`` and ``indices``, of a dataset of N images.

    Returns:
        ``(N, K)`` int64 on the CPU, by index, best first; -1 for images that the loader left out.

    Raises:
        InputError: all images are of one class.
    """
    training = model.training
    model.eval()
    parts = []
    for batch in loader:
        described = unit(model.head(model.batch_features(batch)))
        parts.append((described.float().cpu(), batch["labels"].cpu(), batch["indices"].cpu()))
    model.train(training)
    descriptors, labels, indices = (torch.cat(column) for column in zip(*parts, strict=True))
    neighbours = indices[hard_neighbours(descriptors, labels, device=model.device)]
    return torch.full((len(loader.dataset), neighbours.shape[1]), -1).index_copy(0, indices, neighbours)
