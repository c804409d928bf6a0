"""The spatial-context branch against naive loops, at the edges, and within its memory."""

import math

import pytest
import torch
from numpy.testing import assert_allclose
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from retrieval_bench.pooling.spca import context
from retrieval_bench.pooling.spca.context import SpatialContext, proximity, soft_assignment, surroundings

CPU = torch.device("cpu")
GRIDS = [(1, 1), (1, 7), (5, 3), (4, 4)]


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def branch(channels: int = 12, codebook_size: int = 4, local_dim: int = 6, powers: int = 2, first_power: int = 2):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpatialContext(channels, codebook_size, local_dim, powers, first_power)


def naive_proximity(height: int, width: int) -> list[list[float]]:
    grid = [(row, column) for row in range(height) for column in range(width)]
    near = [[math.exp(-math.dist(one, other)) for other in grid] for one in grid]
    sums = [sum(row[column] for row in near) for column in range(len(grid))]
    return [[value / sums[column] for column, value in enumerate(row)] for row in near]


def test_assignment_is_the_posterior_of_the_mixture():
    local, tokens = drawn(2, 5, 3), drawn(4, 3, seed=1)
    prior, variance = drawn(4, seed=2).abs() + 0.1, drawn(4, seed=3).abs() + 0.1
    found = soft_assignment(local, tokens, prior, variance)
    for image in range(2):
        for position in range(5):
            weights = [
                float(prior[k] / variance[k].sqrt())
                * math.exp(-sum((local[image, position] - tokens[k]) ** 2) / (2 * variance[k]))
                for k in range(4)
            ]
            assert_allclose(found[image, position], [weight / sum(weights) for weight in weights], rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, -0.3])
def test_priors_and_variances_that_training_drove_below_zero(value):
    local, tokens = drawn(1, 5, 3).requires_grad_(), drawn(4, 3, seed=1)
    prior, variance = torch.full((4,), 0.25, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    prior[1], variance[2] = value, value
    found = soft_assignment(local, tokens, prior, variance)
    found[..., 0].sum().backward()
    assert_allclose(found.sum(dim=-1).detach(), 1.0, rtol=1e-9)
    assert (found[..., 1] < 1e-4).all()
    assert local.grad.isfinite().all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_proximity_is_its_formula(grid):
    found = proximity(*grid, CPU)
    assert_allclose(found, naive_proximity(*grid), rtol=1e-5)
    assert_allclose(found.sum(dim=0), 1.0, rtol=1e-5)


def test_a_grid_is_not_its_transpose():
    assert not torch.allclose(proximity(2, 6, CPU), proximity(6, 2, CPU))


def test_few_grids_are_kept_and_no_large_ones(monkeypatch):
    assert proximity(3, 5, CPU) is proximity(3, 5, CPU)
    first = proximity(3, 5, CPU)
    for side in range(1, context.CACHED_GRIDS + 1):
        proximity(2, side, CPU)
    assert proximity(3, 5, CPU) is not first
    monkeypatch.setattr(context, "LARGEST_CACHED", 14)
    assert proximity(3, 5, CPU) is not proximity(3, 5, CPU)


def test_a_grid_first_met_in_inference_mode_can_be_trained_on():
    module, feature_map = branch(), drawn(1, 12, 3, 11, dtype=torch.float32)
    with torch.inference_mode():
        module(feature_map)
    module(feature_map).context.square().sum().backward()
    assert module.clusters.grad.any()


@pytest.mark.parametrize("first_power", [1, 2])
def test_surroundings_are_powers(first_power):
    weights, nearness = drawn(2, 3, 12), proximity(3, 4, CPU).double()
    found = surroundings(weights, nearness, 3, first_power)
    expected = [weights @ torch.linalg.matrix_power(nearness, power) for power in range(first_power, first_power + 3)]
    assert_allclose(found, torch.cat(expected, dim=1), rtol=1e-9)


@pytest.mark.parametrize("first_power", [1, 2])
def test_the_whole_branch(first_power):
    module = branch(first_power=first_power).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter + 0.1 * drawn(*parameter.shape, seed=5))
        feature_map = drawn(1, 12, 3, 4)
        maps = module(feature_map)
        local = torch.einsum("dc,bcn->bnd", module.project.weight[:, :, 0, 0], feature_map.flatten(2))[0]
        assignment = soft_assignment(local, module.token_norm(module.clusters[0]), module.prior[0], module.variance[0])
        weights = (assignment + 1e-8) / (assignment + 1e-8).sum(dim=0)
        nearness = torch.tensor(naive_proximity(3, 4), dtype=torch.float64)
        for row in range(3):
            for column in range(4):
                position = 4 * row + column
                values = [
                    weights.T @ torch.linalg.matrix_power(nearness, first_power + step)[:, position] for step in (0, 1)
                ]
                assert_allclose(maps.context[0, :, row, column], module.norm(torch.cat(values)), atol=1e-6)
                assert_allclose(maps.assignment[0, :, row, column], assignment[position], atol=1e-7)


@pytest.mark.parametrize("grid", [*GRIDS, (1, 16)], ids=str)
def test_any_grid(grid):
    module = branch()
    maps = module(drawn(2, 12, *grid, dtype=torch.float32))
    assert maps.context.shape == (2, module.out_channels, *grid)
    assert maps.assignment.shape == (2, 4, *grid)
    assert_allclose(maps.assignment.sum(dim=1).detach(), 1.0, rtol=1e-5)
    maps.context.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_how_it_starts():
    module = branch(codebook_size=5, local_dim=8)
    bound = math.sqrt(6 / (5 * 8 + 8))
    assert bound / 2 < module.clusters.abs().max() <= bound
    assert_allclose(module.prior.detach(), 0.2, rtol=1e-6)
    assert_allclose(module.variance.detach(), 1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_in_and_float32_goes_out(dtype):
    module, feature_map = branch(), (100 * drawn(2, 12, 3, 4)).to(dtype)
    exact = module(feature_map.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = module(feature_map)
    assert maps.context.dtype == maps.assignment.dtype == torch.float32
    assert torch.equal(maps.context, exact.context)
    assert torch.equal(maps.assignment, exact.assignment)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that is made, and how many matrix products make one of N x N."""

    def __init__(self, positions: int):
        super().__init__()
        self.positions, self.elements, self.powers = positions, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
                product = "mm" in str(function)
                self.powers += product and tensor.shape[-2:] == (self.positions, self.positions)
        return made


def test_memory_on_a_large_map():
    """Neither differences to all tokens at once (B x D x N x K) nor powers of the N x N matrix are formed."""
    module, positions = branch(12, 16, 128, 3), 46 * 46
    feature_map = drawn(2, 12, 46, 46, dtype=torch.float32)
    with torch.no_grad(), Largest(positions) as seen:
        module(feature_map)
    assert seen.elements == positions**2 < 2 * 128 * positions * 16
    assert seen.powers == 0
