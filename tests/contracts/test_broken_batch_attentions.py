"""Batch attentions that are wrong in one way fail the check of that way, with a reason that says so."""

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.batch_attention import BatchAttention


class Right(BatchAttention):
    """The batch, and a linear layer of what its images have in common with each."""

    def __init__(self, dim: int, scale: float = 1.0):
        super().__init__()
        self.layer = nn.Linear(dim, dim)
        self.scale = scale

    def mixed(self, descriptors: Tensor) -> Tensor:
        unit = nn.functional.normalize(descriptors, dim=1)
        return self.layer((self.scale * unit @ unit.T).softmax(dim=1) @ descriptors)

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([descriptors, self.mixed(descriptors)]), labels.repeat(2)


class RowsAlone(Right):
    """Forgets the labels."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        return self.mixed(descriptors)


class Interleaved(Right):
    """Puts the streams between each other."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.stack([descriptors, self.mixed(descriptors)], dim=1).flatten(0, 1)
        return rows, labels.repeat_interleave(2)


class Dropping(Right):
    """Loses the last image."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        rows, labels = super().forward(descriptors, labels)
        return rows[:-1], labels[:-1]


class Ordered(Right):
    """Knows who stands where, and denies it."""

    order_matters = False

    def mixed(self, descriptors: Tensor) -> Tensor:
        return super().mixed(descriptors) + torch.arange(len(descriptors), device=descriptors.device)[:, None]


class Alone(Right):
    """Looks at each image alone."""

    def mixed(self, descriptors: Tensor) -> Tensor:
        return self.layer(descriptors)


class Detached(Right):
    """Trains itself only."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.mixed(descriptors.detach()), labels


class Unused(Right):
    """Has a weight without a purpose."""

    def __init__(self, dim: int):
        super().__init__(dim)
        self.spare = nn.Parameter(torch.zeros(dim))


class Division(Right):
    """Divides by the spread of the batch."""

    def mixed(self, descriptors: Tensor) -> Tensor:
        return super().mixed(descriptors / descriptors.std(dim=0))


class Single(Right):
    """Works in float32, whatever comes."""

    def mixed(self, descriptors: Tensor) -> Tensor:
        return super().mixed(descriptors).float()

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([descriptors.float(), self.mixed(descriptors)]), labels.repeat(2)


class InPlace(Right):
    """Normalises in place."""

    def mixed(self, descriptors: Tensor) -> Tensor:
        with torch.no_grad():
            descriptors.mul_(0.5)
        return super().mixed(descriptors)


class Drawing(Right):
    """Draws its dropout from what all draw from."""

    def mixed(self, descriptors: Tensor) -> Tensor:
        return nn.functional.dropout(super().mixed(descriptors), 0.5, self.training)


class Careless(Right):
    """Draws in evaluation too."""

    def mixed(self, descriptors: Tensor) -> Tensor:
        return nn.functional.dropout(super().mixed(descriptors), 0.5)


class Remembering(Right):
    """Keeps what it computed of the first batch of a size."""

    def __init__(self, dim: int):
        super().__init__(dim)
        self.kept: dict[int, float] = {}

    def mixed(self, descriptors: Tensor) -> Tensor:
        return super().mixed(descriptors) + self.kept.setdefault(len(descriptors), float(descriptors.mean()))


class Seeding(Right):
    """Seeds the whole process."""

    def mixed(self, descriptors: Tensor) -> Tensor:
        torch.manual_seed(0)
        return super().mixed(descriptors)


class Beside(Right):
    """Keeps a weight where torch does not find it."""

    def __init__(self, dim: int):
        super().__init__(dim)
        self.bias = torch.zeros(dim, requires_grad=True)

    def mixed(self, descriptors: Tensor) -> Tensor:
        return super().mixed(descriptors) + self.bias.to(descriptors)


class Somewhere(Right):
    """Makes a column without saying where."""

    def mixed(self, descriptors: Tensor) -> Tensor:
        return super().mixed(descriptors) * torch.ones(len(descriptors), 1)


class LooseOptions(BatchAttention):
    """Takes anything; what it extends takes nothing."""

    def __init__(self, dim: int, **options: float):
        super().__init__()
        self.layer, self.scale = nn.Linear(dim, dim), 1.0

    mixed = Right.mixed
    forward = Right.forward


WRONG = [
    (RowsAlone, {"builds"}, "its result is no pair of rows and their labels"),
    (Interleaved, {"streams"}, "the labels of 24 images and theirs, once for each stream"),
    (Dropping, {"streams"}, "24 images became 47 rows; make one or more of every image"),
    (Ordered, {"batch-order"}, "order_matters = False, but shuffling the batch changes what an image becomes"),
    (Alone, {"images-meet"}, "no other image of the batch has any part in what becomes of the first one"),
    (Detached, {"gradients-arrive", "in-a-method"}, "no gradient reaches the descriptors"),
    (Unused, {"gradients-arrive"}, "no gradient reaches spare"),
    (Division, {"streams", "finite-values"}, "the rows of 1 images holds NaN"),
    (Single, {"precision"}, "float64 descriptors became rows in torch.float32"),
    (InPlace, {"input-untouched"}, "descriptors after and before (work on a copy)"),
    (Drawing, {"state-dict", "input-untouched"}, "also that from which dropout is drawn"),
    (Careless, {"batch-order"}, "the second result in evaluation mode and the first"),
    (Remembering, {"state-dict"}, "rows after a state_dict round trip and before"),
    (Seeding, {"input-untouched"}, "it changes torch's random numbers"),
    (Beside, {"state-dict"}, "bias is not registered"),
    (Somewhere, {"devices"}, "in mul, a tensor that was made without device="),
    (LooseOptions, {"options"}, "the constructor takes *options"),
]


def test_the_one_they_derive_from_is_right(failing):
    assert failing("batch_attention", Right) == {}


@pytest.mark.parametrize(("part", "checks", "reason"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_it_fails_the_right_check_for_the_right_reason(part, checks, reason, failing):
    found = failing("batch_attention", part)
    assert checks <= found.keys()
    assert any(reason in said for said in found.values()), found


@pytest.mark.parametrize("part", [Ordered, Alone, Unused], ids=lambda part: part.__name__)
def test_nothing_else_fails(part, failing):
    assert len(failing("batch_attention", part)) == 1


def test_what_is_no_batch_attention(failing):
    class Layer(nn.Linear):
        """A layer."""

        def __init__(self, dim: int):
            super().__init__(dim, dim)

    assert "not a BatchAttention; inherit from it" in failing("batch_attention", Layer)["builds"]
