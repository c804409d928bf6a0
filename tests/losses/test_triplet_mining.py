"""Mined triplets and the options of triplet and contrastive losses, against loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.losses import LOSSES
from retrieval_bench.losses.similarities import squared_distances
from retrieval_bench.losses.triplet_mining import mined_triplets
from retrieval_bench.losses.tuples import batch_tuples
from retrieval_bench.settings.errors import InputError

LABELS = [0, 1, 0, 2, 1, 0, 3, 2, 0, 4]
N = len(LABELS)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor(LABELS)
    descriptors = torch.randn(5, 6, generator=generator, dtype=torch.float64)[labels]
    return F.normalize(descriptors + torch.randn(N, 6, generator=generator, dtype=torch.float64), dim=1), labels


def kinds(query: int) -> tuple[list[int], list[int]]:
    positives = [row for row in range(N) if row != query and LABELS[row] == LABELS[query]]
    return positives, [row for row in range(N) if LABELS[row] != LABELS[query]]


def chosen(d: list[list[float]], mining: str) -> set[tuple[int, int, int]]:
    found = set()
    for q in range(N):
        positives, negatives = kinds(q)
        if not positives:
            continue
        if mining == "batch-hard":
            found.add((q, max(positives, key=lambda p: d[q][p]), min(negatives, key=lambda n: d[q][n])))
        for p in positives:
            if mining == "all":
                found |= {(q, p, n) for n in negatives}
            if mining == "semi-hard":
                beyond = [n for n in negatives if d[q][n] > d[q][p]]
                best = min(beyond, key=lambda n: d[q][n]) if beyond else max(negatives, key=lambda n: d[q][n])
                found.add((q, p, best))
    return found


@pytest.mark.parametrize("mining", ["batch-hard", "semi-hard", "all"])
def test_triplets(mining: str) -> None:
    descriptors, labels = batch()
    squared = squared_distances(descriptors)
    triplets = mined_triplets(squared, labels, mining)
    assert len({tuple(row) for row in triplets.tolist()}) == len(triplets)
    assert {tuple(row) for row in triplets.tolist()} == chosen(squared.tolist(), mining)


def test_a_positive_beyond_all_negatives_takes_the_farthest_of_them() -> None:
    squared = torch.tensor([[0.0, 3.0, 1.0, 2.0], [3.0, 0.0, 3.5, 3.5], [1, 3.5, 0, 1], [2, 3.5, 1, 0]])
    triplets = mined_triplets(squared, torch.tensor([0, 0, 1, 2]), "semi-hard")
    assert [0, 1, 3] in triplets.tolist()


@pytest.mark.parametrize("mining", ["batch-hard", "semi-hard", "all"])
def test_nothing_to_mine(mining: str) -> None:
    squared = torch.rand(4, 4)
    assert mined_triplets(squared, torch.arange(4), mining).shape == (0, 3)
    assert mined_triplets(squared, torch.zeros(4, dtype=torch.long), mining).shape == (0, 3)


@pytest.mark.parametrize("mining", ["class-hardest", "batch-hard", "semi-hard", "all"])
@pytest.mark.parametrize("distance", ["squared", "euclidean"])
@pytest.mark.parametrize("hinge", ["hard", "soft"])
@pytest.mark.parametrize("reduction", ["sum", "mean", "mean-active"])
def test_triplet_loss(mining: str, distance: str, hinge: str, reduction: str) -> None:
    descriptors, labels = batch()
    squared = squared_distances(descriptors).tolist()
    if mining == "class-hardest":
        rows = [(row[0], row[1], row[2:]) for row in batch_tuples(descriptors, labels, 2).tolist()]
    else:
        rows = [(q, p, [n]) for q, p, n in sorted(chosen(squared, mining))]
    terms = []
    for q, p, negatives in rows:
        near, fars = squared[q][p], [squared[q][n] for n in negatives]
        if distance == "euclidean":
            near, fars = math.sqrt(near), [math.sqrt(far) for far in fars]
        violations = [near - far + 0.3 for far in fars]
        terms += [max(0.0, v) if hinge == "hard" else math.log1p(math.exp(v)) for v in violations]
    count = {"sum": 1, "mean": len(rows), "mean-active": max(1, sum(term > 0 for term in terms))}[reduction]
    options = {"margin": 0.3, "negatives": 2, "mining": mining, "distance": distance, "hinge": hinge}
    value = LOSSES.create("triplet", {**options, "reduction": reduction})(descriptors, labels)
    assert float(value) == pytest.approx(sum(terms) / count, rel=1e-9)


@pytest.mark.parametrize("penalty", ["squared", "linear"])
@pytest.mark.parametrize("positive_margin", [0.0, 0.4])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("mining", ["class-hardest", "batch-hard", "all"])
def test_contrastive_loss(mining: str, penalty: str, positive_margin: float, reduction: str) -> None:
    descriptors, labels = batch()
    squared = squared_distances(descriptors).tolist()

    def near(q: int, p: int) -> float:
        excess = max(0.0, math.sqrt(squared[q][p]) - positive_margin)
        return excess**2 if penalty == "squared" else excess

    def far(q: int, n: int) -> float:
        lack = max(0.0, 0.9 - math.sqrt(squared[q][n]))
        return lack**2 if penalty == "squared" else lack

    if mining == "all":
        apart = [near(q, p) for q in range(N) for p in kinds(q)[0]]
        close = [far(q, n) for q in range(N) for n in kinds(q)[1]]
        counts = (1, 1) if reduction == "sum" else (len(apart), len(close))
        expected = 0.5 * (sum(apart) / counts[0] + sum(close) / counts[1])
    else:
        mined = [[*row] for row in sorted(chosen(squared, "batch-hard"))]
        rows = batch_tuples(descriptors, labels, 2).tolist() if mining == "class-hardest" else mined
        terms = [near(q, p) + sum(far(q, n) for n in negatives) for q, p, *negatives in rows]
        expected = 0.5 * sum(terms) / (1 if reduction == "sum" else len(rows))
    options = {"margin": 0.9, "negatives": 2, "mining": mining, "penalty": penalty, "reduction": reduction}
    value = LOSSES.create("contrastive", {**options, "positive_margin": positive_margin})(descriptors, labels)
    # cirtorch adds 1e-6 to every component of a difference.
    assert float(value) == pytest.approx(expected, rel=1e-4)


OPTIONS = [
    *(("triplet", {"mining": mining, "distance": "euclidean"}) for mining in ("batch-hard", "semi-hard", "all")),
    *(("contrastive", {"mining": mining}) for mining in ("batch-hard", "all")),
    ("contrastive", {"penalty": "linear", "positive_margin": 0.1}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_gradients_are_finite_where_images_are_alike(name: str, options: dict) -> None:
    loss = LOSSES.create(name, options)
    for labels in (torch.arange(8) // 2, torch.arange(8), torch.zeros(8, dtype=torch.long)):
        for descriptors in (torch.zeros(8, 6), torch.ones(8, 6), torch.eye(2, 6)[torch.arange(8) // 4]):
            alike = descriptors.clone().requires_grad_()
            value = loss(alike, labels)
            value.backward()
            assert torch.isfinite(value)
            assert torch.isfinite(alike.grad).all()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("triplet", {"mining": "batchhard"}, "did you mean 'batch-hard'"),
        ("triplet", {"distance": "euclid"}, "did you mean 'euclidean'"),
        ("triplet", {"hinge": "sooft"}, "did you mean 'soft'"),
        ("triplet", {"reduction": "mean-activ"}, "did you mean 'mean-active'"),
        ("contrastive", {"penalty": "square"}, "did you mean 'squared'"),
        ("contrastive", {"mining": "al"}, "did you mean 'all'"),
    ],
)
def test_unknown_choices(name: str, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        LOSSES.create(name, options)
    with pytest.raises(InputError, match=said):
        LOSSES.get(name)(**options)
