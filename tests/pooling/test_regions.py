"""The region grid against a plain reading of its definition."""

import pytest

from retrieval_bench.pooling.regions import region_grid

# Counts without the whole map, from the published layer; in the last five, two numbers of extra regions tie.
COUNTS = {
    (7, 12): 20,
    (13, 6): 26,
    (8, 8): 14,
    (4, 15): 44,
    (2, 3): 20,
    (10, 18): 20,
    (72, 40): 20,
    (15, 55): 38,
    (25, 61): 32,
    (11, 47): 50,
}


@pytest.mark.parametrize("size", COUNTS)
def test_count(size: tuple[int, int]) -> None:
    assert len(region_grid(*size, levels=3)) == COUNTS[size]


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 17, 32])
@pytest.mark.parametrize("width", [1, 2, 4, 7, 21, 64])
def test_regions_lie_inside_the_map(height: int, width: int) -> None:
    for top, left, side in region_grid(height, width, levels=3):
        assert side >= 1
        assert 0 <= top <= height - side
        assert 0 <= left <= width - side


def test_first_level_of_a_square_map_is_the_whole_map() -> None:
    assert region_grid(9, 9, levels=1) == [(0, 0, 9)]


def test_transposed_map_has_transposed_regions() -> None:
    wide = {(left, top, side) for top, left, side in region_grid(7, 12, levels=3)}
    assert wide == set(region_grid(12, 7, levels=3))


@pytest.mark.parametrize(("width", "last"), [(32, 30), (62, 61), (63, 61)])
def test_starts_round_as_the_published_layer_in_float32(width: int, last: int) -> None:
    """For maps of two rows: the last column of the first may be left out, as there."""
    assert max(left for _, left, _ in region_grid(2, width, levels=2)) == last
