"""NetVLAD against a loop over positions and clusters, and how it starts."""

from typing import Any

import pytest
import torch
from torch import Tensor

from retrieval_bench.pooling import POOLINGS, Pooling, netvlad
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
    pooling.set_centres(centres, 50.0)
    assert torch.equal(pooling.centres, centres)
    torch.testing.assert_close(pooling.assign.weight, 100 * centres)


def groups(images: int = 6, side: int = 4, spread: float = 0.05) -> tuple[Tensor, Tensor]:
    """Maps ``(B, 6, side, side)`` whose positions lie, whatever their length, about four directions; and these."""
    directions = torch.linalg.qr(draw(6, 6, seed=7)).Q[:4].float()
    which = torch.randint(4, (images, side, side), generator=torch.Generator().manual_seed(1))
    which[0].flatten()[:4] = torch.arange(4)
    local = directions[which] + spread * draw(images, side, side, 6, seed=3, dtype=torch.float32)
    lengths = 1 + draw(images, side, side, 1, seed=4, dtype=torch.float32).abs()
    return (lengths * local).permute(0, 3, 1, 2), directions


def start(pooling: Pooling, *maps: Tensor, seed: int = 0) -> Pooling:
    with torch.no_grad():
        pooling.start_from(iter([(each,) for each in maps]), torch.Generator().manual_seed(seed))
    return pooling


@torch.no_grad()
def test_centres_start_from_the_groups_of_unit_descriptors() -> None:
    maps, directions = groups()
    pooling = start(build(), maps[:2], maps[2:])
    local = torch.nn.functional.normalize(maps.flatten(2).mT.flatten(0, 1), dim=1)
    nearest = (local @ directions.T).argmax(dim=1)
    means = torch.stack([local[nearest == k].mean(dim=0) for k in range(4)])
    order = (means @ pooling.centres.T).argmax(dim=1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    torch.testing.assert_close(pooling.centres[order], means)


@torch.no_grad()
def test_the_best_assignment_is_a_hundred_times_the_second() -> None:
    maps, _ = groups(spread=0.3)
    pooling = start(build(), maps)
    local = torch.nn.functional.normalize(maps.flatten(2).mT.flatten(0, 1), dim=1)
    two = pooling.assign(local).softmax(dim=1).topk(2).values
    assert (two[:, 0] / two[:, 1]).log().mean().exp().item() == pytest.approx(100, rel=1e-3)
    given = start(build(alpha=3.0), maps)
    torch.testing.assert_close(given.centres, pooling.centres)
    torch.testing.assert_close(given.assign.weight, 6 * given.centres)
    torch.testing.assert_close(given.assign.bias, -3 * given.centres.square().sum(dim=1))


@torch.no_grad()
def test_centres_start_behind_the_reduction_that_stays() -> None:
    maps, _ = groups()
    pooling = build(cluster_dim=3)
    before = {name: value.clone() for name, value in pooling.reduce.state_dict().items()}
    start(pooling, maps)
    assert all(torch.equal(value, pooling.reduce.state_dict()[name]) for name, value in before.items())
    bare = start(build(3), pooling.reduce(maps))
    assert torch.equal(bare.centres, pooling.centres)


@torch.no_grad()
def test_clusters_without_descriptors_keep_their_random_centres() -> None:
    pooling = build()
    before = pooling.centres.clone()
    one = draw(1, 6, 1, 1, dtype=torch.float32)
    start(pooling, one, 3 * one)
    torch.testing.assert_close(pooling.centres[0], torch.nn.functional.normalize(one.flatten(), dim=0))
    assert torch.equal(pooling.centres[1:], before[1:])


@torch.no_grad()
def test_a_hundred_descriptors_of_an_image_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    known = netvlad.k_means
    monkeypatch.setattr(netvlad, "k_means", lambda points, *given: seen.append(points) or known(points, *given))
    large, small = draw(2, 6, 20, 20, dtype=torch.float32), draw(1, 6, 3, 3, dtype=torch.float32)
    for seed in (0, 0, 1):
        start(build(), large, small, seed=seed)
    assert [len(points) for points in seen] == [209] * 3
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert len(seen[0].unique(dim=0)) == 209


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
