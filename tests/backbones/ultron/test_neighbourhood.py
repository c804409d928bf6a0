"""Neighbourhood attention against loops over positions."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from retrieval_bench.backbones.ultron.neighbourhood import (
    neighbourhood_attention,
    offsets_between,
    tiles,
    window_side,
    window_start,
)

SIZES = [(1, 1), (1, 9), (2, 2), (3, 3), (6, 6), (7, 4), (9, 12), (17, 5)]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def window(position: int, length: int, neighbourhood: int) -> list[int]:
    """The positions that one position sees along an axis: centred, and shifted inwards where it would leave the map."""
    side = min(neighbourhood, length)
    side -= side % 2 == 0
    seen = [position + step for step in range(-(side // 2), side // 2 + 1)]
    while seen[0] < 0:
        seen = [one + 1 for one in seen]
    while seen[-1] >= length:
        seen = [one - 1 for one in seen]
    return seen


def naive(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, *, scale_the_bias: bool) -> Tensor:
    """One position, one head at a time."""
    batch, heads, height, width, depth = query.shape
    neighbourhood = (bias.shape[-1] + 1) // 2
    result = torch.zeros_like(value)
    for b, h, i, j in itertools.product(range(batch), range(heads), range(height), range(width)):
        near = list(itertools.product(window(i, height, neighbourhood), window(j, width, neighbourhood)))
        scores = []
        for row, column in near:
            product = float(query[b, h, i, j] @ key[b, h, row, column])
            offset = float(bias[h, row - i + neighbourhood - 1, column - j + neighbourhood - 1])
            root = math.sqrt(depth)
            scores.append((product + offset) / root if scale_the_bias else product / root + offset)
        weights = torch.tensor(scores, dtype=torch.float64).softmax(dim=0)
        result[b, h, i, j] = sum(w * value[b, h, row, column] for w, (row, column) in zip(weights, near, strict=True))
    return result


@pytest.mark.parametrize("scaled", ["product", "sum"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_equals_loops(size: tuple[int, int], scaled: str) -> None:
    query, key, value = (draw(2, 3, *size, 4, seed=seed) for seed in range(3))
    bias = draw(3, 9, 9, seed=3)
    expected = naive(query, key, value, bias, scale_the_bias=scaled == "sum")
    torch.testing.assert_close(neighbourhood_attention(query, key, value, bias, scaled), expected)


@pytest.mark.parametrize("tile", [1, 3, 4, 100])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiles_change_nothing(size: tuple[int, int], tile: int) -> None:
    query, key, value = (draw(1, 2, *size, 4, seed=seed) for seed in range(3))
    bias = draw(2, 13, 13, seed=3)
    whole = neighbourhood_attention(query, key, value, bias)
    torch.testing.assert_close(neighbourhood_attention(query, key, value, bias, tile=tile), whole)


@pytest.mark.parametrize(("length", "side"), [(1, 1), (2, 1), (3, 3), (6, 5), (7, 7), (8, 7), (100, 7)])
def test_small_maps_have_small_odd_windows(length: int, side: int) -> None:
    assert window_side(length, 7) == side


@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 8, 30])
def test_windows_shift_inwards_and_stay_whole(length: int) -> None:
    side = window_side(length, 7)
    for position in range(length):
        start = window_start(position, length, side)
        assert list(range(start, start + side)) == window(position, length, 7)


def test_offsets_name_the_keys_of_a_window_once() -> None:
    found = offsets_between(range(2, 6), range(10), 10, 5, torch.zeros(1))
    assert found.shape == (4, 10, 9)
    for query in range(2, 6):
        for key in range(10):
            row = found[query - 2, key]
            if key in window(query, 10, 5):
                assert row.nonzero()[:, 0].tolist() == [key - query + 4]
            else:
                assert not row.any()


def test_tiles_cover_every_query_once_and_hold_all_its_keys() -> None:
    covered = []
    for queries, keys in tiles(23, 7, 6):
        covered += list(queries)
        for position in queries:
            assert set(window(position, 23, 7)) <= set(keys)
    assert covered == list(range(23))


def test_one_position_gives_its_value() -> None:
    query, key, value = (draw(2, 3, 1, 1, 4, seed=seed) for seed in range(3))
    torch.testing.assert_close(neighbourhood_attention(query, key, value, draw(3, 13, 13)), value)


def test_a_small_map_reads_the_middle_of_the_bias() -> None:
    query, key, value = (draw(1, 2, 3, 3, 4, seed=seed) for seed in range(3))
    bias = draw(2, 13, 13, seed=3).requires_grad_()
    neighbourhood_attention(query, key, value, bias).square().sum().backward()
    read = bias.grad.abs().amax(dim=0) > 0
    assert read[4:9, 4:9].all()
    assert read.sum() == 25


def test_gradients_equal_finite_differences() -> None:
    parts = [draw(1, 1, 3, 4, 2, seed=seed).requires_grad_() for seed in range(3)]
    bias = draw(1, 5, 5, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: neighbourhood_attention(*given, tile=2), (*parts, bias))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    query, key, value = (draw(1, 2, 9, 8, 16, seed=seed).to(dtype) for seed in range(3))
    bias = draw(2, 13, 13, seed=3).float()
    half = neighbourhood_attention(query, key, value, bias)
    assert half.dtype == dtype
    full = neighbourhood_attention(query.float(), key.float(), value.float(), bias)
    torch.testing.assert_close(half.float(), full, rtol=3e-2, atol=2e-2)
