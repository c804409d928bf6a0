"""Losses that are wrong in one way fail the check of that way, with a reason that says so."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.losses import ClassificationLoss, MetricLoss


class Right(ClassificationLoss):
    """Cross-entropy of cosines with a margin."""

    def __init__(self, dim: int, num_classes: int, scale: float = 20.0):
        super().__init__(dim, num_classes, scale)

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        return cosines - 0.1 * F.one_hot(labels, self.num_classes)


class WithoutNorm(Right):
    """Takes descriptors as long as they are."""

    def cosines(self, descriptors: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            values = descriptors if descriptors.dtype == torch.float64 else descriptors.float()
            return 0.01 * F.linear(values, self.weight.to(values.dtype))


class Half(Right):
    """Computes in the precision that it is given."""

    def cosines(self, descriptors: Tensor) -> Tensor:
        return F.linear(F.normalize(descriptors, dim=1), F.normalize(self.weight.to(descriptors.dtype), dim=1))

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        return cosines


class Inverse(Right):
    """Takes the inverse cosine up to the ends."""

    def cosines(self, descriptors: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            values = descriptors if descriptors.dtype == torch.float64 else descriptors.float()
            return F.linear(F.normalize(values, dim=1), F.normalize(self.weight.to(values.dtype), dim=1))

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        return torch.cos(torch.acos(cosines))


class Labels(Right):
    """Looks at no label."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(20 * self.cosines(descriptors), labels.clamp(min=0) % self.num_classes)


class Rising(Right):
    """Rewards the own class."""

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        return cosines + 0.1 * F.one_hot(labels, self.num_classes)


class Flat(Right):
    """Hardly falls."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        return 5 + 0.1 * super().forward(descriptors, labels)


class ForgottenState(Right):
    """Counts its calls outside of the state_dict."""

    calls = 0

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(descriptors, labels) * (1 + (self.calls > 2))


class ChangesInput(Right):
    """Normalises in place."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            descriptors.mul_(0.5)
        return super().forward(descriptors, labels)


class Detached(Right):
    """Does not train what it stands on."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        return super().forward(descriptors.detach(), labels)


class Weighted(Right):
    """Weighs by a detached share."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        loss = super().forward(descriptors, labels)
        return loss * loss.detach()


class Vector(Right):
    """Gives one value per image."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(descriptors, labels), labels, reduction="none")


class Sampled(Right):
    """Asks for batches that there are not."""

    sampler = "balanced"


class Division(MetricLoss):
    """Divides by the distance of a batch from its mean."""

    def __init__(self) -> None:
        super().__init__()

    def batch_loss(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        spread = (descriptors - descriptors.mean(dim=0)).norm(dim=1).mean()
        within = (descriptors[:, None] - descriptors[None]).square().sum(dim=2)[labels[:, None] == labels].mean()
        return within / spread


WRONG = [
    (WithoutNorm, {"length-does-not-matter"}, "losses of descriptors x 1 and x 7: they differ"),
    (Half, {"half-precision"}, "the loss of torch.float16 descriptors is"),
    (Inverse, {"cosines-of-one"}, "for cosines of exactly 1 holds NaN"),
    (Labels, {"wrong-labels"}, "labels from -1 was accepted; raise InputError with one line"),
    (Rising, {"logits"}, "the margin raises logits of the own class"),
    (Flat, {"training-lowers-it"}, "30 steps of Adam on a linear layer took it from"),
    (ForgottenState, {"state-dict"}, "losses after and before a state_dict round trip"),
    (ChangesInput, {"input-untouched"}, "descriptors after and before (work on a copy)"),
    (Detached, {"gradients-arrive"}, "no gradient reaches the descriptors"),
    (Weighted, {"exact-gradients"}, "say exact_gradient = False on the class where something is detached on purpose"),
    (Vector, {"builds"}, "the loss of 24 descriptors has shape (24,), not ()"),
    (Sampled, {"sampler"}, "sampler = 'balanced'; there are shuffle"),
    (Division, {"zero-descriptors"}, "holds NaN"),
]


def test_the_one_they_derive_from_is_right(failing):
    assert failing("loss", Right) == {}


@pytest.mark.parametrize(("part", "checks", "reason"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_it_fails_the_right_check_for_the_right_reason(part, checks, reason, failing):
    found = failing("loss", part)
    assert checks <= found.keys()
    assert any(reason in said for said in found.values()), found


@pytest.mark.parametrize("part", [Rising, Sampled, Weighted, Inverse, ForgottenState], ids=lambda part: part.__name__)
def test_nothing_else_fails(part, failing):
    assert len(failing("loss", part)) == 1


def test_a_gradient_that_is_meant_to_be_another_is_left_out(failing):
    declared = type("Declared", (Weighted,), {"exact_gradient": False, "__doc__": "Weighs by a detached share."})
    assert failing("loss", declared) == {}


def test_what_is_no_module(failing):
    def function(dim: int) -> nn.Module:
        """A function that makes a function."""
        return lambda descriptors, labels: descriptors.sum()

    assert "inherit ClassificationLoss or MetricLoss" in failing("loss", function)["builds"]
