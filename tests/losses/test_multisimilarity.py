"""Multi-similarity against a loop written from its formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from retrieval_bench.losses import LOSSES
from retrieval_bench.settings.errors import InputError

LABELS = [0, 1, 0, 2, 1, 0, 3, 2, 0, 4]


@pytest.mark.parametrize("mining", ["informative", "all"])
@pytest.mark.parametrize(
    "options", [{}, {"alpha": 1.0, "beta": 10.0, "threshold": 1.0, "epsilon": 0.05}, {"epsilon": -0.5}]
)
@pytest.mark.parametrize("spread", [0.4, 1.5])
def test_loop(mining: str, options: dict, spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor(LABELS)
    descriptors = torch.randn(5, 12, generator=generator, dtype=torch.float64)[labels]
    descriptors = descriptors + spread * torch.randn(10, 12, generator=generator, dtype=torch.float64)
    unit = F.normalize(descriptors, dim=1)
    s = (unit @ unit.T).tolist()
    used = {"alpha": 2.0, "beta": 50.0, "threshold": 0.5, "epsilon": 0.1} | options
    total = 0.0
    for i in range(10):
        positives = [s[i][j] for j in range(10) if j != i and LABELS[j] == LABELS[i]]
        negatives = [s[i][j] for j in range(10) if LABELS[j] != LABELS[i]]
        if mining == "informative":
            least, most = min(positives, default=math.inf), max(negatives, default=-math.inf)
            positives = [value for value in positives if value < most + used["epsilon"]]
            negatives = [value for value in negatives if value > least - used["epsilon"]]
        apart = sum(math.exp(-used["alpha"] * (value - used["threshold"])) for value in positives)
        close = sum(math.exp(used["beta"] * (value - used["threshold"])) for value in negatives)
        total += math.log1p(apart) / used["alpha"] + math.log1p(close) / used["beta"]
    loss = LOSSES.create("multisimilarity", {"mining": mining, **options})
    assert float(loss(descriptors, labels)) == pytest.approx(total / 10, rel=1e-10, abs=1e-12)


def test_a_well_ordered_batch_has_nothing_to_learn() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    descriptors = torch.eye(3, 8)[labels].requires_grad_()
    value = LOSSES.create("multisimilarity", {})(descriptors, labels)
    value.backward()
    assert value.item() == 0
    assert not descriptors.grad.any()


def test_no_overflow_where_all_is_alike() -> None:
    labels = torch.arange(64) % 2
    descriptors = torch.ones(64, 8, requires_grad=True)
    value = LOSSES.create("multisimilarity", {"beta": 400.0, "threshold": 0.0})(descriptors, labels)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(descriptors.grad).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"beta": 0}, "loss.beta must be positive"), ({"mining": "informativ"}, "did you mean 'informative'")],
)
def test_options_that_make_no_sense(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        LOSSES.create("multisimilarity", options)


@pytest.mark.parametrize("mining", ["informative", "all"])
def test_a_broken_descriptor_shows_in_the_loss(mining: str) -> None:
    descriptors = torch.randn(10, 12, generator=torch.Generator().manual_seed(0))
    descriptors[3, 0] = torch.nan
    assert torch.isnan(LOSSES.create("multisimilarity", {"mining": mining})(descriptors, torch.tensor(LABELS)))
