"""Small models of every method, and checkpoints of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import retrieval_bench as rb
from retrieval_bench.methods.base import RetrievalModule

TINY = "test_resnet"
"""timm's smallest ResNet: 0.4 million parameters."""


@pytest.fixture
def build() -> Callable[..., RetrievalModule]:
    """Build a method with a tiny backbone, 16-D, for three classes, from a seed; whatever is given comes first."""

    def make(method: str, seed: int = 0, **given: Any) -> RetrievalModule:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return rb.create_model(method, **{"backbone": TINY, "dim": 16, "num_classes": 3, **given})

    return make


@pytest.fixture
def save() -> Callable[..., Path]:
    """Write a model's own checkpoint as Lightning would, and return its path."""

    def write(model: RetrievalModule, path: Path, **changed: Any) -> Path:
        content: dict[str, Any] = {"state_dict": model.state_dict()}
        model.on_save_checkpoint(content)
        torch.save(content | changed, path)
        return path

    return write


@pytest.fixture
def pictures() -> Callable[..., Tensor]:
    """Seeded images ``(B, 3, H, W)`` in [0, 1]."""

    def draw(*shape: int, seed: int = 0) -> Tensor:
        batch, height, width = shape
        return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))

    return draw
