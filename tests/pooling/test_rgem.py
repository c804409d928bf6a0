"""Regional-GeM: SuperGlobal's own numbers, a loop over windows, maps on which the published code fails."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity_case import load
from torch import Tensor

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.gem import GeM, generalised_mean
from retrieval_bench.pooling.gemp import GeMPlus
from retrieval_bench.pooling.rgem import RegionalGeMMap, reflected, regional_gem
from retrieval_bench.settings.errors import InputError

CASE = load(Path(__file__).parents[1] / "parity" / "superglobal" / "modules")


def feature_map(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).relu()


def by_hand(values: Tensor, p: float, size: int) -> Tensor:
    """Every window of every channel in turn, on a map that numpy continued by reflection."""
    margin = size // 2
    out = torch.empty_like(values)
    for image, channel in np.ndindex(*values.shape[:2]):
        plane = values[image, channel].double().numpy()
        padded = np.pad(plane, margin, mode="reflect")
        for row, column in np.ndindex(*plane.shape):
            window = padded[row : row + size, column : column + size]
            out[image, channel, row, column] = (plane[row, column] + np.mean(window**p) ** (1 / p)) / 2
    return out


@pytest.mark.parametrize(("output", "p", "size"), [("rgem", 2.5, 5), ("rgem_pr4_size3", 4.0, 3)])
def test_published_values(output, p, size):
    refined = regional_gem(torch.from_numpy(CASE.inputs["superglobal/map"]), p, size)
    torch.testing.assert_close(refined, torch.from_numpy(CASE.outputs[output]), **CASE.tolerance)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (1, 9), (7, 2), (3, 3), (4, 6)], ids=str)
@pytest.mark.parametrize(("p", "size"), [(2.5, 5), (3.0, 3), (1.0, 7), (2.5, 1)])
def test_formula_on_maps_of_any_size(shape, p, size):
    values = feature_map(2, 3, *shape)
    torch.testing.assert_close(regional_gem(values, p, size), by_hand(values, p, size))


@pytest.mark.parametrize("margin", [1, 2, 3])
def test_reflection_is_torch_s_where_that_runs(margin):
    for length in range(margin + 1, 9):
        line = torch.arange(float(length))
        expected = F.pad(line[None, None], (margin, margin), mode="reflect")[0, 0]
        assert torch.equal(line[reflected(length, margin)], expected)


def test_reflection_of_short_lines():
    assert reflected(1, 2).tolist() == [0] * 5
    assert reflected(2, 2).tolist() == [0, 1, 0, 1, 0, 1]
    assert reflected(2, 3).tolist() == [1, 0, 1, 0, 1, 0, 1, 0]


def test_negative_values_count_as_zero():
    signed = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(regional_gem(signed), regional_gem(signed.relu()))
    assert not regional_gem(-signed.abs()).any()


@pytest.mark.parametrize("least", [0.0, 1e-20])
def test_empty_windows_are_zero_and_have_finite_gradients(least):
    values = torch.full((1, 1, 12, 12), least)
    values[..., 0, 0] = 5.0
    values.requires_grad_()
    refined = regional_gem(values)
    assert (refined[..., 4:, 4:] == least / 2).all()
    refined.sum().backward()
    assert values.grad.isfinite().all()
    assert values.grad[0, 0, 0, 0] > 0


def test_gradients_are_those_of_the_formula():
    values = feature_map(1, 2, 4, 5).double().add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(regional_gem, (values,))


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e10, 1e30])
def test_scale_passes_through(scale):
    values = feature_map(1, 3, 6, 7)
    torch.testing.assert_close(regional_gem(values * scale) / scale, regional_gem(values))


def test_positions_are_pooled_afterwards():
    values = feature_map(2, 4, 6, 5)
    torch.testing.assert_close(RegionalGeMMap(4)(values), generalised_mean(regional_gem(values), 4.6, 1e-8))
    learnt = RegionalGeMMap(4, pr=2.0, size=3, then="gem", p=2.0)
    torch.testing.assert_close(learnt(values), generalised_mean(regional_gem(values, 2.0, 3), 2.0))


def test_options_by_name():
    assert isinstance(POOLINGS.create("rgem", {}, in_channels=4).then, GeMPlus)
    assert isinstance(POOLINGS.create("rgem", {"then": "gem"}, in_channels=4).then, GeM)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 4}, r"pooling\.size.*odd.*got 4"),
        ({"size": -1}, r"pooling\.size.*odd.*got -1"),
        ({"pr": 0.5}, r"pooling\.pr.*from 1 up, got 0.5"),
        ({"pr": float("inf")}, r"pooling\.pr.*got inf"),
        ({"p": 0.0}, r"pooling\.p,.*positive"),
        ({"then": "gempp"}, "did you mean 'gemp'"),
    ],
)
def test_impossible_options(options, said):
    with pytest.raises(InputError, match=said):
        POOLINGS.create("rgem", options, in_channels=4)
