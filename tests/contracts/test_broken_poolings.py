"""Poolings that are wrong in one way fail the check of that way, with a reason that says so."""

from typing import ClassVar

import pytest
import torch
from right_pooling import Right
from torch import Tensor, nn

from retrieval_bench.pooling import Pooling


class BatchLeak(Right):
    """Normalises over the batch."""

    def forward(self, feature_map: Tensor) -> Tensor:
        return super().forward(feature_map - feature_map.mean(dim=0, keepdim=True))


class NanAtZeros(Right):
    """Divides by a norm without a floor."""

    def forward(self, feature_map: Tensor) -> Tensor:
        pooled = super().forward(feature_map).float()
        return (pooled / pooled.abs().amax(dim=1, keepdim=True)).to(feature_map.dtype)


class SlopeAtZeros(Right):
    """Has an infinite slope at zero."""

    def forward(self, feature_map: Tensor) -> Tensor:
        return feature_map.float().abs().mean(dim=(2, 3)).sqrt().square().to(feature_map.dtype)


class WrongChannels(Right):
    """Says another length than it gives."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.out_channels = 2 * in_channels


class Overflow(Right):
    """Multiplies in half precision."""

    def forward(self, feature_map: Tensor) -> Tensor:
        return (feature_map * 100).mean(dim=(2, 3)) / 100


class AlwaysFloat(Right):
    """Forgets the dtype of its input."""

    def forward(self, feature_map: Tensor) -> Tensor:
        return feature_map.float().mean(dim=(2, 3))


class ForgottenState(Right):
    """Keeps a tensor out of the state_dict."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.weights = torch.rand(in_channels)

    def forward(self, feature_map: Tensor) -> Tensor:
        return super().forward(feature_map) * self.weights.to(feature_map.dtype)


class RunningMean(Right):
    """Learns a mean that it does not save."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.mean = 0.0

    def forward(self, feature_map: Tensor) -> Tensor:
        if self.training:
            self.mean = self.mean + float(feature_map.mean())
        return super().forward(feature_map) + self.mean


class ChangesInput(Right):
    """Works in place on what it is given."""

    def forward(self, feature_map: Tensor) -> Tensor:
        feature_map.data.mul_(0.5)
        return super().forward(feature_map)


class Orderly(Right):
    """Says that order does not matter, and looks at the first row only."""

    order_matters: ClassVar[bool | None] = False

    def forward(self, feature_map: Tensor) -> Tensor:
        return super().forward(feature_map[:, :, :1])


class Orderless(Right):
    """Says that order matters, and averages."""

    order_matters: ClassVar[bool | None] = True


class Viewing(Right):
    """Takes maps to be contiguous."""

    def forward(self, feature_map: Tensor) -> Tensor:
        return feature_map.view(*feature_map.shape[:2], -1).float().mean(dim=2).to(feature_map.dtype)


class Detached(Right):
    """Lets no gradient through."""

    def forward(self, feature_map: Tensor) -> Tensor:
        return super().forward(feature_map.detach())


class Dropping(Right):
    """Drops values in evaluation, too."""

    def forward(self, feature_map: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(feature_map), 0.5, training=True)


class Branching(Right):
    """Decides by a value of the map."""

    def forward(self, feature_map: Tensor) -> Tensor:
        pooled = super().forward(feature_map)
        return pooled if feature_map.sum() > 1e9 else pooled * 1.0


class NeedsNine(Right):
    """Cuts a piece of 3 x 3."""

    def forward(self, feature_map: Tensor) -> Tensor:
        if min(feature_map.shape[2:]) < 3:
            raise ValueError("map too small")
        return super().forward(feature_map)


class Untyped(Right):
    """Has an option without a type."""

    def __init__(self, in_channels: int, p=3.0):
        super().__init__(in_channels)


class Loose(Pooling):
    """Takes any option; what it extends takes none."""

    def __init__(self, in_channels: int, **options: float):
        super().__init__()
        self.out_channels = in_channels

    forward = Right.forward


class WrongDefault(Right):
    """Has a default of another type."""

    def __init__(self, in_channels: int, p: float = "three"):
        super().__init__(in_channels)


class Greedy(Right):
    """Needs what there is not."""

    needs = ("masks",)


class Silent(Right):
    __doc__ = None


WRONG = [
    (BatchLeak, {"batch-independence"}, "one image in a batch of 4 and alone"),
    (NanAtZeros, {"finite-values", "finite-gradients"}, "with values of about 0 holds NaN"),
    (
        SlopeAtZeros,
        {"finite-gradients", "autocast"},
        "the gradient of input 0 for a map of 1 x 1 with values of about 0 holds NaN",
    ),
    (WrongChannels, {"any-size", "in-a-method"}, "the result for 3 maps of 1 x 1 has shape (3, 16), not (3, 32)"),
    (Overflow, {"half-precision", "autocast"}, "with values of thousands in torch.float16"),
    (AlwaysFloat, {"half-precision", "autocast"}, "gave a vector in torch.float32; return the dtype of the map"),
    (ForgottenState, {"state-dict"}, "weights is not registered, so that it is not moved"),
    (RunningMean, {"state-dict"}, "after and before a state_dict round trip"),
    (ChangesInput, {"same-twice"}, "input 0 after and before it was pooled (work on a copy)"),
    (
        Orderly,
        {"position-order", "whole-input"},
        "order_matters = False, but shuffling the positions of a map changes the result",
    ),
    (Orderless, {"position-order"}, "order_matters = True, but shuffling the positions of a map does not change"),
    (Viewing, {"memory-layout"}, "raised RuntimeError: view size is not compatible"),
    (Detached, {"finite-gradients", "exact-gradients", "in-a-method"}, "no gradient of the loss reaches the backbone"),
    (Dropping, {"same-twice"}, "the second result and the first (no dropout or state in evaluation)"),
    (Branching, {"exported"}, "it raised"),
    (NeedsNine, {"any-size"}, "it raised ValueError: map too small (test_broken_poolings.py, line"),
    (Untyped, {"options"}, "option p has no type; annotate it"),
    (Loose, {"options"}, "so that a typo in an option goes unnoticed"),
    (WrongDefault, {"options"}, "the default of option p does not fit its type"),
    (Silent, {"builds"}, "has no docstring"),
]


def test_the_one_they_derive_from_is_right(failing):
    assert failing("pooling", Right, also=("exported",)) == {}


@pytest.mark.parametrize(("part", "checks", "reason"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_it_fails_the_right_check_for_the_right_reason(part, checks, reason, failing):
    found = failing("pooling", part, also=tuple(checks))
    # What breaks one check may break others, but never is there one that is not told.
    assert checks <= found.keys()
    assert any(reason in said for said in found.values()), found
    if part not in (ChangesInput, NeedsNine, Dropping):
        assert found.keys() == checks


def test_a_need_that_there_is_not(failing):
    assert "there are 'earlier stage' and 'tokens'" in failing("pooling", Greedy)["builds"]
