"""What is no re-ranker, and what gives no ranking, is named."""

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.reranking.base import RERANKERS, Reranker, register_reranker
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import Ranking


class NoReranker:
    def __call__(self, ranking, query, database):
        return ranking


class Nothing(Reranker):
    def __call__(self, ranking, query, database):
        return None


class Shorter(Reranker):
    def __call__(self, ranking, query, database):
        return Ranking(ranking.indices[:, :2], ranking.scores[:, :2])


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (NoReranker, "makes a NoReranker, which must inherit from retrieval_bench.reranking.Reranker; see"),
        (Nothing, r"gave NoneType, not a Ranking of \(1, 3\); see retrieval-bench check reranker wrong_for_test"),
        (Shorter, r"gave a ranking of \(1, 2\), not a Ranking of \(1, 3\)"),
    ],
)
def test_what_is_no_reranker_is_named(part, said):
    register_reranker("wrong_for_test")(part)
    try:
        with pytest.raises(InputError, match=rf"^re-ranker 'wrong_for_test' \(test_base\.py\) {said}"):
            rb.rerank("wrong_for_test", Ranking.from_indices([[0, 1, 2]]), torch.eye(1, 3), torch.eye(3))
    finally:
        del RERANKERS._parts["wrong_for_test"]
