"""The formulas, against the authors' code and against hand-made examples."""

import math
from pathlib import Path

import numpy as np
import pytest
from parity_case import load

from retrieval_bench.evaluation.revisited import average_precision, positions, precision_at, query_figures

PARITY = Path(__file__).parents[1] / "parity" / "revisitop"
CASE = load(PARITY / "compute_ap")


@pytest.mark.parametrize("name", CASE.settings["positives"])
def test_average_precision_equals_the_published_code(name):
    ap = average_precision(CASE.inputs[name], CASE.settings["positives"][name])
    expected = CASE.outputs[name.removeprefix("revisitop/") + "_ap_64"]
    np.testing.assert_allclose(ap, expected, **CASE.tolerance)


def test_positions_do_not_depend_on_the_order_of_the_counts():
    # Ranking: negative, positive, positive, negative, negative, positive.
    assert positions(np.array([3, 1, 1])).tolist() == [1, 2, 5]


def test_two_positives_at_ranks_0_and_3():
    found = positions(np.array([0, 2]))
    assert found.tolist() == [0, 3]
    # By rectangles it would be 0.75.
    assert average_precision(found, 2) == pytest.approx(0.7083333333)
    assert [precision_at(k, found, 2) for k in (1, 5, 10)] == [1.0, 0.5, 0.5]


def test_junk_above_a_positive_moves_it_up():
    # Ranking: positive, junk, negative, positive: one negative above the second positive.
    assert average_precision(positions(np.array([0, 1])), 2) == pytest.approx(0.7916666667)


def test_no_positives_is_no_number_and_none_retrieved_is_zero():
    nothing = np.empty(0, dtype=np.int64)
    assert math.isnan(average_precision(nothing, 0))
    assert math.isnan(precision_at(5, nothing, 0))
    assert average_precision(nothing, 3) == 0
    assert precision_at(5, nothing, 3) == 0


def test_missed_positives_stay_in_the_divisor_of_ap_but_not_in_that_of_precision():
    found = np.array([0])
    assert average_precision(found, 4) == 0.25
    assert precision_at(10, found, 4) == 1.0


def test_levels_join_and_part_easy_and_hard():
    # Ranking: hard, negative, easy.
    figures = query_figures({"easy": np.array([1]), "hard": np.array([0])}, {"easy": 1, "hard": 1}, [1, 2])
    assert figures["ap_easy"] == pytest.approx((0 + 1 / 2) / 2)
    assert figures["ap_medium"] == pytest.approx((1 + 1 + 1 / 2 + 2 / 3) / 4)
    assert figures["ap_hard"] == 1.0
    assert [figures[f"p{k}_{level}"] for level in ("easy", "medium", "hard") for k in (1, 2)] == [0, 0.5, 1, 0.5, 1, 1]
