"""What the report draws of each query."""

from pathlib import Path

import pytest
import torch

from retrieval_bench.recording.gallery import BEST, DRAWN, MISSED, gallery, relations
from retrieval_bench.values.dataset import ImageList
from retrieval_bench.values.ranking import Ranking


def test_relations(make_dataset):
    assert relations(make_dataset().ground_truth, 0) == {0: "easy", 1: "easy", 5: "hard", 7: "junk"}
    assert relations([{}], 0) == {}


def test_best_candidates_in_order(make_dataset, ranking):
    row = gallery(make_dataset(), ranking).rows[0]
    assert (row.query, row.box) == ("q0", (1.0, 2.0, 30.0, 40.0))
    assert [one.name for one in row.best] == ["d4", "d0", "d7", "d5", "d1", "d2", "d3", "d6"]
    assert [one.position for one in row.best] == list(range(8))
    expected = ["negative", "easy", "junk", "hard", "easy", "negative", "negative", "negative"]
    assert [one.relation for one in row.best] == expected
    assert [one.score for one in row.best] == pytest.approx(ranking.scores[0].tolist())
    assert all(one.before is None for one in row.best)
    assert row.missed == []


def test_paths_are_whole(make_dataset, ranking):
    row = gallery(make_dataset(), ranking).rows[0]
    assert Path(row.path) == Path("q0.jpg").resolve()
    assert Path(row.best[0].path) == Path("jpg/d4.jpg").resolve()


def test_the_query_itself_is_not_shown_where_it_is_junk(make_dataset, ranking):
    row = gallery(make_dataset(), ranking).rows[2]
    assert row.query == "d2"
    assert [one.name for one in row.best] == ["d6", "d3", "d0", "d1", "d4", "d5", "d7"]
    assert [one.position for one in row.best] == list(range(1, 8))


def test_positions_before_the_re_ranking(make_dataset, ranking):
    before = Ranking(ranking.indices.flip(1), ranking.scores)
    row = gallery(make_dataset(), ranking, before).rows[0]
    assert [one.before for one in row.best] == [7 - one.position for one in row.best]


@pytest.fixture
def large(make_dataset):
    """Forty images; positives at the ends of the ranking."""
    names = [f"d{row}" for row in range(40)]
    truth = [{"easy": [1, 30, 31, 32], "hard": [33, 34, 35, 2], "junk": [36]}, {}, {}]
    images = ImageList(names, [Path(f"{name}.jpg") for name in names])
    ranking = Ranking(torch.arange(40).expand(3, -1), torch.linspace(1, 0, 40).expand(3, -1))
    return make_dataset(database=images, ground_truth=truth), ranking


def test_the_worst_positives_are_the_missed_ones(large):
    row = gallery(*large).rows[0]
    assert len(row.best) == BEST
    assert [one.position for one in row.missed] == [31, 32, 33, 34, 35]
    assert len(row.missed) == MISSED
    assert [one.relation for one in row.missed] == ["easy", "easy", "hard", "hard", "hard"]


def test_a_query_without_positives_has_missed_none(large):
    assert gallery(*large).rows[1].missed == []


def test_matches_are_drawn_for_the_first_candidates_only(large):
    asked = []

    def verify(query, row):
        asked.append((query, row))
        return [(1.0, 2.0)], [(3.0, float(row))]

    dataset, ranking = large
    row = gallery(dataset, ranking, None, verify).rows[0]
    assert [bool(one.query_points) for one in row.best] == [True] * DRAWN + [False] * (BEST - DRAWN)
    assert row.best[1].query_points == [(1.0, 2.0)]
    assert row.best[1].database_points == [(3.0, 1.0)]
    assert asked == [(query, row) for query in range(3) for row in range(DRAWN)]


def test_a_short_ranking(make_dataset):
    ranking = Ranking(torch.tensor([[4, 0]] * 3), torch.tensor([[1.0, 0.5]] * 3))
    row = gallery(make_dataset(), ranking).rows[0]
    assert [one.name for one in row.best] == ["d4", "d0"]
