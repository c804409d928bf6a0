"""What every pooling head is, and how it is found by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.faults import fault_of
from retrieval_bench.settings.registry import Registry
from retrieval_bench.values.features import Features

Need = Literal["earlier stage", "tokens"]

POOLINGS = Registry("pooling", "retrieval_bench.pooling")


class Pooling(nn.Module, ABC):
    """A feature map becomes one vector per image.

    The constructor takes ``in_channels`` (C) first. Every other parameter is an option, but for ``earlier_channels``
    and ``token_channels``, which a constructor that names them is given: the widths of what `needs` asks for.

    Attributes:
        out_channels: C', set by the constructor.
        needs: what `forward` takes after the map, in this order: ``"earlier stage"``, the map ``(B, C_e, H_e, W_e)``
            of the stage before the last; ``"tokens"``, ``(B, T, C_t)``, the class token first. Backbones that have
            none are refused.
        order_matters: whether the result depends on where in the map a value stands. Where it is declared, the contract
            tests hold it; None declares nothing.
        whole_map: whether every position and channel of a map can change the result, as contract tests ask; not where
            some are left out on purpose.
        exact_gradient: whether its gradient is its slope, as contract tests ask; not where something is detached.
        start_images: how many training images `start_from` would see; 0: it is never called. An instance may say
            otherwise than its class.
    """

    out_channels: int
    needs: ClassVar[tuple[Need, ...]] = ()
    order_matters: ClassVar[bool | None] = None
    whole_map: ClassVar[bool] = True
    exact_gradient: ClassVar[bool] = True
    start_images: int = 0

    @abstractmethod
    def forward(self, feature_map: Tensor, *needed: Any, **options: Any) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C')`` of the same dtype, not normalised; any H and W from 1 up."""

    @classmethod
    def needs_with(cls, options: Mapping[str, Any]) -> tuple[Need, ...]:
        """`needs` of a head that is built with these options; to be overridden where they decide."""
        return cls.needs

    def start_from(self, inputs: Iterable[tuple[Tensor, ...]], generator: torch.Generator) -> None:
        """Set initial values from training images; to be overridden where they begin from data.

        A training calls it once, in evaluation mode and without gradients, before its first step: not when it resumes,
        nor where a file gave the pooling's tensors. A network that is not trained keeps its random ones.

        Args:
            inputs: what `forward` takes, batch by batch, of centre views of `start_images` training images or fewer, in
                float32; to be read once.
            generator: on the CPU, of all random draws.
        """

    def needed(self, features: Features) -> tuple[Tensor, ...]:
        """What `forward` takes after the map."""
        found = {"earlier stage": lambda: features.maps[-2], "tokens": lambda: cast(Tensor, features.tokens)}
        return tuple(found[need]() for need in self.needs)


def pool(pooling: Pooling, feature_map: Tensor, features: Features) -> Tensor:
    """``(B, C, H, W)`` and what else the backbone gave -> ``(B, C')``.

    Raises:
        InputError: the pooling gave anything else.
    """
    vectors = pooling(feature_map, *pooling.needed(features))
    # B is left alone: it may be symbolic where the model is exported.
    if not isinstance(vectors, Tensor) or vectors.ndim != 2 or vectors.shape[1] != pooling.out_channels:
        given = tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
        raise InputError(fault_of(type(pooling), f"gave {given}, not {(len(feature_map), pooling.out_channels)}"))
    return vectors


def register_pooling(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a `Pooling` class under `name`."""
    return POOLINGS.register(name)


def list_poolings() -> list[str]:
    """The names of all pooling heads."""
    return POOLINGS.names()
