"""NetVLAD against a loop over positions and clusters, and how it starts."""

from typing import Any

import pytest
import torch
from torch import Tensor

from retrieval_bench.pooling import POOLINGS, Pooling
from retrieval_bench.pooling.netvlad import residual_sums
from retrieval_bench.settings.errors import InputError


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def build(channels: int = 6, **options: Any) -> Pooling:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return POOLINGS.create("netvlad", {"clusters": 4, "cluster_dim": None, **options}, in_channels=channels).eval()


def test_residual_sums_by_a_loop() -> None:
    local, assignment, centres = draw(2, 5, 3), draw(2, 5, 4, seed=1).softmax(dim=-1), draw(4, 3, seed=2)
    expected = torch.zeros(2, 4, 3, dtype=torch.float64)
    for image in range(2):
        for k in range(4):
            for position in range(5):
                expected[image, k] += assignment[image, position, k] * (local[image, position] - centres[k])
    torch.testing.assert_close(residual_sums(local, assignment, centres), expected)


@torch.no_grad()
@pytest.mark.parametrize("cluster_dim", [None, 3])
def test_the_whole_head_by_its_formula(cluster_dim: int | None) -> None:
    pooling = build(cluster_dim=cluster_dim, alpha=2.0).double()
    for seed, parameter in enumerate(pooling.parameters()):
        parameter.add_(0.1 * draw(*parameter.shape, seed=seed))
    feature_map = draw(2, 6, 3, 4)
    values = feature_map if pooling.reduce is None else pooling.reduce(feature_map)
    dim = values.shape[1]
    for image in range(2):
        positions = [v / v.norm() for v in values[image].flatten(1).T]
        total = torch.zeros(4, dim, dtype=torch.float64)
        for x in positions:
            shares = (pooling.assign.weight @ x + pooling.assign.bias).exp()
            shares = shares / shares.sum()
            for k in range(4):
                total[k] += shares[k] * (x - pooling.centres[k])
        expected = torch.cat([row / row.norm() for row in total])
        torch.testing.assert_close(pooling(feature_map)[image], expected / expected.norm())


@torch.no_grad()
def test_at_the_start_the_assignment_falls_with_the_distance() -> None:
    """``exp(-alpha |x - c_k|^2)`` over its sum: eq. 2 of the paper."""
    pooling, x = build(alpha=3.0), torch.nn.functional.normalize(draw(5, 6, dtype=torch.float32), dim=1)
    distances = torch.stack([(x - centre).square().sum(dim=1) for centre in pooling.centres], dim=1)
    torch.testing.assert_close(pooling.assign(x).softmax(dim=1), (-3.0 * distances).softmax(dim=1))
    torch.testing.assert_close(pooling.centres.norm(dim=1), torch.ones(4))


@torch.no_grad()
def test_centres_may_come_from_elsewhere() -> None:
    pooling, centres = build(), draw(4, 6, seed=5, dtype=torch.float32)
    pooling.start_from(centres)
    assert torch.equal(pooling.centres, centres)
    torch.testing.assert_close(pooling.assign.weight, 100 * centres)


@torch.no_grad()
def test_the_order_and_length_of_positions_do_not_matter() -> None:
    pooling, feature_map = build(), draw(2, 6, 3, 4, dtype=torch.float32)
    shuffled = feature_map.flatten(2)[..., torch.randperm(12, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(pooling(shuffled.unflatten(2, (4, 3))), pooling(feature_map))
    torch.testing.assert_close(pooling(7 * feature_map), pooling(feature_map))


def test_sizes() -> None:
    assert build(clusters=5).out_channels == 30
    assert POOLINGS.create("netvlad", {}, in_channels=512).out_channels == 64 * 128


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clusters": 0}, "pooling.clusters must be at least 1, got 0"),
        ({"cluster_dim": 0}, "pooling.cluster_dim must be at least 1, got 0"),
        ({"alpha": 0.0}, "pooling.alpha must be positive and finite, got 0"),
        ({"alpha": float("inf")}, "pooling.alpha must be positive and finite, got inf"),
    ],
    ids=str,
)
def test_options_that_mean_nothing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(**options)
