"""Backbones that are wrong in one way fail the check of that way, with a reason that says so."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.backbones import Backbone
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.features import Features


class Right(Backbone):
    """Two convolutions."""

    def __init__(self, out_stages: tuple[int, ...] = (-1,), width: int = 8):
        super().__init__()
        if min(out_stages) < -2:
            raise InputError(f"there are two stages, not {out_stages}")
        self.wanted = out_stages
        self.first = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.channels = tuple({-2: width, -1: 2 * width}[stage] for stage in out_stages)
        self.strides = tuple({-2: 2, -1: 4}[stage] for stage in out_stages)

    def forward(self, images: Tensor) -> Any:
        first = self.first(images).relu()
        return [{-2: first, -1: self.second(first).relu()}[stage] for stage in self.wanted]


class WrongChannels(Right):
    """Says half of its channels."""

    def __init__(self, out_stages: tuple[int, ...] = (-1,)):
        super().__init__(out_stages)
        self.channels = tuple(value // 2 for value in self.channels)


class WrongStrides(Right):
    """Says a stride that it has not."""

    def __init__(self, out_stages: tuple[int, ...] = (-1,)):
        super().__init__(out_stages)
        self.strides = tuple(4 * value for value in self.strides)


class Single(Right):
    """Gives the last map for a list."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images)[-1]


class BatchLeak(Right):
    """Takes the mean of the batch away."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images - images.mean(dim=0))


class ForgottenState(Right):
    """Keeps a tensor out of the state_dict."""

    def __init__(self, out_stages: tuple[int, ...] = (-1,)):
        super().__init__(out_stages)
        self.offset = torch.rand(1)

    def forward(self, images: Tensor) -> Any:
        return [value + self.offset for value in super().forward(images)]


class ChangesInput(Right):
    """Centres in place."""

    def forward(self, images: Tensor) -> Any:
        images.data.sub_(0.5)
        return super().forward(images)


class NanOnUniform(Right):
    """Divides by the deviation of an image."""

    def forward(self, images: Tensor) -> Any:
        return super().forward((images - images.mean((2, 3), True)) / images.std((2, 3), keepdim=True))


class Detached(Right):
    """Does not learn."""

    def forward(self, images: Tensor) -> Any:
        return [value.detach() for value in super().forward(images)]


class AnyStage(Right):
    """Takes stages that it has not."""

    def __init__(self, out_stages: tuple[int, ...] = (-1,)):
        super().__init__(tuple(max(stage, -2) for stage in out_stages))


class Promised(Right):
    """Says that it has tokens."""

    token_channels = 16


class Flat(Right):
    """Gives tokens without a batch."""

    token_channels = 16

    def features(self, images: Tensor) -> Features:
        return Features(tuple(self(images)), torch.zeros(3, 16))


class Words(Right):
    """Says in words what pixel values it expects."""

    normalisation: Any = "as CLIP"


class DetachedStage(Right):
    """Lets no gradient into its first stage."""

    def forward(self, images: Tensor) -> Any:
        first = self.first(images).relu().detach()
        return [{-2: first, -1: self.second(first).relu()}[stage] for stage in self.wanted]


class Cropped(Right):
    """Looks at the left of an image."""

    def forward(self, images: Tensor) -> Any:
        kept = torch.arange(images.shape[3], device=images.device) <= images.shape[3] // 2
        return super().forward(images * kept)


class Grey(Right):
    """Looks at one colour."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images[:, :1].expand(-1, 3, -1, -1))


class Double(Right):
    """Gives maps in float64."""

    def forward(self, images: Tensor) -> Any:
        return [value.double() for value in super().forward(images)]


class Remembering(Right):
    """Keeps what it computed of the first image of a size."""

    def __init__(self, out_stages: tuple[int, ...] = (-1,)):
        super().__init__(out_stages)
        self.kept: dict[torch.Size, float] = {}

    def forward(self, images: Tensor) -> Any:
        return super().forward(images + self.kept.setdefault(images.shape[2:], float(images[0, 0, 0, 0])))


class Seeding(Right):
    """Seeds the whole process."""

    def forward(self, images: Tensor) -> Any:
        torch.manual_seed(0)
        return super().forward(images)


class Beside(Right):
    """Keeps a weight where torch does not find it."""

    def __init__(self, out_stages: tuple[int, ...] = (-1,)):
        super().__init__(out_stages)
        self.offset = torch.zeros(1, requires_grad=True)

    def forward(self, images: Tensor) -> Any:
        return super().forward(images + self.offset)


class Somewhere(Right):
    """Makes a factor without saying where."""

    def forward(self, images: Tensor) -> Any:
        return super().forward(images * torch.ones(1, 3, 1, 1))


class Spare(Right):
    """Has a layer without a purpose."""

    def __init__(self, out_stages: tuple[int, ...] = (-1,)):
        super().__init__(out_stages)
        self.spare = nn.Linear(3, 3)


WRONG = [
    (Words, {"builds"}, "normalisation is 'as CLIP'; it is a Normalisation, or None"),
    (WrongChannels, {"any-size"}, "gave a map (2, 8, 32, 32); channels says (2, 4, H, W)"),
    (WrongStrides, {"any-size"}, "which is not near a stride of 8"),
    (Single, {"any-size"}, "forward gave a Tensor for images of 64 x 64, not a list of maps"),
    (BatchLeak, {"batch-independence"}, "maps in a batch of 3 and alone"),
    (ForgottenState, {"state-dict"}, "offset is not registered, so that it is not moved"),
    (ChangesInput, {"same-twice"}, "images after and before (work on a copy)"),
    (NanOnUniform, {"any-size"}, "the map of images of 1 x 1 holds NaN"),
    (Detached, {"gradients"}, "it raised RuntimeError: element 0 of tensors does not require grad"),
    (DetachedStage, {"gradients"}, "no gradient of the last map reaches first.weight, first.bias; is something"),
    (Spare, {"gradients"}, "no gradient of the last map reaches spare.weight, spare.bias"),
    (Cropped, {"whole-image"}, "of 16 cells of 16 x 16 pixels of an image of 64 x 64 change nothing"),
    (Grey, {"whole-image"}, "2 of 3 colours of an image of 64 x 64 change nothing"),
    (Double, {"any-size"}, "images of 64 x 64 in float32 gave a map in torch.float64"),
    (Remembering, {"same-twice"}, "maps after other images of that size and the first of a new one"),
    (Seeding, {"same-twice"}, "it changes torch's random numbers"),
    (Beside, {"state-dict"}, "offset is not registered"),
    (Somewhere, {"devices"}, "in mul, a tensor that was made without device="),
    (AnyStage, {"stages"}, "out_stages=(-99,) was accepted; raise InputError"),
    (Promised, {"features"}, "token_channels is 16, but features gives no tokens"),
    (Flat, {"features"}, "the tokens of 2 images has shape (3, 16), not (2, 1, 16)"),
]


def test_the_one_they_derive_from_is_right(failing):
    assert failing("backbone", Right) == {}


@pytest.mark.parametrize(("part", "checks", "reason"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_it_fails_the_right_check_for_the_right_reason(part, checks, reason, failing):
    found = failing("backbone", part)
    assert checks <= found.keys()
    assert any(reason in said for said in found.values()), found
