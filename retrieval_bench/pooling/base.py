"""What every pooling head is, and how it is found by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from retrieval_bench.settings.registry import Registry

POOLINGS = Registry("pooling", "retrieval_bench.pooling")


class Pooling(nn.Module, ABC):
    """A feature map becomes one vector per image.

    The constructor takes ``in_channels`` (C) first; every other parameter is an option. It sets `out_channels` (C').
    """

    out_channels: int

    @abstractmethod
    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C')`` of the same dtype, not normalised; any H and W from 1 up."""


def register_pooling(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a `Pooling` class under `name`."""
    return POOLINGS.register(name)


def list_poolings() -> list[str]:
    """The names of all pooling heads."""
    return POOLINGS.names()
