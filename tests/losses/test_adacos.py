"""AdaCos against its formulas, step by step."""

import math
import statistics

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.losses import LOSSES
from retrieval_bench.losses.adacos import AdaCos, dynamic_scale, fixed_scale
from retrieval_bench.settings.errors import InputError

DIM, CLASSES = 12, 7


def create(**options: object) -> AdaCos:
    torch.manual_seed(0)
    return LOSSES.create("adacos", options, dim=DIM, num_classes=CLASSES).double()


def batch(seed: int, count: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return torch.randn(count, DIM, generator=generator, dtype=torch.float64), labels


def near(loss: AdaCos, seed: int) -> tuple[Tensor, Tensor]:
    noise, labels = batch(seed)
    return F.normalize(loss.weight.detach(), dim=1)[labels] + 0.1 * noise, labels


@pytest.mark.parametrize("narrow", [True, False], ids=["narrow", "wide"])
def test_three_steps_of_the_dynamic_scale(narrow: bool) -> None:
    loss = create()
    scale = math.sqrt(2) * math.log(CLASSES - 1)
    assert float(loss.scale) == pytest.approx(scale)
    for step in range(3):
        descriptors, labels = near(loss, step) if narrow else batch(step)
        cosines = loss.cosines(descriptors).detach().tolist()
        angles = [math.acos(row[label]) for row, label in zip(cosines, labels.tolist(), strict=True)]
        assert (statistics.median(angles) < math.pi / 4) == narrow
        background = statistics.mean(
            sum(math.exp(scale * value) for k, value in enumerate(row) if k != label)
            for row, label in zip(cosines, labels.tolist(), strict=True)
        )
        scale = math.log(background) / math.cos(min(math.pi / 4, statistics.median(angles)))
        value = loss(descriptors, labels)
        assert float(loss.scale) == pytest.approx(scale, rel=1e-7)  # the first one was rounded to float32
        torch.testing.assert_close(value, F.cross_entropy(loss.scale * loss.cosines(descriptors), labels))


def test_the_fixed_scale_stays() -> None:
    loss = create(adaptation="fixed")
    descriptors, labels = batch(0)
    value = loss(descriptors, labels)
    assert float(loss.scale) == pytest.approx(fixed_scale(CLASSES))
    torch.testing.assert_close(value, F.cross_entropy(loss.scale * loss.cosines(descriptors), labels))


def test_evaluation_and_logits_leave_the_scale_alone() -> None:
    loss = create()
    loss(*batch(0))
    scale = float(loss.scale)
    loss.logits(*batch(1))
    loss.eval()(*batch(1))
    assert float(loss.scale) == scale


def test_a_scale_that_would_not_be_positive_stays_where_it_was() -> None:
    loss = LOSSES.create("adacos", {}, dim=3, num_classes=3).double()
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0, 0], [-1, 0, 0], [-1, 0, 0]]))
    before = float(loss.scale)
    descriptors = torch.tensor([[1.0, 0, 0]], dtype=torch.float64)
    for _ in range(20):
        loss(descriptors, torch.tensor([0]))
        assert float(loss.scale) > 0
    assert float(dynamic_scale(torch.ones(1), torch.tensor([-0.5]))) < 0
    assert before == pytest.approx(math.sqrt(2) * math.log(2))


def test_backward_after_two_forwards() -> None:
    loss = create()
    (loss(*batch(0)) + loss(*batch(1))).backward()
    assert torch.isfinite(loss.weight.grad).all()


def test_the_scale_is_kept_with_the_weights() -> None:
    loss = create()
    loss(*batch(0))
    assert set(loss.state_dict()) == {"weight", "scale"}
    again = create()
    again.load_state_dict(loss.state_dict())
    assert again.scale == loss.scale


def test_too_few_classes() -> None:
    with pytest.raises(InputError, match="at least 3 classes"):
        LOSSES.create("adacos", {}, dim=4, num_classes=2)
    with pytest.raises(InputError, match="did you mean 'dynamic'"):
        create(adaptation="dynamc")
