"""Correlation: what the published code computes volume by volume, at any size."""

import math

import pytest
import torch
import torch.nn.functional as F

from retrieval_bench.methods.cvnet.correlation import (
    EPS,
    aligned_levels,
    correlate,
    resized,
    scaled_size,
    unit_features,
)


def published(query, key):
    """Levels of two images -> ``(B, S * S, hq, wq, hk, wk)``: every volume on its own, then resized plane by plane."""

    def resize(volume, size, side):
        first = volume.permute(0, 3, 4, 1, 2) if side == "query" else volume
        flat = F.interpolate(first.flatten(1, 2), size, mode="bilinear", align_corners=True)
        back = flat.unflatten(1, first.shape[1:3])
        return back.permute(0, 3, 4, 1, 2) if side == "query" else back

    volumes = []
    for one in query:
        for other in key:
            products = torch.einsum("bcij,bckl->bijkl", one, other)
            norms = torch.einsum("bij,bkl->bijkl", one.norm(dim=1), other.norm(dim=1))
            volume = resize(products / (norms + 1e-8), query[-1].shape[-2:], "query")
            volumes.append(resize(volume, key[-1].shape[-2:], "key"))
    return torch.stack(volumes, dim=1).clamp(min=0)


def ours(query, key):
    one, other = aligned_levels(query), aligned_levels(key)
    pivots = correlate(one.flatten(3), other)  # (B, hq * wq, S * S, hk, wk)
    return pivots.unflatten(1, one.shape[-2:]).permute(0, 3, 1, 2, 4, 5)


def levels(height, width, seed, channels=6, batch=2, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [scaled_size(height, width, area) for area in (0.25, 0.5, 1.0)]
    return [torch.randn(batch, channels, *size, generator=generator) * scale for size in sizes]


SIZES = [((1, 1), (1, 1)), ((1, 1), (4, 6)), ((1, 7), (5, 2)), ((2, 2), (3, 3)), ((9, 7), (6, 10)), ((3, 40), (4, 3))]


@pytest.mark.parametrize(("one", "other"), SIZES)
def test_volumes_are_the_published_ones(one, other):
    query, key = levels(*one, seed=0), levels(*other, seed=1)
    torch.testing.assert_close(ours(query, key), published(query, key), rtol=1e-5, atol=1e-6)


def test_negative_correlation_counts_between_positions_and_is_then_dropped():
    one = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    other = torch.stack([torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])], dim=1).view(1, 2, 1, 2)
    # Two positions at the coarse scale become three: 1, (1 - 1) / 2, -1.
    found = ours([one, one, one], [other, other, resized(other, (1, 3))])
    torch.testing.assert_close(found[0, 0].flatten(), torch.tensor([1.0, 0.0, 0.0]))


@pytest.mark.parametrize("scale", [1e4, 1.0, 0.1])
def test_the_place_of_the_constant_does_not_matter_at_norms_that_occur(scale):
    query, key = levels(6, 5, seed=2, scale=scale), levels(4, 7, seed=3, scale=scale)
    torch.testing.assert_close(ours(query, key), published(query, key), rtol=1e-5, atol=2e-6)


def test_equal_norms_give_the_published_constant_however_small_they_are():
    one = F.normalize(torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0)), dim=1) * 1e-4
    found, expected = ours([one] * 3, [one] * 3), published([one] * 3, [one] * 3)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert found.max() == pytest.approx(1e-8 / (1e-8 + EPS), rel=1e-3)


def test_empty_positions_correlate_with_nothing():
    one = torch.zeros(1, 4, 3, 3, requires_grad=True)
    features = unit_features(one)
    assert torch.equal(features, torch.zeros_like(one))
    features.sum().backward()
    assert torch.isfinite(one.grad).all()


def test_norms_of_half_precision_maps_do_not_overflow():
    features = unit_features(torch.full((1, 256, 2, 2), 6e4, dtype=torch.float16))
    assert features.dtype == torch.float16
    torch.testing.assert_close(features.float().norm(dim=1), torch.ones(1, 2, 2), rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("side", "quarter", "half"), [(1, 1, 1), (2, 1, 1), (3, 2, 2), (5, 2, 4), (13, 6, 9), (24, 12, 17), (64, 32, 45)]
)
def test_sides_go_with_the_root_of_the_area(side, quarter, half):
    assert scaled_size(side, 8, 0.25) == (quarter, 4)
    assert scaled_size(8, side, 0.5) == (6, half)
    assert scaled_size(side, side, 1.0) == (side, side)
    assert quarter == max(1, round(side * math.sqrt(0.25)))
