"""How a loss gets its batch attention, and what it is told of the rows."""

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.batch_attention import BatchAttention, attach
from retrieval_bench.losses import LOSSES, MetricLoss, list_losses
from retrieval_bench.settings.errors import InputError

DIM, CLASSES = 16, 12
DESCRIPTORS = torch.randn(12, DIM, generator=torch.Generator().manual_seed(0))
PAIRS = torch.arange(12) // 2
ALONE = torch.arange(12)
METRIC = [name for name in list_losses() if issubclass(LOSSES.get(name), MetricLoss)]


class Copies(BatchAttention):
    """The batch, and the batch again."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return descriptors.repeat(2, 1), labels.repeat(2)


class Neighbours(BatchAttention):
    """The batch, and every image as its neighbour."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([descriptors, descriptors.roll(1, 0)]), labels.repeat(2)


class Shorter(BatchAttention):
    """Loses an image."""

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return descriptors[1:], labels[1:]


def create(loss: str) -> nn.Module:
    return LOSSES.create(loss, {}, dim=DIM, num_classes=CLASSES)


@pytest.mark.parametrize("loss", ["smoothap", "recallatk", "fastap"])
def test_an_image_is_not_its_own_positive(loss):
    """Where no two images match a ranking loss has nothing to learn, whatever copies there are."""
    made = create(loss)
    rows, labels = Neighbours()(DESCRIPTORS, ALONE)
    assert made(rows, labels) > 0
    attach(made, Neighbours())
    assert made(DESCRIPTORS, ALONE) == 0


@pytest.mark.parametrize("loss", METRIC)
def test_a_metric_loss_is_told_which_rows_are_of_one_image(loss):
    made = create(loss)
    rows, labels = Neighbours()(DESCRIPTORS, PAIRS)
    told, untold = made(rows, labels, images=torch.arange(12).repeat(2)), made(rows, labels)
    attach(made, Neighbours())
    assert torch.equal(made(DESCRIPTORS, PAIRS), told)
    assert not torch.equal(told, untold)
    assert torch.equal(made.eval()(DESCRIPTORS, PAIRS), create(loss)(DESCRIPTORS, PAIRS))


def test_images_of_another_number_than_labels_are_refused():
    with pytest.raises(InputError, match=r"images must be one number per label, got \(3,\) for 12 labels"):
        create("smoothap")(DESCRIPTORS, PAIRS, images=torch.arange(3))


def test_smooth_ap_of_copies_by_hand():
    """Two classes of two on a line; the query's copy stands in no list, the positive's copies share a rank."""
    angles = torch.tensor([0.0, 0.4, 0.3, 1.2])
    points = torch.stack([angles.cos(), angles.sin()], dim=1)
    made = LOSSES.create("smoothap", {"temperature": 1e-4}, dim=2, num_classes=2)
    attach(made, Copies())
    # Of query 0 two copies of 2 stand before the positive's two, which count a half each before the other.
    of_0 = 1.5 / 3.5
    # Query 1: its positive stands behind both copies of 2. Query 2: behind 0 and 1. Query 3: behind 1.
    of_1, of_2, of_3 = 1.5 / 3.5, 1.5 / 5.5, 1.5 / 3.5
    expected = 1 - (of_0 + of_1 + of_2 + of_3) / 4
    assert made(points, torch.tensor([0, 0, 1, 1])).item() == pytest.approx(expected, abs=1e-5)


def test_a_loss_that_does_not_ask_for_images_is_not_told():
    class Own(MetricLoss):
        """As a user may have written it."""

        def batch_loss(self, descriptors: Tensor, labels: Tensor) -> Tensor:
            return descriptors.square().sum() * len(labels)

    made = Own()
    attach(made, Copies())
    assert made(DESCRIPTORS, PAIRS).item() == pytest.approx(24 * 24)


def test_the_loss_is_what_it_was():
    made = create("arcface")
    keys = set(made.state_dict())
    attach(made, Copies())
    assert type(made) is LOSSES.get("arcface")
    assert set(made.state_dict()) == keys


def test_rows_that_are_no_whole_streams_are_refused():
    made = create("arcface")
    attach(made, Shorter())
    with pytest.raises(InputError, match="Shorter made 11 rows of 12 images"):
        made(DESCRIPTORS, PAIRS)
