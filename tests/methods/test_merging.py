"""Descriptors merged over scales, against their formulas."""

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose

from retrieval_bench.methods.merging import MERGES, merge_scales
from retrieval_bench.settings.protocol import Protocol


def parts(count: int = 3, positive: bool = False) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = [5 * torch.randn(4, 6, generator=generator) for _ in range(count)]
    return [part.abs() if positive else part for part in drawn]


def unit(values):
    return values / values.norm(dim=-1, keepdim=True)


def test_the_mean_of_unit_descriptors_is_normalised():
    given = parts()
    expected = unit(sum(unit(part) for part in given) / 3)
    assert_allclose(merge_scales(given, Protocol()), expected, rtol=1e-5, atol=1e-7)


def test_the_mean_of_raw_descriptors_weighs_by_their_norm():
    given = parts()
    assert_allclose(merge_scales(given, Protocol(merge="raw-mean")), unit(sum(given) / 3), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 2.5])
def test_the_power_mean_is_its_formula(exponent):
    given = parts(positive=True)
    mean = (sum(unit(part).double() ** exponent for part in given) / 3) ** (1 / exponent)
    assert_allclose(merge_scales(given, Protocol(merge="power-mean"), exponent), unit(mean), rtol=1e-5)
    fixed = Protocol(merge="power-mean", merge_exponent=exponent)
    assert_allclose(merge_scales(given, fixed, 7.0), unit(mean), rtol=1e-5)


def test_the_maximum_is_taken_of_unit_descriptors():
    given = parts()
    expected = unit(torch.stack([unit(part) for part in given]).amax(0))
    assert_allclose(merge_scales(given, Protocol(merge="max")), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("exponent", [3.0, 10.0])
def test_the_shifted_power_is_its_formula_image_by_image(exponent):
    given = parts()
    merged = merge_scales(given, Protocol(merge="shifted-power", merge_exponent=exponent))
    for image in range(4):
        stacked = torch.stack([part[image] for part in given]).double()
        least = stacked.min()
        expected = ((stacked - least) ** exponent).mean(0) ** (1 / exponent) + least
        assert_allclose(merged[image], unit(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("merge", MERGES)
def test_equal_or_zero_descriptors_stay_finite(merge):
    protocol = Protocol(merge=merge, merge_exponent=3.0)
    zeros = torch.zeros(1, 4)
    assert merge_scales([zeros, zeros], protocol).isfinite().all()
    assert merge_scales([zeros, torch.tensor([[1.0, 0, 0, 0]])], protocol).isfinite().all()
    same = torch.full((1, 4), 2.0)
    assert_allclose(merge_scales([same, same], protocol), torch.full((1, 4), 0.5), rtol=1e-5)


@pytest.mark.parametrize("merge", MERGES)
def test_one_scale_is_itself(merge):
    (given,) = parts(1)
    merged = merge_scales([given], Protocol(merge=merge, merge_exponent=3.0))
    assert_allclose(merged, F.normalize(given, dim=1), rtol=1e-4, atol=1e-6)
