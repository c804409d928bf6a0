"""Draws without replacement."""

from collections import Counter
from itertools import islice

import pytest
import torch

from retrieval_bench.data.random_pools import BLOCK, DrawList, Pools, distinct, uniform


def draws(seed=0):
    return uniform(torch.Generator().manual_seed(seed))


def test_uniform_goes_on_behind_a_block_and_repeats_with_the_seed():
    numbers = list(islice(draws(), BLOCK + 100))
    assert numbers == list(islice(draws(), BLOCK + 100))
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) >= 0
    assert max(numbers) < 1
    assert numbers != list(islice(draws(1), BLOCK + 100))


@pytest.mark.parametrize(("count", "wanted"), [(5, 3), (5, 5), (3, 7), (1, 1), (0, 2), (4, 0)])
def test_distinct_numbers(count, wanted):
    chosen = distinct(count, wanted, draws())
    assert len(chosen) == min(count, wanted)
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(range(count))


def test_every_sequence_is_as_likely():
    source = draws()
    seen = Counter(tuple(distinct(4, 2, source)) for _ in range(6000))
    assert len(seen) == 12
    assert all(400 < times < 600 for times in seen.values())


def test_a_list_that_shrinks():
    items = DrawList([7, 3, 9, 5])
    items.remove(3)
    items.remove(3)
    items.remove(5)
    assert sorted(items.items) == [7, 9]
    assert {items.pick(0.0), items.pick(0.999)} == {7, 9}
    items.remove(7)
    items.remove(9)
    assert len(items) == 0


def test_pools_shrink_and_know_which_groups_are_left():
    pools = Pools([4, 4, None, 6, 4, 6, 8])
    assert sorted(pools.present.items) == [4, 6, 8]
    assert sorted(pools.crowded.items) == [4, 6]
    assert [pools.count(group) for group in (4, 6, 8, 99)] == [3, 2, 1, 0]
    assert {pools.pick(4, draw) for draw in (0.0, 0.4, 0.9)} == {0, 1, 4}
    for row in (2, 0, 3, 6):
        pools.remove(row)
    assert [pools.count(group) for group in (4, 6, 8)] == [2, 1, 0]
    assert {pools.pick(4, draw) for draw in (0.0, 0.9)} == {1, 4}
    assert pools.pick(6, 0.9) == 5
    assert sorted(pools.present.items) == [4, 6]
    assert pools.crowded.items == [4]
