"""What every loss is, and how it is found by name.

Two kinds: a *classification* loss owns one weight vector per training class, a *metric* loss compares the descriptors
of a batch. Both take descriptors that are not normalised and compute in float32 whatever autocast says, since an
inverse cosine is worthless in half precision.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.registry import Registry

LOSSES = Registry("loss", "retrieval_bench.losses")


def register_loss(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a `ClassificationLoss` or `MetricLoss` class under `name`."""
    return LOSSES.register(name)


def list_losses() -> list[str]:
    """The names of all losses."""
    return LOSSES.names()


class ClassificationLoss(nn.Module, ABC):
    """Cross-entropy over cosines to one weight vector per class.

    A loss of this kind defines `margin_logits` on cosines.

    Args:
        dim: D of the descriptors.
        num_classes: C.
        scale: what cosines are multiplied by.

    Attributes:
        sampler: which batches it is made for, as in recipes; a run takes it where neither user nor recipe chose one.
        instances: images of each class in such a batch; None leaves that to the recipe.
        exact_gradient: whether its gradient is its slope, as contract tests ask; not where a weight is detached.
        weight: ``(C, D)``, Xavier-uniform at first.
    """

    sampler: ClassVar[str] = "shuffle"
    instances: ClassVar[int | None] = None
    exact_gradient: ClassVar[bool] = True

    def __init__(self, dim: int, num_classes: int, scale: float):
        super().__init__()
        self.num_classes = num_classes
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(num_classes, dim))
        nn.init.xavier_uniform_(self.weight)

    @abstractmethod
    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """``(B, C)`` cosines and ``(B,)`` labels -> ``(B, C)`` cosines with the margin, not yet scaled."""

    def cosines(self, descriptors: Tensor) -> Tensor:
        """``(B, D)`` -> ``(B, C)`` cosines to the classes in [-1, 1], float32 (float64 for float64 descriptors)."""
        with torch.autocast(descriptors.device.type, enabled=False):
            exact = descriptors if descriptors.dtype == torch.float64 else descriptors.float()
            weight = self.weight.to(exact.dtype)
            # Unit weights would be a second copy of them and a third for their gradient: many classes make that GBs.
            lengths = torch.linalg.vector_norm(weight, dim=1).clamp(min=1e-12)
            return (F.linear(F.normalize(exact, dim=1), weight) / lengths).clamp(-1, 1)

    def logits(self, descriptors: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, D)`` -> ``(B, C)`` logits, with the margin where labels are given, in training and evaluation alike.

        Raises:
            InputError: labels of another shape or outside 0 .. C-1.
        """
        cosines = self.cosines(descriptors)
        if labels is None:
            return self.scale * cosines
        check_labels(labels, len(descriptors), self.num_classes)
        with torch.autocast(descriptors.device.type, enabled=False):
            return self.scale * self.margin_logits(cosines, labels)

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """``(B, D)`` and ``(B,)`` -> mean cross-entropy of the margin logits."""
        logits = self.logits(descriptors, labels)
        with torch.autocast(descriptors.device.type, enabled=False):
            return F.cross_entropy(logits, labels)


class MetricLoss(nn.Module, ABC):
    """A loss on the descriptors of a batch; images with one label belong together.

    Each process of a distributed run compares the images of its own batch. Batch attention gives a loss several rows of
    each image. A `batch_loss` that names ``images`` is told which they are, and counts no pair of them; one that does
    not takes them for different images.

    Attributes:
        sampler, instances, exact_gradient: as in `ClassificationLoss`.
    """

    sampler: ClassVar[str] = "class-balanced"
    instances: ClassVar[int | None] = None
    exact_gradient: ClassVar[bool] = True

    @abstractmethod
    def batch_loss(self, descriptors: Tensor, labels: Tensor, images: Tensor | None = None) -> Tensor:
        """``(B, D)`` unit descriptors, float32 at least, and ``(B,)`` labels -> a scalar.

        ``(B,)`` images are equal where rows are of one image; None: every row is an image of its own.
        """

    def forward(self, descriptors: Tensor, labels: Tensor, images: Tensor | None = None) -> Tensor:
        """``(B, D)`` descriptors, normalised here, and ``(B,)`` labels -> a scalar; ``images`` as in `batch_loss`.

        Raises:
            InputError: labels or images of another shape, or labels below 0.
        """
        check_labels(labels, len(descriptors), None)
        if images is not None and images.shape != labels.shape:
            raise InputError(f"images must be one number per label, got {tuple(images.shape)} for {len(labels)} labels")
        with torch.autocast(descriptors.device.type, enabled=False):
            exact = descriptors if descriptors.dtype == torch.float64 else descriptors.float()
            unit = F.normalize(exact, dim=1)
            if images is None or "images" not in inspect.signature(self.batch_loss).parameters:
                return self.batch_loss(unit, labels)
            return self.batch_loss(unit, labels, images)


def check_labels(labels: Tensor, batch: int, num_classes: int | None) -> None:
    """Raise an `InputError` where labels are not ``(batch,)`` integers in ``0 .. num_classes - 1``."""
    if labels.shape != (batch,) or labels.dtype.is_floating_point or labels.dtype == torch.bool:
        shown = f"{str(labels.dtype).removeprefix('torch.')} {tuple(labels.shape)}"
        raise InputError(f"labels must be ({batch},) integers, one per descriptor, got {shown}")
    if batch == 0:
        raise InputError("a loss needs at least one descriptor, got an empty batch")
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or (num_classes is not None and high >= num_classes):
        allowed = f"0 .. {num_classes - 1}" if num_classes is not None else "0 or more"
        raise InputError(f"labels must be {allowed}, got {low} to {high}; set num_classes to the training set's")
