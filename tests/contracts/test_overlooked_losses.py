"""Losses that give right numbers where one looks first, and are wrong all the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.losses import ClassificationLoss, MetricLoss


class Right(ClassificationLoss):
    """Cross-entropy of cosines."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__(dim, num_classes, 20.0)

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        return cosines


class HalfTheBatch(Right):
    """Leaves the second half of a batch out."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        half = (len(labels) + 1) // 2
        self.logits(descriptors, labels)
        return super().forward(descriptors[:half], labels[:half])


class Counting(Right):
    """Counts in place what the gradient of the batch before still needs."""

    count: Tensor

    def __init__(self, dim: int, num_classes: int):
        super().__init__(dim, num_classes)
        self.register_buffer("count", torch.ones(()))

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        if self.training:
            self.count.mul_(0.999)
        return F.cross_entropy(self.count * self.logits(descriptors, labels), labels)


class Seeding(Right):
    """Seeds the whole process."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        torch.manual_seed(0)
        return super().forward(descriptors, labels)


class Beside(Right):
    """Keeps a weight where torch does not find it."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__(dim, num_classes)
        self.bias = [torch.zeros(num_classes, requires_grad=True)]

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        return cosines + self.bias[0]


class Somewhere(Right):
    """Makes its margin without saying where."""

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        margin = torch.zeros(cosines.shape)
        margin[torch.arange(len(labels)), labels] = 0.1
        return cosines - margin


class Pairs(MetricLoss):
    """Brings images of one class together and others apart."""

    def __init__(self) -> None:
        super().__init__()

    def batch_loss(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        similarity, same = descriptors @ descriptors.T, labels[:, None] == labels
        return ((1 - similarity) * same).mean() + (similarity.clamp(min=0) * ~same).mean()


class Neighbours(Pairs):
    """Counts each image and the one before it once more."""

    def batch_loss(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        return super().batch_loss(descriptors, labels) + (1 - (descriptors * descriptors.roll(1, 0)).sum(dim=1)).mean()


class Numbers(Pairs):
    """Weighs images by the number of their class."""

    def batch_loss(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        same = labels[:, None] == labels
        return super().batch_loss(descriptors, labels) + ((1 - descriptors @ descriptors.T) * same * labels).mean()


class MeanOfNone(Pairs):
    """Takes the mean over pairs, of which there may be none."""

    def batch_loss(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        similarity, same = descriptors @ descriptors.T, labels[:, None] == labels
        other = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        return (1 - similarity[same & other]).mean() + similarity[~same].clamp(min=0).mean()


WRONG = [
    (HalfTheBatch, "gradients-arrive", "no gradient reaches 12 of 24 descriptors, each of which has a class"),
    (HalfTheBatch, "batch-order", "losses of a batch in another order and as it was"),
    (Counting, "two-batches", "has been modified by an inplace operation"),
    (Seeding, "input-untouched", "it changes torch's random numbers"),
    (Beside, "state-dict", "bias is not registered"),
    (Somewhere, "devices", "in sub, a tensor that was made without device="),
    (Neighbours, "batch-order", "losses of a batch in another order and as it was"),
    (Numbers, "numbers-of-classes", "losses of labels such as 81312 and of 0 to 5"),
    (MeanOfNone, "any-batch", "the loss of one image holds NaN"),
]


@pytest.mark.parametrize(("part", "check", "reason"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_it_fails_the_right_check_for_the_right_reason(part, check, reason, failing):
    assert reason in failing("loss", part)[check]


@pytest.mark.parametrize("part", [Right, Pairs], ids=lambda part: part.__name__)
def test_those_that_they_derive_from_are_right(part, failing):
    assert failing("loss", part) == {}
