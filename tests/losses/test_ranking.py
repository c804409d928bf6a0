"""Ranking losses against loops written from their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.losses import LOSSES
from retrieval_bench.losses.fastap import histogram_ap, histograms
from retrieval_bench.losses.similarities import mean_over_queries
from retrieval_bench.settings.errors import InputError

LABELS = [0, 1, 0, 2, 1, 0, 3, 2, 0, 4]
"""Classes of one to four images."""


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    labels = torch.tensor(LABELS)
    return centres[labels] + torch.randn(10, 12, generator=generator, dtype=torch.float64), labels


def cosines(descriptors: Tensor) -> list[list[float]]:
    unit = F.normalize(descriptors, dim=1)
    return (unit @ unit.T).tolist()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def mates(query: int) -> list[int]:
    return [row for row in range(10) if row != query and LABELS[row] == LABELS[query]]


@pytest.mark.parametrize("temperature", [0.01, 0.1])
@pytest.mark.parametrize("query", ["left out", "counted"])
def test_smoothap(temperature: float, query: str) -> None:
    descriptors, labels = batch()
    s = cosines(descriptors)
    losses = []
    for q in range(10):
        if not mates(q):
            continue
        positives = mates(q) + ([q] if query == "counted" else [])
        negatives = [row for row in range(10) if LABELS[row] != LABELS[q]]
        precisions = []
        for i in positives:
            before = [
                sum(sigmoid((s[q][j] - s[q][i]) / temperature) for j in kind if j != i)
                for kind in (positives, negatives)
            ]
            precisions.append((1 + before[0]) / (1 + before[0] + before[1]))
        losses.append(1 - sum(precisions) / len(precisions))
    loss = LOSSES.create("smoothap", {"temperature": temperature, "query": query})
    assert float(loss(descriptors, labels)) == pytest.approx(sum(losses) / len(losses), abs=1e-12)


def test_smoothap_at_a_temperature_of_almost_0_is_one_minus_average_precision() -> None:
    descriptors, labels = batch()
    s = cosines(descriptors)
    expected = []
    for q in range(10):
        if not mates(q):
            continue
        order = sorted((row for row in range(10) if row != q), key=lambda row: -s[q][row])
        hits = [place for place, row in enumerate(order, 1) if row in mates(q)]
        expected.append(sum(found / place for found, place in enumerate(hits, 1)) / len(hits))
    loss = LOSSES.create("smoothap", {"temperature": 1e-6})
    assert float(loss(descriptors, labels)) == pytest.approx(1 - sum(expected) / len(expected), abs=1e-6)


@pytest.mark.parametrize(("ks", "outer", "inner"), [((1, 2, 4, 8, 16), 1.0, 0.01), ((3,), 0.5, 0.1)])
def test_recallatk(ks: tuple[int, ...], outer: float, inner: float) -> None:
    descriptors, labels = batch()
    s = cosines(descriptors)
    losses = []
    for q in range(10):
        if not mates(q):
            continue
        ranks = [1 + sum(sigmoid((s[q][z] - s[q][x]) / inner) for z in range(10) if z not in (q, x)) for x in mates(q)]
        recalls = [sum(sigmoid((k - rank) / outer) for rank in ranks) / len(ranks) for k in ks]
        losses.append(1 - sum(recalls) / len(ks))
    loss = LOSSES.create("recallatk", {"ks": ks, "rank_temperature": outer, "temperature": inner})
    assert float(loss(descriptors, labels)) == pytest.approx(sum(losses) / len(losses), abs=1e-12)


@pytest.mark.parametrize(("ks", "outer", "inner"), [((1, 2, 4, 8, 16), 1.0, 0.01), ((3,), 0.5, 0.1)])
def test_recallatk_as_released(ks: tuple[int, ...], outer: float, inner: float) -> None:
    descriptors, labels = batch()
    s = cosines(descriptors)
    losses = []
    for q in range(10):
        if not mates(q):
            continue
        ranks = [1 + sum(sigmoid((s[q][z] - s[q][x]) / inner) for z in range(10) if z != x) for x in mates(q)]
        recalls = [
            min(sum(sigmoid((min(k, 10) - rank) / (k * outer)) for rank in ranks), k) / min(k, len(ranks)) for k in ks
        ]
        losses.append(1 - sum(recalls) / len(ks))
    options = {"ks": ks, "rank_temperature": outer, "temperature": inner, "form": "released"}
    loss = LOSSES.create("recallatk", options)
    assert float(loss(descriptors, labels)) == pytest.approx(sum(losses) / len(losses), abs=1e-12)


@pytest.mark.parametrize("bins", [1, 4, 10])
def test_fastap(bins: int) -> None:
    descriptors, labels = batch()
    s = cosines(descriptors)
    width = 4 / bins
    losses = []
    for q in range(10):
        if not mates(q):
            continue
        totals, positives = [0.0] * (bins + 1), [0.0] * (bins + 1)
        for row in range(10):
            if row == q:
                continue
            for place in range(bins + 1):
                share = max(0.0, 1 - abs(2 - 2 * s[q][row] - place * width) / width)
                totals[place] += share
                positives[place] += share if row in mates(q) else 0
        precision = 0.0
        for place in range(bins + 1):
            retrieved = sum(totals[: place + 1])
            if retrieved > 0:
                precision += positives[place] * sum(positives[: place + 1]) / retrieved
        losses.append(1 - precision / len(mates(q)))
    value = LOSSES.create("fastap", {"bins": bins})(descriptors, labels)
    assert float(value) == pytest.approx(sum(losses) / len(losses), abs=1e-12)


def test_histograms_hold_every_image_once_at_the_ends_too() -> None:
    squared = torch.tensor([[0.0, 4.0, 1.3, 2.0]])
    held = histograms(squared, torch.tensor([[True, True, True, False]]), 8)
    torch.testing.assert_close(held.sum(), torch.tensor(3.0))
    assert held[0, 0] == 1
    assert held[0, 8] == 1


def test_average_precision_of_a_histogram_without_negatives_is_one() -> None:
    positives = torch.tensor([[0.0, 2.0, 0.0, 1.0]])
    torch.testing.assert_close(histogram_ap(positives, torch.zeros(1, 4)), torch.ones(1))


@pytest.mark.parametrize("name", ["smoothap", "recallatk", "fastap"])
def test_gradients_are_those_of_differences(name: str) -> None:
    loss = LOSSES.create(name, {"bins": 4} if name == "fastap" else {"temperature": 0.3})
    descriptors, labels = batch()
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), descriptors.requires_grad_())


@pytest.mark.parametrize("name", ["smoothap", "recallatk", "fastap"])
def test_a_better_ranking_costs_less(name: str) -> None:
    loss = LOSSES.create(name, {})
    _, labels = batch()
    random = torch.randn(10, 12, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    perfect = torch.eye(5, 12, dtype=torch.float64)[labels]
    values = [loss(weight * perfect + random, labels).item() for weight in (100.0, 5.0, 0.0)]
    assert values == sorted(values)
    assert values[0] < values[2] - 0.05


def test_queries_weigh_the_same_however_many_values_they_have() -> None:
    values, queries = torch.tensor([1.0, 3.0, 10.0]), torch.tensor([0, 0, 2])
    assert float(mean_over_queries(values, queries, 4)) == 6


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("smoothap", {"temperature": 0}, r"loss\.temperature must be positive and finite, got 0"),
        ("smoothap", {"query": "couned"}, "did you mean 'counted'"),
        ("smoothap", {"temprature": 1}, "did you mean 'temperature'"),
        ("recallatk", {"ks": []}, r"loss\.ks must be whole numbers from 1 up"),
        ("recallatk", {"ks": [0, 1]}, r"loss\.ks must be whole numbers from 1 up"),
        ("recallatk", {"rank_temperature": -1}, r"loss\.rank_temperature must be positive"),
        ("fastap", {"bins": 0}, r"loss\.bins must be at least 1"),
    ],
)
def test_options_that_make_no_sense(name: str, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        LOSSES.create(name, options)
    assert "\n" not in str(caught.value)
