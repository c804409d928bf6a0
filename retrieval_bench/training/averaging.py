"""The moving average of the weights over the steps of a training."""

import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor


class MovingAverage(EMAWeightAveraging):
    """Exponential moving average that leaves what does not change as it is, to the last bit.

    ``decay * w + (1 - decay) * w`` is not w in floating point: frozen weights would drift by rounding, and would no
    longer be those of the file that they came from.

    Args:
        decay: share of the average that each step keeps.
    """

    def __init__(self, decay: float):
        super().__init__(decay=decay)
        self._kwargs["avg_fn"] = lambda average, current, _: moved(average, current, decay)


def moved(average: Tensor, current: Tensor, decay: float) -> Tensor:
    """One step of the average, of any shape; exact where both are equal."""
    return torch.where(average == current, average, decay * average + (1 - decay) * current)
