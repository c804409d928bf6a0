"""The margin formulas at chosen angles, and tuples of a batch, against plain arithmetic."""

import math

import pytest
import torch

from retrieval_bench.losses.arcface import ArcFace, angular_margin
from retrieval_bench.losses.cosface import CosFace
from retrieval_bench.losses.curricularface import CurricularFace, curricular_margin
from retrieval_bench.losses.tuples import batch_tuples
from retrieval_bench.settings.errors import InputError

M = 0.3
BELOW = [0.1, 1.0, math.pi / 2, 2.5, math.pi - M - 0.01]
BEYOND = [math.pi - M + 0.01, 3.0, 3.13]


def cosine(theta: float) -> torch.Tensor:
    return torch.tensor([[math.cos(theta)]], dtype=torch.float64)


@pytest.mark.parametrize("theta", BELOW)
def test_arcface_adds_to_the_angle(theta: float) -> None:
    assert float(angular_margin(cosine(theta), M)) == pytest.approx(math.cos(theta + M), abs=1e-9)


@pytest.mark.parametrize("theta", BEYOND)
def test_arcface_beyond_the_last_angle(theta: float) -> None:
    assert float(angular_margin(cosine(theta), M, "keep")) == pytest.approx(math.cos(theta))
    assert float(angular_margin(cosine(theta), M, "linear")) == pytest.approx(math.cos(theta) - M * math.sin(M))


def test_linear_continuation_never_rises_with_the_angle() -> None:
    cosines = torch.cos(torch.linspace(0.01, math.pi - 0.01, 500, dtype=torch.float64))
    assert (angular_margin(cosines, M, "linear").diff() < 0).all()


def test_arcface_changes_the_own_class_only() -> None:
    loss = ArcFace(8, 5, margin=M, scale=10.0)
    descriptors, labels = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 4, 4])
    changed = (loss.logits(descriptors, labels) - loss.logits(descriptors)).abs() > 1e-4
    assert torch.equal(changed, torch.nn.functional.one_hot(labels, 5).bool())


def test_cosface_takes_the_margin_off() -> None:
    loss = CosFace(8, 5, margin=0.2, scale=10.0)
    descriptors, labels = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 4, 4])
    difference = loss.logits(descriptors) - loss.logits(descriptors, labels)
    torch.testing.assert_close(difference, 2.0 * torch.nn.functional.one_hot(labels, 5).float())


@pytest.mark.parametrize("theta", BELOW + BEYOND)
def test_curricular_margin(theta: float) -> None:
    own, hard, easy, t = math.cos(theta), 0.999, -0.9999999, 0.4
    cosines = torch.tensor([[own, hard, easy]], dtype=torch.float64)
    out = curricular_margin(cosines, torch.tensor([0]), torch.tensor([t], dtype=torch.float64), M)[0].tolist()
    expected = math.cos(theta + M) if theta < math.pi - M else own - M * math.sin(M)
    assert out[0] == pytest.approx(expected, abs=1e-9)
    assert out[1] == pytest.approx(hard * (t + hard))
    assert out[2] == pytest.approx(easy)


def test_curricular_state_moves_with_labels_only_and_in_evaluation_too() -> None:
    loss = CurricularFace(8, 5).eval()
    descriptors, labels = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 4, 4])
    loss.logits(descriptors)
    assert float(loss.t) == 0
    own = loss.cosines(descriptors).gather(1, labels[:, None]).mean()
    loss(descriptors, labels)
    torch.testing.assert_close(loss.t, 0.01 * own.detach().view(1))


def test_curricular_backward_after_two_forwards() -> None:
    loss = CurricularFace(8, 5)
    descriptors, labels = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 4, 4])
    (loss(descriptors, labels) + loss(descriptors, labels)).backward()
    assert torch.isfinite(loss.weight.grad).all()


def test_curricular_state_outlives_a_batch_that_overflowed() -> None:
    loss = CurricularFace(8, 5)
    descriptors, labels = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 4, 4])
    loss(descriptors, labels)
    before = loss.t.clone()
    assert torch.isnan(loss(descriptors * torch.nan, labels))
    torch.testing.assert_close(loss.t, before)


def test_wrong_option_is_named() -> None:
    with pytest.raises(InputError, match=r"loss\.beyond 'liner'; did you mean 'linear'"):
        ArcFace(8, 5, beyond="liner")  # type: ignore[arg-type]


def test_tuples_hold_every_pair_and_the_hardest_image_of_each_other_class() -> None:
    generator = torch.Generator().manual_seed(0)
    descriptors = torch.nn.functional.normalize(torch.randn(12, 4, generator=generator), dim=1)
    labels = torch.tensor([5, 5, 5, 1, 1, 9, 9, 9, 7, 3, 3, 2])
    tuples = batch_tuples(descriptors, labels, negatives=3)
    similarity = descriptors @ descriptors.T
    expected = []
    for query in range(12):
        best = {}
        for row in sorted(range(12), key=lambda row: -float(similarity[query, row])):
            if labels[row] != labels[query]:
                best.setdefault(int(labels[row]), row)
        negatives = list(best.values())[:3]
        expected += [[query, row, *negatives] for row in range(12) if row != query and labels[row] == labels[query]]
    assert tuples.tolist() == expected


def test_tuples_of_a_batch_without_pairs_or_without_negatives() -> None:
    descriptors = torch.eye(4)
    assert batch_tuples(descriptors, torch.arange(4), negatives=2).shape == (0, 4)
    assert batch_tuples(descriptors, torch.zeros(4, dtype=torch.long), negatives=2).shape == (12, 2)
