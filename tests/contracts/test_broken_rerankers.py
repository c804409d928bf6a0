"""Re-rankers that are wrong in one way fail the check of that way, with a reason that says so."""

from typing import Any

import pytest
import torch

from retrieval_bench.reranking import Reranker
from retrieval_bench.reranking.base import check_inputs
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import Ranking


class Right(Reranker):
    """Sorts the first candidates by their distance."""

    def __init__(self, top_k: int = 100):
        if top_k < 1:
            raise InputError(f"rerank.top_k must be at least 1, got {top_k}")
        self.top_k = top_k

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        check_inputs(ranking, query, database, needs="descriptors")
        first, rest = ranking.indices[:, : self.top_k], ranking.scores[:, self.top_k :]
        distances = (query[:, None] - database[first]).norm(dim=2)
        if not distances.isfinite().all():
            raise InputError("a descriptor is not finite; extract it again")
        scores, order = (-distances).sort(dim=1, descending=True, stable=True)
        rows = torch.cat((first.gather(1, order), ranking.indices[:, self.top_k :]), dim=1)
        return Ranking(rows, torch.cat((scores, rest - rest[:, :1] + scores[:, -1:]), dim=1))


class Rising(Right):
    """Gives distances for scores."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        found = super().__call__(ranking, query, database)
        return Ranking(found.indices, -found.scores)


class Twice(Right):
    """Puts the best row in front once more."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        found = super().__call__(ranking, query, database)
        rows = torch.cat((found.indices[:, :1], found.indices[:, :-1]), dim=1)
        return Ranking(rows, found.scores)


class Shorter(Right):
    """Gives the candidates only."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        found = super().__call__(ranking, query, database)
        return Ranking(found.indices[:, : self.top_k], found.scores[:, : self.top_k])


class Everything(Right):
    """Sorts all rows, whatever it was told."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        top, self.top_k = self.top_k, 1000
        try:
            return super().__call__(Ranking(ranking.indices.flip(1), ranking.scores), query, database)
        finally:
            self.top_k = top


class ChangesInput(Right):
    """Sorts the ranking in place."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        found = super().__call__(ranking, query, database)
        ranking.scores.copy_(found.scores)
        return found


class Random(Right):
    """Breaks ties by chance."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        found = super().__call__(ranking, query, database)
        return Ranking(found.indices, found.scores - torch.rand(()))


class Crossed(Right):
    """Numbers queries by their place in the batch."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        found = super().__call__(ranking, query, database)
        rows = found.indices.clone()
        if len(rows):
            rows[0, : self.top_k] = rows[0, : self.top_k].flip(0)
        return Ranking(rows, found.scores)


class Trusting(Right):
    """Checks nothing."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        scores, order = (query @ database.T).gather(1, ranking.indices).sort(dim=1, descending=True)
        return Ranking(ranking.indices.gather(1, order), scores)


class Hasty(Right):
    """Takes it that there are candidates."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        found = super().__call__(ranking, query, database)
        found.indices[0, 0]
        return found


class Pair(Right):
    """Gives rows and scores apart."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Any:
        found = super().__call__(ranking, query, database)
        return found.indices, found.scores


class Remembering(Right):
    """Keeps the first database of a size for all others."""

    kept: Any = None

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        found = super().__call__(ranking, query, database)
        if self.kept is None or self.kept.shape != database.shape:
            self.kept = database.clone()
        return super().__call__(ranking, query, self.kept) if len(found) else found


class Seeding(Right):
    """Seeds the whole process."""

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        torch.manual_seed(0)
        return super().__call__(ranking, query, database)


WRONG = [
    (Rising, {"sorted-scores"}, "the scores of query 0 rise from"),
    (Twice, {"permutation"}, "has a row twice"),
    (Shorter, {"permutation"}, "a ranking (3, 12) came back with shape (3, 5)"),
    (Everything, {"only-candidates-move"}, "rows from place 5 on after and before, with top_k=5"),
    (ChangesInput, {"input-untouched"}, "ranking, query or database after and before (work on copies)"),
    (Random, {"same-twice"}, "scores of a second call and of the first call (seed what is random)"),
    (Remembering, {"same-twice"}, "rows after a call with another database and of a new object"),
    (Seeding, {"input-untouched"}, "it changes torch's random numbers"),
    (Crossed, {"order-of-queries"}, "rows with queries in the order 2, 0, 1 and in 0, 1, 2"),
    (Trusting, {"wrong-inputs", "wrong-entries"}, "no queries (None) raised TypeError"),
    (Hasty, {"short-rankings"}, "raised IndexError"),
    (Pair, {"permutation"}, "it returned a tuple, not a Ranking"),
]


def test_the_one_they_derive_from_is_right(failing):
    assert failing("reranker", Right) == {}


@pytest.mark.parametrize(("part", "checks", "reason"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_it_fails_the_right_check_for_the_right_reason(part, checks, reason, failing):
    found = failing("reranker", part)
    assert checks <= found.keys()
    assert any(reason in said for said in found.values()), found


def test_needs_that_there_are_not(failing):
    part = type("Needy", (Right,), {"needs": "masks", "__doc__": "Needs masks."})
    with pytest.raises(InputError, match="needs 'masks'; there are descriptors"):
        failing("reranker", part)
