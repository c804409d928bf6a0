"""What a loss owes whatever a batch is made of."""

import inspect
from unittest import SkipTest

import torch

from retrieval_bench.contracts.contract import Part
from retrieval_bench.contracts.expectations import require_close, require_finite, require_gradient
from retrieval_bench.contracts.tiny_loss import build
from retrieval_bench.contracts.toy_batch import CLASSES, batch
from retrieval_bench.losses import MetricLoss


def any_batch(part: Part) -> None:
    """One image, images of one class, and one of each class give finite losses and gradients."""
    cases = {
        "one image": torch.tensor([0]),
        "four images of one class": torch.zeros(4, dtype=torch.long),
        "one image of each class": torch.arange(CLASSES),
    }
    for what, labels in cases.items():
        loss, leaf = build(part), batch(len(labels))[0].requires_grad_()
        value = loss(leaf, labels)
        require_finite(value, f"the loss of {what}")
        value.backward()
        require_gradient(leaf, f"{what} (where there is nothing to learn, see losses.similarities.nothing)")


def batch_order(part: Part) -> None:
    """The images of a batch in another order give the same loss."""
    descriptors, labels = batch()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    require_close(
        build(part).double()(descriptors[order].double(), labels[order]),
        build(part).double()(descriptors.double(), labels),
        "losses of a batch in another order and as it was",
    )


def numbers_of_classes(part: Part) -> None:
    """Of a metric loss: classes with other, larger numbers give the same loss, as does a part of the training set."""
    loss = build(part)
    if not isinstance(loss, MetricLoss):
        raise SkipTest("its weights belong to the numbers of classes")
    descriptors, labels = batch()
    require_close(
        build(part).double()(descriptors.double(), 81312 - 7 * labels),
        loss.double()(descriptors.double(), labels),
        "losses of labels such as 81312 and of 0 to 5",
    )


def two_batches(part: Part) -> None:
    """Two batches before a step, as where gradients are accumulated, give finite gradients."""
    loss = build(part).train()
    descriptors, labels = batch()
    leaf = descriptors.requires_grad_()
    (loss(leaf, labels) + loss(leaf.flip(0), labels.flip(0))).backward()
    require_gradient(leaf, "the descriptors of two batches (do not change in place what the first one still needs)")


def copies_are_no_pair(part: Part) -> str | None:
    """A metric loss that is told which rows are of one image, as by batch attention, counts no pair of them."""
    loss = build(part)
    if not isinstance(loss, MetricLoss):
        raise SkipTest("it compares no images with each other")
    if "images" not in inspect.signature(loss.batch_loss).parameters:
        return "its batch_loss does not name images: in front of batch attention an image is its own positive"
    descriptors, _ = batch(4)
    one_class = torch.zeros(4, dtype=torch.long)
    require_close(
        loss(descriptors, one_class, images=one_class),
        loss(descriptors[:1], one_class[:1]),
        "the losses of four rows of one image and of one row, neither with a pair",
    )
    return None
