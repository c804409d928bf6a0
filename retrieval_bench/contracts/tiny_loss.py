"""A loss as its contract builds it."""

import torch
from torch import nn

from retrieval_bench.contracts.contract import Part
from retrieval_bench.contracts.toy_batch import CLASSES, DIM
from retrieval_bench.losses import LOSSES


def build(part: Part, seed: int = 0) -> nn.Module:
    """A loss for descriptors of 16 dimensions and 6 classes."""
    torch.manual_seed(seed)
    loss: nn.Module = LOSSES.create(part.name, part.options, in_channels=DIM, dim=DIM, num_classes=CLASSES)
    return loss
