import pandas as pd
import pytest

from retrieval_bench.evaluation.result import Result

NAN = float("nan")
TABLE = pd.DataFrame(
    {
        "ap_easy": [1.0, NAN], "p1_easy": [1.0, NAN],
        "ap_medium": [0.5, 0.25], "p1_medium": [1.0, 0.0],
        "ap_hard": [NAN, NAN], "p1_hard": [NAN, NAN],
    }
)  # fmt: skip


def test_means_leave_out_queries_without_positives_in_ap_and_in_precision():
    result = Result(TABLE, [1])
    assert (result.map_easy, result.map_medium) == (1.0, 0.375)
    assert result.map_hard != result.map_hard
    assert result.mean_precision_at["easy"] == {1: 1.0}
    assert result.mean_precision_at["medium"] == {1: 0.5}
    assert result.queries == {"easy": 1, "medium": 2, "hard": 0}


def test_flat_figures_for_a_logger():
    figures = Result(TABLE, [1]).as_dict()
    assert list(figures) == ["map_easy", "mp1_easy", "map_medium", "mp1_medium", "map_hard", "mp1_hard"]
    assert figures["mp1_medium"] == 0.5


def test_it_prints_percent():
    assert repr(Result(TABLE, [1])) == "Result(mAP: easy 100.00, medium 37.50, hard nan; 2 queries)"
    assert isinstance(Result(TABLE, [1]).map_easy, float)
    assert pytest.approx(0.375) == Result(TABLE, [1]).map_medium


def test_levels_may_come_from_rankings_of_their_own():
    other = TABLE.assign(ap_easy=[0.75, NAN], p1_easy=[0.0, NAN], ap_medium=[0.0, 0.0])
    joined = Result.of_levels({"easy": Result(other, [1]), "medium": Result(TABLE, [1]), "hard": Result(TABLE, [1])})
    assert (joined.map_easy, joined.map_medium) == (0.75, 0.375)
    assert joined.mean_precision_at["easy"] == {1: 0.0}
    assert TABLE["ap_easy"][0] == 1.0
