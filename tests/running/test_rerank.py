"""The re-ranking step shows how far it is, also where ground truth chooses candidates and queries go in together."""

import io

import pytest
import torch
from rich.console import Console

from retrieval_bench.running.rerank import rerank
from retrieval_bench.running.state import RunState
from retrieval_bench.settings.loading import layered
from retrieval_bench.values.ranking import Ranking

RANKING = Ranking(torch.arange(4).repeat(6, 1), torch.zeros(6, 4))


class Reranker:
    top_k = 3

    def __init__(self, needs, truth):
        self.needs, self.uses_ground_truth = needs, truth
        self.given = []

    def __call__(self, ranking, query, database):
        self.given.append(query)
        for row in range(len(ranking)):
            assert query[row] is not None
        return ranking


class ByLevel(Reranker):
    def by_level(self, ranking, query, database):
        return dict.fromkeys(("easy", "medium", "hard"), self(ranking, query, database))


@pytest.mark.parametrize(
    ("reranker", "looked_at"),
    [
        (Reranker("feature maps", truth=False), 2),
        (Reranker("feature maps", truth=True), 1),
        (ByLevel("feature maps", truth=True), 1),
    ],
)
def test_the_bar_ends_at_all_queries(tmp_path, reranker, looked_at):
    told = io.StringIO()
    state = RunState(layered({"method": "gem"}), tmp_path, Console(file=told))
    found = rerank(state, reranker, RANKING, list("abcdef"), list("wxyz"))
    assert "re-rank" in told.getvalue()
    assert "6/6" in told.getvalue()
    assert len(reranker.given) == looked_at
    assert torch.equal(found.medium.indices, RANKING.indices)
    assert state.ground_truth_used == reranker.uses_ground_truth
    assert {cost.name for cost in state.costs} == {"re-ranking", "re-ranking per pair"}


def test_descriptors_are_handed_on_as_they_are(tmp_path):
    state = RunState(layered({"method": "gem"}), tmp_path, Console(quiet=True))
    reranker, descriptors = Reranker("descriptors", truth=True), torch.ones(6, 2)
    rerank(state, reranker, RANKING, descriptors, torch.ones(4, 2))
    assert reranker.given[0] is descriptors
