"""Small models of a method, and what they are given in checks."""

from typing import Any

import torch
from torch import Tensor

from retrieval_bench.contracts.contract import Part
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.registry import METHODS, create_model

TINY: dict[str, Any] = {"backbone": "test_resnet", "dim": 16, "num_classes": 3}
"""timm's smallest ResNet: 0.4 million parameters."""


def takes(part: Part, option: str) -> bool:
    """Whether the constructor has the parameter `option`."""
    return option in METHODS.options(part.name)


def build(part: Part, seed: int = 0, **given: Any) -> RetrievalModule:
    """A method with a tiny backbone, 16-D, for three classes, in eval mode; whatever is given comes first."""
    tiny = {key: value for key, value in TINY.items() if takes(part, key)}
    torch.manual_seed(seed)
    return create_model(part.name, **{**tiny, **part.options, **given})


def pictures(batch: int, height: int, width: int) -> Tensor:
    """Seeded images ``(B, 3, H, W)`` in [0, 1]."""
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def step(model: RetrievalModule, images: Tensor, labels: Tensor, optimiser: torch.optim.Optimizer) -> None:
    """One step of training."""
    optimiser.zero_grad()
    model.losses(images, labels)["loss"].backward()
    optimiser.step()


def optimiser_of(model: RetrievalModule, lr: float) -> torch.optim.Optimizer:
    """Plain gradient descent on what is trained."""
    return torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=lr)
