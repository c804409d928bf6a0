"""What every batch attention is, how it is found by name, and how a loss gets it.

It stands between descriptor and loss in training and nowhere in evaluation: descriptors never depend on other images.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from retrieval_bench.settings.errors import InputError
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

    A constructor that names ``dim`` is given the D of the descriptors; everything else is an option. What is drawn at
    random is drawn from state of its own (see `batchformer.seeded`), so that an interrupted training goes on as it
    would have.

    Attributes:
        order_matters: whether the order of a batch changes what an image becomes; None says nothing, and contract
            tests measure it.
    """

    order_matters: ClassVar[bool | None] = None

    @abstractmethod
    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, D)`` descriptors, not normalised, float32 at least, and ``(B,)`` labels -> ``(S B, D)`` and ``(S B,)``.

        The loss is computed on S streams, one behind the other, each with the images of the batch in their order and so
        with their labels. As a rule the first is what came in, which makes descriptors fit for use without the others.
        """


def attach(loss: nn.Module, attention: BatchAttention) -> None:
    """Let `loss`, called on descriptors and labels in training mode, see what `attention` makes of them.

    The loss stays what it is and holds the attention as its submodule ``batch_attention``. Its other methods, such as
    the cosines of a classification loss, work on descriptors as they come.

    A loss whose ``forward`` names ``images``, as that of every `MetricLoss`, is told which rows are of one image.
    Otherwise every image would have its own copy for an easy positive: one that has no other in the batch would count,
    and the first places of every ranking would be taken.
    """
    loss.add_module("batch_attention", attention)
    loss.register_forward_pre_hook(_attended, with_kwargs=True)


def _attended(
    loss: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Tensor, Tensor], dict[str, Any]] | None:
    if not loss.training:
        return None
    descriptors, labels = inputs
    attention = cast(BatchAttention, loss.batch_attention)
    with torch.autocast(descriptors.device.type, enabled=False):
        exact = descriptors if descriptors.dtype == torch.float64 else descriptors.float()
        rows, their_labels = attention(exact, labels)
    streams, rest = divmod(len(rows), len(labels))
    if rest:
        raise InputError(
            f"{type(attention).__name__} made {len(rows)} rows of {len(labels)} images; a batch attention makes one or "
            "more of every image"
        )
    if "images" in inspect.signature(loss.forward).parameters:
        named = {**named, "images": torch.arange(len(labels), device=labels.device).repeat(streams)}
    return (rows, their_labels), named
