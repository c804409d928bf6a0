from itertools import product

import numpy as np
import pytest

from retrieval_bench.evaluation.significance import paired_permutation_test
from retrieval_bench.settings.errors import InputError


def compare(first, second, seed=0, **options):
    return paired_permutation_test(np.asarray(first), np.asarray(second), np.random.default_rng(seed), **options)


def test_few_queries_are_tested_by_every_pattern_of_signs():
    generator = np.random.default_rng(4)
    first, second = generator.random(9).round(1), generator.random(9).round(1)
    difference = first - second
    sums = [abs(np.dot(signs, difference)) for signs in product([-1, 1], repeat=9)]
    expected = np.mean(np.array(sums) >= abs(difference.sum()) - 1e-9)
    found = compare(first, second)
    assert found.exact
    assert found.p_value == pytest.approx(expected)
    assert found.difference == pytest.approx(difference.mean())


def test_all_in_one_direction():
    # Of 2^8 patterns the observed one and its mirror image.
    assert compare(np.full(8, 0.7), np.full(8, 0.6)).p_value == pytest.approx(2 / 2**8)


def test_random_patterns_agree_with_all_of_them():
    generator = np.random.default_rng(7)
    first, second = generator.random(16), generator.random(16) + 0.15
    exact = compare(first, second)
    # Two tiny differences more push it over to random patterns and change next to nothing.
    sampled = compare([*first, 0.5, 0.5, 0.5], [*second, 0.5 + 1e-9, 0.5 - 1e-9, 0.5 + 1e-9], seed=1)
    assert exact.exact
    assert not sampled.exact
    assert sampled.p_value == pytest.approx(exact.p_value, abs=0.006)


def test_p_is_never_zero():
    found = compare(np.ones(200), np.zeros(200), permutations=999)
    assert not found.exact
    assert found.p_value == 1 / 1000


def test_equal_runs_and_no_queries():
    assert compare(np.ones(50), np.ones(50)).p_value == 1.0
    empty = compare([np.nan], [np.nan])
    assert (empty.p_value, empty.queries) == (1.0, 0)


def test_queries_without_positives_are_left_out_of_both():
    with_gap = compare([0.1, np.nan, 0.9], [0.2, np.nan, 0.3])
    assert with_gap == compare([0.1, 0.9], [0.2, 0.3])
    assert with_gap.queries == 2


def test_same_seed_same_p():
    generator = np.random.default_rng(8)
    first, second = generator.random(70), generator.random(70)
    assert compare(first, second, seed=2) == compare(first, second, seed=2)


def test_false_alarms_are_as_rare_as_promised():
    generator = np.random.default_rng(6)
    alarms = sum(
        paired_permutation_test(generator.random(30), generator.random(30), generator, permutations=400).p_value <= 0.1
        for _ in range(300)
    )
    assert 0.05 < alarms / 300 < 0.15


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([0.1, 0.2], [0.1], "same queries in both runs"),
        ([0.1, np.nan], [0.1, 0.2], "query 1 has a value in one run only"),
    ],
)
def test_runs_that_do_not_belong_together(first, second, message):
    with pytest.raises(InputError, match=message):
        compare(first, second)
    with pytest.raises(InputError, match="at least 1 permutation"):
        compare([0.1], [0.2], permutations=0)
