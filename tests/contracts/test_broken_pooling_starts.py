"""Poolings that start from training images in a wrong way fail the check of that way, and no other."""

import pytest
import torch
from right_pooling import Right
from torch import Tensor, nn


class Starting(Right):
    """Divides by the mean over training images."""

    start_images = 10

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.mean = nn.Parameter(torch.ones(in_channels))

    def start_from(self, inputs, generator) -> None:
        drawn = [feature_map[:, :, :1, :1].mean(dim=(0, 2, 3)) for (feature_map,) in inputs]
        self.mean.copy_(1 + torch.stack(drawn).mean(dim=0) + torch.rand(len(self.mean), generator=generator))

    def forward(self, feature_map: Tensor) -> Tensor:
        return (super().forward(feature_map).float() / self.mean.abs().clamp(min=1)).to(feature_map.dtype)


class NeverStarts(Starting):
    """Does not say how many images it wants."""

    start_images = 0


class StartsFromNothing(Right):
    """Wants images and does nothing with them."""

    start_images = 10


class StartsAtNan(Starting):
    """Divides by what may be zero."""

    def start_from(self, inputs, generator) -> None:
        super().start_from(inputs, generator)
        self.mean.div_(self.mean - self.mean)


class StartsAtLarge(Starting):
    """Takes the maps of all batches to be of one size."""

    def start_from(self, inputs, generator) -> None:
        super().start_from([(torch.cat([feature_map for (feature_map,) in inputs]),)], generator)


class StartsByChance(Starting):
    """Draws from torch's own generator."""

    def start_from(self, inputs, generator) -> None:
        super().start_from(inputs, torch.Generator().manual_seed(int(torch.randint(1000, (1,)))))


class StartsAnew(Starting):
    """Puts a new parameter in place of the one that the optimiser knows."""

    def start_from(self, inputs, generator) -> None:
        super().start_from(inputs, generator)
        self.mean = nn.Parameter(self.mean.clone())


class StartsBesideState(Starting):
    """Keeps what it found out of the state_dict."""

    factor = 1.0

    def start_from(self, inputs, generator) -> None:
        super().start_from(inputs, generator)
        self.factor = 2.0

    def forward(self, feature_map: Tensor) -> Tensor:
        return (self.factor * super().forward(feature_map)).to(feature_map.dtype)


WRONG = [
    (NeverStarts, "start_from is never called, since start_images is 0"),
    (StartsFromNothing, "start_images is 10, but there is no start_from"),
    (StartsAtNan, "mean after a start from a map of 1 x 1, a map of 1 x 7"),
    (StartsAtLarge, "it raised RuntimeError: Sizes of tensors must match"),
    (StartsByChance, "mean after two starts from one seed (draw from the generator given)"),
    (StartsAnew, "start_from put new parameters in place of mean"),
    (StartsBesideState, "start_from sets parameters and buffers only"),
]


def test_the_one_they_derive_from_is_right(failing):
    assert failing("pooling", Starting) == {}


@pytest.mark.parametrize(("part", "reason"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_it_fails_the_right_check_for_the_right_reason(part, reason, failing):
    found = failing("pooling", part)
    assert found.keys() == {"starts-from-images"}
    assert reason in found["starts-from-images"]
