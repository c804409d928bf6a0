"""Poolings that give right numbers where one looks first, and are wrong all the same."""

from typing import ClassVar

import pytest
import torch
from right_pooling import Right
from torch import Tensor, nn


class HalfTheMap(Right):
    """Looks at the upper half."""

    def forward(self, feature_map: Tensor) -> Tensor:
        return super().forward(feature_map[:, :, : (feature_map.shape[2] + 1) // 2])


class HalfTheMapOnPurpose(HalfTheMap):
    """Looks at the upper half, and says so."""

    whole_map: ClassVar[bool] = False


class HalfTheChannels(Right):
    """Looks at the first half of the channels."""

    def forward(self, feature_map: Tensor) -> Tensor:
        pooled = super().forward(feature_map)
        half = pooled[:, : pooled.shape[1] // 2]
        return torch.cat([half, half], dim=1)


class NoToken(Right):
    """Asks for tokens and does not look at them."""

    needs = ("tokens",)

    def forward(self, feature_map: Tensor, tokens: Tensor) -> Tensor:
        return super().forward(feature_map)


class Detached(Right):
    """Weighs positions by what no gradient reaches."""

    def forward(self, feature_map: Tensor) -> Tensor:
        weights = feature_map.float().mean(dim=1, keepdim=True).flatten(2).softmax(dim=2).unflatten(2, (-1, 1))
        weights = weights.view(len(feature_map), 1, *feature_map.shape[2:]).detach()
        return (weights * feature_map.float()).sum(dim=(2, 3)).to(feature_map.dtype)


class DetachedOnPurpose(Detached):
    """Weighs positions by what no gradient reaches, and says so."""

    exact_gradient: ClassVar[bool] = False


class Spare(Right):
    """Has a layer without a purpose."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.spare = nn.Linear(in_channels, in_channels)


class Beside(Right):
    """Keeps a weight, the same for every seed, where torch does not find it."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.weight = torch.ones(in_channels, requires_grad=True)

    def forward(self, feature_map: Tensor) -> Tensor:
        return (super().forward(feature_map) * self.weight).to(feature_map.dtype)


class Seeding(Right):
    """Makes its noise the same by seeding the whole process."""

    def forward(self, feature_map: Tensor) -> Tensor:
        torch.manual_seed(0)
        return super().forward(feature_map) * torch.rand((), device=feature_map.device)


class Remembering(Right):
    """Keeps what it computed of the first map of a size for all others of that size."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.kept: dict[torch.Size, float] = {}

    def forward(self, feature_map: Tensor) -> Tensor:
        shift = self.kept.setdefault(feature_map.shape[2:], float(feature_map[0].float().mean()))
        return (super().forward(feature_map).float() + shift).to(feature_map.dtype)


class Somewhere(Right):
    """Makes weights of positions without saying where."""

    def forward(self, feature_map: Tensor) -> Tensor:
        return super().forward((feature_map * torch.linspace(0.5, 1, feature_map.shape[3])).to(feature_map.dtype))


class SomewhereInTraining(Right):
    """Makes noise without saying where, in training."""

    def forward(self, feature_map: Tensor) -> Tensor:
        pooled = super().forward(feature_map)
        return pooled + torch.zeros(pooled.shape) if self.training else pooled


class Double(Right):
    """Holds a weight in float64."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.register_buffer("weight", torch.ones(in_channels, dtype=torch.float64))

    def forward(self, feature_map: Tensor) -> Tensor:
        return super().forward(feature_map) * self.weight


class DtypeOfAutocast(Right):
    """Gives what autocast makes of a layer."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.layer = nn.Linear(in_channels, in_channels)

    def forward(self, feature_map: Tensor) -> Tensor:
        return self.layer(feature_map.mean(dim=(2, 3)))


class OverflowUnderAutocast(DtypeOfAutocast):
    """Takes care to compute in float32, and forgets that autocast takes matrix products back."""

    def forward(self, feature_map: Tensor) -> Tensor:
        pooled = feature_map.float().mean(dim=(2, 3))
        scaled = 1e3 * pooled[:, None] @ self.layer.weight.float().mT + self.layer.bias.float()
        return (scaled[:, 0] / 1e3).to(feature_map.dtype)


WRONG = [
    (HalfTheMap, "whole-input", "6 of 15 positions of input 0, raised or lowered one by one, change nothing"),
    (HalfTheChannels, "whole-input", "8 of 16 channels of input 0"),
    (NoToken, "whole-input", "1 of 1 class token of input 1"),
    (Detached, "exact-gradients", "say exact_gradient = False on the class where"),
    (Spare, "every-weight-learns", "no gradient reaches spare.weight (use it, leave it out"),
    (Beside, "state-dict", "weight is not registered"),
    (Seeding, "same-twice", "it changes torch's random numbers"),
    (Remembering, "same-twice", "the result after other maps of that size and the first of a new one"),
    (Somewhere, "devices", "in mul, a tensor that was made without device="),
    (SomewhereInTraining, "devices", "in add, a tensor that was made without device="),
    (Double, "any-size", "a map of 1 x 1 in float32 gave a vector in torch.float64"),
    (DtypeOfAutocast, "autocast", "gave a vector in torch.float16; return the dtype of the map"),
    (OverflowUnderAutocast, "autocast", "which in float32 is in range (see pooling.full_precision)"),
]


@pytest.mark.parametrize(("part", "check", "reason"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_it_fails_the_right_check_for_the_right_reason(part, check, reason, failing):
    assert reason in failing("pooling", part)[check]


@pytest.mark.parametrize("part", [HalfTheMapOnPurpose, DetachedOnPurpose], ids=lambda part: part.__name__)
def test_what_is_meant_can_be_said(part, failing):
    assert failing("pooling", part) == {}
