"""What every batch attention is, how it is found by name, and how a loss gets it.

It stands between descriptor and loss in training and nowhere in evaluation: descriptors never depend on other images.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from retrieval_bench.settings.registry import Registry

BATCH_ATTENTIONS = Registry("batch attention", "retrieval_bench.batch_attention")


def register_batch_attention(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a `BatchAttention` class under `name`."""
    return BATCH_ATTENTIONS.register(name)


def list_batch_attentions() -> list[str]:
    """The names of all batch attentions."""
    return BATCH_ATTENTIONS.names()


class BatchAttention(nn.Module, ABC):
    """Descriptors of a training batch -> those that the loss sees.

    A constructor that names ``dim`` is given the D of the descriptors; everything else is an option.
    """

    @abstractmethod
    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, D)`` descriptors, not normalised, float32 at least, and ``(B,)`` labels -> ``(N, D)`` and ``(N,)``.

        The loss is computed on these N; as a rule they begin with the B that came in.
        """


def attach(loss: nn.Module, attention: BatchAttention) -> None:
    """Let `loss`, called on descriptors and labels in training mode, see what `attention` makes of them.

    The loss stays what it is and holds the attention as its submodule ``batch_attention``. Its other methods, such as
    the cosines of a classification loss, work on descriptors as they come.
    """
    loss.add_module("batch_attention", attention)
    loss.register_forward_pre_hook(_attended)


def _attended(loss: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor, Tensor] | None:
    if not loss.training:
        return None
    descriptors, labels = inputs
    attention = cast(BatchAttention, loss.batch_attention)
    with torch.autocast(descriptors.device.type, enabled=False):
        exact = descriptors if descriptors.dtype == torch.float64 else descriptors.float()
        attended: tuple[Tensor, Tensor] = attention(exact, labels)
    return attended
