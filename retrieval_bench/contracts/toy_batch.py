"""The batch on which losses, and what stands in front of them, are checked."""

import torch
from torch import Tensor

DIM, CLASSES = 16, 6


def batch(count: int = 24) -> tuple[Tensor, Tensor]:
    """The first of 24 descriptors, four of each class, near their class centres: ``(count, 16)`` and ``(count,)``."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(24) % CLASSES
    centres = torch.randn(CLASSES, DIM, generator=generator)
    descriptors = 3 * centres[labels] + 2 * torch.randn(24, DIM, generator=generator)
    return descriptors[:count], labels[:count]
