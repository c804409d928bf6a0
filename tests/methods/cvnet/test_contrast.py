"""The contrastive loss against loops written from the formulas, and where it must stay finite."""

import math

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from torch import Tensor

from retrieval_bench.losses.curricularface import curricular_margin
from retrieval_bench.methods.cvnet.contrast import curricular_contrast, mean_over, positive_margin


def draw(queries: int, keys: int, seed: int = 0, classes: int = 4, dim: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of random directions in float64, and which pairs are positive and negative; some are neither."""
    generator = torch.Generator().manual_seed(seed)
    vectors = F.normalize(torch.randn(queries + keys, dim, generator=generator, dtype=torch.float64), dim=1)
    labels = torch.randint(0, classes, (queries + keys,), generator=generator)
    alike = labels[:queries, None] == labels[None, queries:]
    counted = torch.rand(queries, keys, generator=generator) > 0.1
    return vectors[:queries] @ vectors[queries:].T, alike & counted, ~alike & counted


def by_loops(cosines: Tensor, positives: Tensor, negatives: Tensor, t: float, margin: float, tau: float) -> list[float]:
    """The loss as it is written: one query, one positive, one negative at a time."""
    losses = []
    for row, values in enumerate(cosines.tolist()):
        terms = []
        for column, positive in enumerate(values):
            if not positives[row, column]:
                continue
            bound = math.cos(math.acos(positive) + margin)
            target = bound if positive > math.cos(math.pi - margin) else positive - margin * math.sin(margin)
            total = math.exp(target / tau)
            for other, negative in enumerate(values):
                if negatives[row, other]:
                    total += math.exp((negative if negative <= bound else negative * (t + negative)) / tau)
            terms.append(-math.log(math.exp(target / tau) / total))
        losses.append(sum(terms) / len(terms) if terms else 0.0)
    return losses


@pytest.mark.parametrize("t", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("margin", [0.0, 0.15, 0.5])
@pytest.mark.parametrize("keys", [1, 7, 40])
def test_it_is_what_the_formulas_say(t, margin, keys):
    cosines, positives, negatives = draw(9, keys, seed=keys)
    running = torch.tensor([t], dtype=torch.float64)
    found = curricular_contrast(cosines, positives, negatives, running, margin, 0.1)
    assert_allclose(found, by_loops(cosines, positives, negatives, t, margin, 0.1), rtol=1e-9, atol=1e-12)


def test_a_single_positive_is_curricularface_with_the_keys_as_classes():
    """The same function as in the classification loss: the positive's column is the class."""
    generator = torch.Generator().manual_seed(3)
    cosines = torch.rand(6, 20, generator=generator) * 2 - 1
    labels = torch.randint(0, 20, (6,), generator=generator)
    positives = F.one_hot(labels, 20).bool()
    t = torch.tensor([0.4])
    found = curricular_contrast(cosines, positives, ~positives, t, 0.15, 1 / 30)
    logits = 30 * curricular_margin(cosines, labels, t, 0.15)
    assert_allclose(found, F.cross_entropy(logits, labels, reduction="none"), rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_the_plain_form():
    cosines, positives, negatives = draw(6, 25)
    t, margin, tau = torch.tensor([0.3], dtype=torch.float64), 0.15, 0.1
    given = [cosines.clone().requires_grad_() for _ in range(2)]
    curricular_contrast(given[0], positives, negatives, t, margin, tau).sum().backward()

    own, bound = positive_margin(given[1], margin)
    values = given[1][:, None]  # (B, positive, negative)
    changed = torch.where(values > bound[..., None], values * (t + values), values) / tau
    others = changed.masked_fill(~negatives[:, None], -torch.inf).logsumexp(dim=2)
    mean_over(torch.logaddexp(own / tau, others) - own / tau, positives).sum().backward()
    assert_allclose(given[0].grad, given[1].grad, rtol=1e-8, atol=1e-12)
    assert given[0].grad.abs().sum() > 0


def test_what_counts_neither_way_changes_nothing():
    cosines, positives, negatives = draw(5, 30)
    t = torch.tensor([0.2])
    before = curricular_contrast(cosines, positives, negatives, t, 0.15, 0.1)
    changed = torch.where(positives | negatives, cosines, -cosines)
    assert not torch.equal(changed, cosines)
    assert torch.equal(curricular_contrast(changed, positives, negatives, t, 0.15, 0.1), before)


def test_each_positive_has_its_own_hard_negatives():
    cosines = torch.tensor([[0.9, 0.1, 0.5]])
    positives, negatives = torch.tensor([[True, True, False]]), torch.tensor([[False, False, True]])
    found = curricular_contrast(cosines, positives, negatives, torch.tensor([0.7]), 0.0, 0.1)
    easy, hard = 0.5 / 0.1, 0.5 * (0.7 + 0.5) / 0.1
    expected = [math.log1p(math.exp(easy - 9)), math.log1p(math.exp(hard - 1))]
    assert_allclose(found.item(), sum(expected) / 2, rtol=1e-5)


def test_a_negative_at_the_bound_is_easy():
    cosines = torch.tensor([[0.5, 0.5]])
    found = curricular_contrast(
        cosines, torch.tensor([[True, False]]), torch.tensor([[False, True]]), torch.tensor([0.9]), 0.0, 0.1
    )
    assert_allclose(found.item(), math.log(2), rtol=1e-6)


def test_no_positive_means_no_loss_and_no_gradient():
    cosines = torch.tensor([[0.3, -0.2], [0.1, 0.4]]).requires_grad_()
    positives = torch.tensor([[False, False], [True, False]])
    losses = curricular_contrast(cosines, positives, ~positives, torch.zeros(1), 0.15, 1 / 30)
    assert losses[0] == 0
    assert losses[1] > 0
    losses.sum().backward()
    assert not cosines.grad[0].any()
    assert cosines.grad[1].any()


def test_no_negative_means_no_loss():
    cosines = torch.tensor([[0.3, -0.2]]).requires_grad_()
    every = torch.ones(1, 2, dtype=torch.bool)
    loss = curricular_contrast(cosines, every, ~every, torch.zeros(1), 0.15, 1 / 30)
    loss.sum().backward()
    assert loss.item() == 0
    assert torch.equal(cosines.grad, torch.zeros(1, 2))


@pytest.mark.parametrize("value", [-1.0, 1.0])
@pytest.mark.parametrize("temperature", [1 / 30, 1 / 64, 1e-3])
def test_extreme_cosines_give_finite_losses_and_gradients(value, temperature):
    cosines = torch.tensor([[value, -value, value, -value, 0.0]]).requires_grad_()
    positives = torch.tensor([[True, True, False, False, False]])
    loss = curricular_contrast(cosines, positives, ~positives, torch.ones(1), 0.15, temperature)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert cosines.grad.isfinite().all()


def test_many_keys_keep_their_precision():
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(2, 50_000, generator=generator) * 0.4
    positives = torch.zeros_like(cosines, dtype=torch.bool)
    positives[:, ::10_000] = True
    t = torch.tensor([0.5])
    found = curricular_contrast(cosines, positives, ~positives, t, 0.15, 1 / 30)
    exact = curricular_contrast(cosines.double(), positives, ~positives, t.double(), 0.15, 1 / 30)
    assert_allclose(found, exact, rtol=1e-5)
