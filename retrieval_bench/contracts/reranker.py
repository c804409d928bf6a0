"""What every re-ranker owes."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from unittest import SkipTest

import torch

from retrieval_bench.contracts.contract import Contract, Part
from retrieval_bench.contracts.expectations import require, require_equal, require_finite, require_refusal
from retrieval_bench.contracts.options import require_docstring, require_options
from retrieval_bench.contracts.process_state import process_state_kept
from retrieval_bench.contracts.toy_retrieval import QUERIES, ROWS, Problem, model_for, problem, shuffled, tensors
from retrieval_bench.reranking import RERANKERS, Reranker
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.values.local_features import LocalFeatures
from retrieval_bench.values.ranking import Ranking

TOP = 5
NEEDS = ("descriptors", "local features", "feature maps")


def build(part: Part, top: int | None = None) -> Reranker:
    """A re-ranker with what a run hands it, of the first `top` candidates where it can be told how many."""
    reranker, _ = built(part, top)
    return reranker


def built(part: Part, top: int | None = TOP) -> tuple[Reranker, Problem]:
    """A re-ranker, and a small problem for it."""
    parameters = RERANKERS.options(part.name)
    needs = getattr(RERANKERS.get(part.name), "needs", "descriptors")
    if needs not in NEEDS:
        raise InputError(f"re-ranker {part.name!r} needs {needs!r}; there are {', '.join(NEEDS)}")
    model = model_for(needs) if "model" in parameters or needs == "feature maps" else None
    options: dict[str, Any] = dict(part.options)
    named = next((key for key in ("top_k", "top_m") if key in parameters), None)
    if top is not None and named is not None:
        options.setdefault(named, top)
    if "model" in parameters:
        options.setdefault("model", model)
    torch.manual_seed(0)
    return RERANKERS.create(part.name, options), problem(needs, model)


def builds(part: Part) -> None:
    """It is a Reranker with a docstring that says what it `needs`."""
    reranker = build(part)
    require(
        isinstance(reranker, Reranker), f"{part.name} is a {type(reranker).__name__}, not a Reranker; inherit from it"
    )
    require_docstring(RERANKERS.get(part.name), part.name)


def options(part: Part) -> None:
    """Options are typed, defaults fit, and unknown ones are refused with the nearest name."""
    require_options(RERANKERS, part.name, KINDS["reranker"].given)


def permutation(part: Part) -> None:
    """It gives a Ranking of the same shape; where all rows are ranked, each occurs once."""
    reranker, (ranking, query, database) = built(part)
    for k in (ROWS, 7, 1):
        found = reranker(cut(shuffled(ranking), k), query, database)
        require(isinstance(found, Ranking), f"it returned a {type(found).__name__}, not a Ranking")
        require(
            found.indices.shape == (QUERIES, k),
            f"a ranking (3, {k}) came back with shape {tuple(found.indices.shape)}",
        )
        require(found.indices.dtype == torch.int64, f"indices are {found.indices.dtype}, not int64")
        for number, rows in enumerate(found.indices.tolist()):
            require(len(set(rows)) == k, f"query {number} of a ranking (3, {k}) has a row twice: {rows}")
            require(all(0 <= row < ROWS for row in rows), f"query {number} has a row that is not in 0 .. 11: {rows}")


def sorted_scores(part: Part) -> None:
    """Scores are finite and fall, or stay, along a row."""
    reranker, (ranking, query, database) = built(part)
    for k in (ROWS, 7):
        scores = reranker(cut(shuffled(ranking), k), query, database).scores
        require_finite(scores, f"the scores of a ranking (3, {k})")
        for number, row in enumerate(scores):
            rises = (row.diff() > 0).nonzero()
            place = int(rises[0]) if len(rises) else 0
            require(
                not len(rises),
                f"the scores of query {number} rise from {float(row[place]):.6g} at place {place} to "
                f"{float(row[place + 1 if len(rises) else 0]):.6g}; best first",
            )


def only_candidates_move(part: Part) -> None:
    """Of 12 rows with `top_k` = 5, the last 7 stay where they are."""
    reranker, (ranking, query, database) = built(part)
    top = getattr(reranker, "top_k", None)
    if top is None:
        raise SkipTest("it has no attribute top_k: all rows are candidates")
    require(isinstance(top, int) and top > 0, f"top_k is {top!r}, not a number of candidates")
    # In an order in which something is left to be moved, before and behind that place.
    ranking = shuffled(ranking)
    found = reranker(ranking, query, database)
    require_equal(
        found.indices[:, top:], ranking.indices[:, top:], f"rows from place {top} on after and before, with top_k={top}"
    )
    require_equal(
        found.indices[:, :top].sort(dim=1).values,
        ranking.indices[:, :top].sort(dim=1).values,
        f"the first {top} rows, sorted, after and before",
    )


def short_rankings(part: Part) -> None:
    """Rankings without rows, without queries, and shorter than `top_k` come back."""
    for top in (TOP, 100):
        reranker, (ranking, query, database) = built(part, top)
        for k in (0, 1, 3):
            found = reranker(cut(ranking, k), query, database)
            require(
                found.indices.shape == (QUERIES, k),
                f"a ranking with {k} rows per query came back with shape {tuple(found.indices.shape)}",
            )
        found = reranker(Ranking(ranking.indices[:0], ranking.scores[:0]), query[:0], database)
        require(
            found.indices.shape == (0, ROWS),
            f"a ranking without queries (0, 12) came back with shape {tuple(found.indices.shape)}",
        )


def input_untouched(part: Part) -> None:
    """Ranking, queries and database are left as they were, and what belongs to the whole process."""
    reranker, given = built(part)
    before = [one.clone() for one in leaves(given)]
    with process_state_kept():
        reranker(*given)
    for one, kept in zip(leaves(given), before, strict=True):
        require_equal(one, kept, "ranking, query or database after and before (work on copies)")


def same_twice(part: Part) -> None:
    """The same input gives the same ranking, of the same object, of another, and of one that has seen other input."""
    reranker, given = built(part)
    first, second, other = reranker(*given), reranker(*given), build(part, TOP)(*given)
    for what, found in (("a second call", second), ("another object", other)):
        require_equal(found.indices, first.indices, f"rows of {what} and of the first call (seed what is random)")
        require_equal(found.scores, first.scores, f"scores of {what} and of the first call (seed what is random)")
    ranking, query, database = given
    turned = list(database)[::-1]
    other_database = turned if isinstance(database, list) else torch.stack(turned)
    expected = build(part, TOP)(ranking, query, other_database)
    require_equal(
        reranker(ranking, query, other_database).indices,
        expected.indices,
        "rows after a call with another database and of a new object (what is kept belongs to one database)",
    )


def order_of_queries(part: Part) -> None:
    """Queries in another order have the same rankings: each belongs to its own query."""
    reranker, (ranking, query, database) = built(part)
    order = [2, 0, 1]
    other = [query[row] for row in order] if isinstance(query, list) else query[order]
    found = reranker(Ranking(ranking.indices[order], ranking.scores[order]), other, database)
    expected = reranker(ranking, query, database)
    require_equal(found.indices, expected.indices[order], "rows with queries in the order 2, 0, 1 and in 0, 1, 2")


def wrong_inputs(part: Part) -> None:
    """What is missing, of another length, not finite or outside the database is refused."""
    reranker, (ranking, query, database) = built(part)
    outside, negative = ranking.indices.clone(), ranking.indices.clone()
    outside[1, 0], negative[1, 0] = ROWS, -1
    undefined = ranking.scores.clone()
    undefined[0, 0] = float("nan")
    cases: Mapping[str, tuple[Ranking, Any, Any]] = {
        "no queries (None)": (ranking, None, database),
        "no database (None)": (ranking, query, None),
        "2 queries for a ranking of 3": (ranking, query[:2], database),
        "row 12 of 12 database rows": (Ranking(outside, ranking.scores), query, database),
        "row -1": (Ranking(negative, ranking.scores), query, database),
        "scores with NaN": (Ranking(ranking.indices, undefined), query, database),
    }
    for what, given in cases.items():
        require_refusal(partial(reranker, *given), what)


def wrong_entries(part: Part) -> None:
    """A database entry with NaN is refused, not ranked."""
    reranker, (ranking, query, database) = built(part)
    row = int(ranking.indices[0, 0])
    broken = [spoilt(one) if number == row else one for number, one in enumerate(database)]
    entries = broken if isinstance(database, list) else torch.stack(broken)
    require_refusal(lambda: reranker(ranking, query, entries), f"database row {row} with NaN")


def cut(ranking: Ranking, k: int) -> Ranking:
    """The first `k` rows of each query."""
    return Ranking(ranking.indices[:, :k], ranking.scores[:, :k])


def leaves(given: Problem) -> list[torch.Tensor]:
    """All tensors of a problem."""
    entries = [tensor for side in (given.query, given.database) for entry in side for tensor in tensors(entry)]
    return [given.ranking.indices, given.ranking.scores, *entries]


def spoilt(entry: Any) -> Any:
    """An entry that holds NaN."""
    if isinstance(entry, LocalFeatures):
        return LocalFeatures(entry.keypoints * float("nan"), entry.descriptors, entry.scores, entry.scales)
    return entry * float("nan")


CONTRACT = Contract(
    find=RERANKERS.get,
    build=build,
    checks=(
        builds,
        options,
        permutation,
        sorted_scores,
        only_candidates_move,
        short_rankings,
        input_untouched,
        same_twice,
        order_of_queries,
        wrong_inputs,
        wrong_entries,
    ),
)
