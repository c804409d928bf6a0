"""Rankings of a run come back from disk as they were."""

import torch

from retrieval_bench.running.rankings import read_rankings, write_rankings
from retrieval_bench.values.ranking import LevelRankings, Ranking

RANKINGS = [Ranking(torch.tensor([[n, 3]]), torch.tensor([[0.5, -0.25]])) for n in range(4)]


def same(found: Ranking, expected: Ranking) -> bool:
    return torch.equal(found.indices, expected.indices) and torch.equal(found.scores, expected.scores)


def test_one_stage(tmp_path):
    write_rankings(tmp_path, {"global": LevelRankings.same(RANKINGS[0])})
    found = read_rankings(tmp_path)
    assert list(found) == ["global"]
    assert same(found["global"].hard, RANKINGS[0])
    assert not found["global"].differ


def test_levels_of_their_own_behind_a_global_stage(tmp_path):
    stages = {"global": LevelRankings.same(RANKINGS[3]), "reranked": LevelRankings(*RANKINGS[:3])}
    write_rankings(tmp_path, stages)
    assert [path.name for path in tmp_path.iterdir()] == ["ranking.npz"]
    found = read_rankings(tmp_path)
    assert list(found) == ["global", "reranked"]
    assert found["reranked"].differ
    for level, ranking in found["reranked"].of_levels().items():
        assert same(ranking, stages["reranked"].of_levels()[level])
    assert same(found["global"].medium, RANKINGS[3])
