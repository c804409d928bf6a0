"""k-means against its definition, and where there is little to cluster."""

import pytest
import torch
from torch import Tensor

from retrieval_bench.pooling import kmeans
from retrieval_bench.pooling.kmeans import k_means, seeds, squared_distances


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def test_distances() -> None:
    points, centres = draw(5, 3), draw(4, 3, seed=1)
    torch.testing.assert_close(squared_distances(points, centres), torch.cdist(points, centres).square())


def test_every_centre_is_the_mean_of_the_points_that_are_nearest_to_it() -> None:
    points = draw(300, 4)
    centres = k_means(points, 7, generator())
    nearest = torch.cdist(points, centres).argmin(dim=1)
    assert centres.shape == (7, 4)
    torch.testing.assert_close(centres, torch.stack([points[nearest == k].mean(dim=0) for k in range(7)]))


def test_iterations_bring_the_points_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    points = draw(300, 4)
    costs = [
        squared_distances(points, k_means(points, 7, generator(), iterations)).amin(dim=1).sum().item()
        for iterations in (0, 1, 3, 100)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 1.2 * costs[-1]
    monkeypatch.setattr(kmeans, "CHUNK", 64)
    chunked = squared_distances(points, k_means(points, 7, generator())).amin(dim=1).sum().item()
    assert chunked == pytest.approx(costs[-1])


def test_seeds_are_different_points_far_apart() -> None:
    near = torch.cat([centre + 0.01 * draw(50, 2, seed=seed) for seed, centre in enumerate((0, 10, 20))])
    for seed in range(20):
        found = seeds(near, 3, generator(seed))
        assert sorted((found.mean(dim=1) / 10).round().tolist()) == [0, 1, 2]


def test_the_generator_decides() -> None:
    points = draw(300, 4)
    torch.manual_seed(1)
    first = k_means(points, 7, generator())
    torch.manual_seed(2)
    assert torch.equal(k_means(points, 7, generator()), first)
    assert not torch.equal(k_means(points, 7, generator(1)), first)


def test_fewer_different_points_than_clusters() -> None:
    points = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).repeat(5, 1)
    centres = k_means(points, 4, generator())
    assert sorted(centres.tolist()) == [[0.0, 1.0], [2.0, 0.0]]
    assert k_means(torch.zeros(6, 3), 4, generator()).tolist() == [[0.0, 0.0, 0.0]]
