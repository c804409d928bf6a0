import numpy as np
import pytest

from retrieval_bench.evaluation.intervals import bootstrap_interval
from retrieval_bench.settings.errors import InputError


def interval(values, seed=0, **options):
    return bootstrap_interval(np.asarray(values), np.random.default_rng(seed), **options)


def test_queries_without_a_value_change_nothing():
    values = np.random.default_rng(1).random(40)
    assert interval(values) == interval(np.insert(values, [0, 7, 7], np.nan))


def test_same_seed_same_interval():
    values = np.random.default_rng(1).random(40)
    assert interval(values, seed=3) == interval(values, seed=3)
    assert interval(values, seed=3) != interval(values, seed=4)


def test_it_is_as_wide_as_the_normal_approximation_says():
    values = np.random.default_rng(2).normal(0.5, 0.1, 400)
    low, high = interval(values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_it_holds_the_truth_as_often_as_it_claims():
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        low, high = bootstrap_interval(generator.random(70), generator, confidence=0.8, resamples=500)
        held += low <= 0.5 <= high
    assert 0.7 < held / 200 < 0.9


def test_one_query_or_none():
    assert interval([0.3]) == pytest.approx((0.3, 0.3))
    assert np.isnan(interval([np.nan])).all()


@pytest.mark.parametrize("options", [{"confidence": 95}, {"confidence": 0}, {"resamples": 0}])
def test_impossible_settings(options):
    with pytest.raises(InputError):
        interval([0.1, 0.2], **options)
