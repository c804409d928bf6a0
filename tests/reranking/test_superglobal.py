"""SuperGlobal's re-ranking: the authors' own numbers, the plain formulas, ties, edges, memory and errors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_case import load
from torch import Tensor

from retrieval_bench.reranking import create_reranker, list_rerankers, rerank
from retrieval_bench.reranking.superglobal import gram, largest, refine, rerank_scores
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import Ranking

CASE = load(Path(__file__).parents[1] / "parity" / "superglobal" / "rerank")


def unit_rows(*shape: int, seed: int) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=-1)


def ranked(query: Tensor, database: Tensor, k: int | None = None) -> Ranking:
    scores, rows = (query @ database.T).sort(dim=1, descending=True, stable=True)
    return Ranking(rows[:, :k], scores[:, :k])


def by_hand(query: np.ndarray, candidates: np.ndarray, k: int, beta: float) -> np.ndarray:
    """New scores of one query's candidates, candidate by candidate, in float64."""
    query, candidates = query.astype(np.float64), candidates.astype(np.float64)
    refined = []
    for candidate in candidates:
        similar = candidates @ candidate
        nearest = np.argsort(-similar, kind="stable")[: k + 1]
        weights = np.array([1.0, *(beta * similar[row] for row in nearest[1:])])
        refined.append(sum(w * candidates[row] for w, row in zip(weights, nearest, strict=True)) / weights.sum())
    first = np.array([row @ query for row in refined])
    best = np.argsort(-first, kind="stable")[: k + 1]
    expanded = np.max([refined[row] for row in best], axis=0)
    return (first + np.array([row @ expanded for row in refined])) / 2


@pytest.fixture(scope="module")
def published():
    """Queries, database and the ranking before, as the case's settings say."""
    given = {name.removeprefix("superglobal/"): torch.from_numpy(value) for name, value in CASE.inputs.items()}
    noise = CASE.settings["noise"]

    def rows(labels: str, drawn: str) -> Tensor:
        return torch.nn.functional.normalize(given["centers"][given[labels]] + noise * given[drawn], dim=1)

    query, database = rows("query_labels", "query_noise"), rows("labels", "db_noise")
    order = torch.from_numpy(CASE.outputs["ranks_before"].T.copy())
    return query, database, Ranking(order, (query @ database.T).gather(1, order))


@pytest.fixture(params=CASE.settings["runs"])
def run(request):
    chosen = CASE.settings["runs"][request.param]
    prefix = f"{request.param}_"
    outputs = {
        key.removeprefix(prefix): torch.from_numpy(value) for key, value in CASE.outputs.items() if prefix in key
    }
    return {"top_m": chosen["M"], "k": chosen["K"], "beta": chosen["beta"]}, outputs


def test_published_ranking(published, run):
    (query, database, ranking), (options, outputs) = published, run
    result = rerank("superglobal", ranking, query=query, database=database, **options)
    assert torch.equal(result.indices, outputs["ranks"].T)


def test_published_steps(published, run):
    (query, database, ranking), (options, outputs) = published, run
    top, k, beta = options["top_m"], options["k"], options["beta"]
    for number, asked in enumerate(query):
        refined = refine(database[ranking.indices[number, :top]], k, beta)
        first = refined.times(asked)
        order = first.argsort(descending=True, stable=True)
        torch.testing.assert_close(refined.rows(torch.arange(5)), outputs["refined_first5"][number], **CASE.tolerance)
        torch.testing.assert_close(first, outputs["refined_similarity"][number], **CASE.tolerance)
        assert torch.equal(order, outputs["order_by_refined"][number])
        expanded = refined.rows(order[: k + 1]).amax(dim=0)
        torch.testing.assert_close(expanded, outputs["expanded_query"][number], **CASE.tolerance)
        scores = rerank_scores(asked, refined.descriptors, k, beta)[order]
        torch.testing.assert_close(scores, outputs["final_score_in_refined_order"][number], **CASE.tolerance)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 130), k=st.integers(0, 12), beta=st.sampled_from([0.0, 0.15, 0.6]), seed=st.integers(0, 999)
)
def test_scores_are_the_formulas(count, k, beta, seed):
    query, candidates = unit_rows(12, seed=seed), unit_rows(count, 12, seed=seed + 1)
    expected = torch.from_numpy(by_hand(query.numpy(), candidates.numpy(), k, beta)).float()
    torch.testing.assert_close(rerank_scores(query, candidates, k, beta), expected, rtol=1e-4, atol=1e-5)


def test_a_refined_descriptor_is_its_weighted_mean():
    candidates = unit_rows(50, 16, seed=3)
    refined = refine(candidates, k=4, beta=0.3)
    matrix = torch.zeros(50, 50).scatter(1, refined.neighbours, refined.weights)
    torch.testing.assert_close(matrix.sum(1), torch.ones(50))
    torch.testing.assert_close(refined.rows(torch.arange(50)), matrix @ candidates)
    torch.testing.assert_close(refined.times(candidates[7]), matrix @ candidates @ candidates[7])


def test_rows_beyond_keep_their_places_and_scores_fall():
    query, database = unit_rows(3, 8, seed=0), unit_rows(40, 8, seed=1)
    before = ranked(query, database)
    after = rerank("superglobal", before, query=query, database=database, top_m=15, k=3)
    assert torch.equal(after.indices[:, 15:], before.indices[:, 15:])
    assert torch.equal(after.indices[:, :15].sort().values, before.indices[:, :15].sort().values)
    assert not torch.equal(after.indices[:, :15], before.indices[:, :15])
    assert (after.scores.diff(dim=1) <= 0).all()
    for number in range(3):
        scores = rerank_scores(query[number], database[before.indices[number, :15]], k=3)
        torch.testing.assert_close(after.scores[number, :15], scores.sort(descending=True).values)
    torch.testing.assert_close(after.scores[:, 15:].diff(dim=1), before.scores[:, 15:].diff(dim=1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("columns", [1, 2, 9, 30])
def test_databases_smaller_than_m(columns):
    query, database = unit_rows(2, 8, seed=0), unit_rows(30, 8, seed=1)
    before = ranked(query, database, columns)
    after = rerank("superglobal", before, query=query, database=database)
    for number in range(2):
        candidates = database[before.indices[number]]
        order = np.argsort(-by_hand(query[number].numpy(), candidates.numpy(), 9, 0.15), kind="stable")
        assert after.indices[number].tolist() == before.indices[number][torch.from_numpy(order)].tolist()


def test_queries_do_not_see_each_other():
    query, database = unit_rows(5, 16, seed=0), unit_rows(60, 16, seed=1)
    before = ranked(query, database)
    together = rerank("superglobal", before, query=query, database=database, top_m=40)
    for number in range(5):
        few = slice(number, number + 1)
        one = Ranking(before.indices[few], before.scores[few])
        alone = rerank("superglobal", one, query=query[few], database=database, top_m=40)
        assert torch.equal(alone.indices[0], together.indices[number])
        assert torch.equal(alone.scores[0], together.scores[number])


def test_equal_candidates_keep_the_order_of_the_ranking():
    query, one = unit_rows(1, 8, seed=0), unit_rows(1, 8, seed=1)
    before = Ranking.from_indices(torch.tensor([[4, 2, 0, 3, 1]]))
    after = rerank("superglobal", before, query=query, database=one.expand(5, -1), k=2)
    assert after.indices.tolist() == before.indices.tolist()


def test_duplicates_give_one_result_every_time():
    query, few = unit_rows(2, 8, seed=0), unit_rows(20, 8, seed=1)
    database = few.repeat(15, 1)
    before = ranked(query, database)
    results = [rerank("superglobal", before, query=query, database=database) for _ in range(3)]
    assert all(torch.equal(result.indices, results[0].indices) for result in results)
    assert all(torch.equal(result.scores, results[0].scores) for result in results)


def test_the_largest_values_and_their_ties():
    values = torch.tensor([[0.1, 0.5, 0.5, 0.3, 0.5], [1.0, 2.0, 3.0, 4.0, 5.0]])
    kept, columns = largest(values, 2)
    assert columns.tolist() == [[1, 2], [4, 3]]
    assert kept.tolist() == [[0.5, 0.5], [5.0, 4.0]]
    assert largest(values, 5)[1].tolist() == [[1, 2, 4, 3, 0], [4, 3, 2, 1, 0]]


@pytest.mark.parametrize("count", [1, 79, 80, 81, 200])
def test_gram_matrix(count):
    rows = unit_rows(count, 24, seed=count)
    products = gram(rows)
    torch.testing.assert_close(products, rows @ rows.T)
    assert torch.equal(products, products.T)


class Shards:
    """A database that reads the rows that it is asked for."""

    def __init__(self, rows: Tensor):
        self.kept, self.shape, self.asked = rows, tuple(rows.shape), set()

    def __len__(self):
        return len(self.kept)

    def __getitem__(self, rows):
        return self.kept[rows]

    def tensor(self, rows):
        self.asked |= set(rows.tolist())
        return self.kept[rows].float()


@pytest.mark.parametrize("kind", ["array", "read-only array", "memory map", "lists", "float64", "store"])
def test_kinds_of_descriptors(kind, tmp_path):
    query, database = unit_rows(2, 8, seed=0), unit_rows(30, 8, seed=1)
    before = ranked(query, database)
    expected = rerank("superglobal", before, query=query, database=database, top_m=20)
    given = {
        "array": lambda rows: rows.numpy(),
        "read-only array": lambda rows: np.frombuffer(rows.numpy().tobytes(), np.float32).reshape(rows.shape),
        "memory map": lambda rows: mapped(rows, tmp_path / f"{len(rows)}.npy"),
        "lists": lambda rows: rows.tolist(),
        "float64": lambda rows: rows.double(),
        "store": Shards,
    }[kind]
    shown = given(database)
    result = rerank("superglobal", before, query=given(query), database=shown, top_m=20)
    assert torch.equal(result.indices, expected.indices)
    assert torch.equal(result.scores, expected.scores)
    if kind == "store":
        assert shown.asked == set(before.indices[:, :20].flatten().tolist())


def mapped(rows: Tensor, path: Path) -> np.ndarray:
    np.save(path, rows.numpy())
    return np.load(path, mmap_mode="r")


def test_half_precision_is_read_as_float32():
    query, database = unit_rows(2, 32, seed=0), unit_rows(50, 32, seed=1)
    before = ranked(query, database)
    half = rerank("superglobal", before, query=query.half(), database=database.half())
    same = rerank("superglobal", before, query=query.half().float(), database=database.half().float())
    assert torch.equal(half.indices, same.indices)
    assert half.scores.dtype == torch.float32


def test_gradients_and_inputs_stay_out_of_it():
    query, database = unit_rows(2, 8, seed=0).requires_grad_(), unit_rows(30, 8, seed=1).requires_grad_()
    before = ranked(query.detach(), database.detach())
    copies = query.detach().clone(), database.detach().clone(), before.indices.clone(), before.scores.clone()
    assert not rerank("superglobal", before, query=query, database=database).scores.requires_grad
    for kept, now in zip(copies, (query, database, before.indices, before.scores), strict=True):
        assert torch.equal(kept, now)


def test_threads_of_torch_are_as_before():
    query, database = unit_rows(4, 16, seed=0), unit_rows(90, 16, seed=1)
    before, threads = ranked(query, database), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = rerank("superglobal", before, query=query, database=database)
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        one = rerank("superglobal", before, query=query, database=database)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one.indices, two.indices)
    assert torch.equal(one.scores, two.scores)


def test_nothing_to_rank():
    query, database = unit_rows(2, 8, seed=0), unit_rows(5, 8, seed=1)
    for shape in ((2, 0), (0, 3)):
        empty = Ranking(torch.empty(shape, dtype=torch.int64), torch.empty(shape))
        result = rerank("superglobal", empty, query=query[: shape[0]], database=database)
        assert result.indices.shape == shape


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak of a process from Linux")
def test_refined_descriptors_are_never_laid_out():
    """70 queries of 400 candidates in 2048 dimensions: gathered neighbours alone would take 2.3 GB."""
    code = """
import torch
from pathlib import Path
from retrieval_bench.reranking import rerank
from retrieval_bench.values.ranking import Ranking
def peak():
    # Not ru_maxrss, which counts the process that started this one.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
torch.manual_seed(0)
database = torch.nn.functional.normalize(torch.randn(2000, 2048), dim=1)
query = torch.nn.functional.normalize(torch.randn(70, 2048), dim=1)
scores, rows = (query @ database.T).sort(dim=1, descending=True)
few = Ranking(rows[:2, :50], scores[:2, :50])
rerank("superglobal", few, query=query[:2], database=database)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
before = peak()
rerank("superglobal", Ranking(rows[:, :1000], scores[:, :1000]), query=query, database=database)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 100


def spoilt(case: str) -> tuple:
    query, database = unit_rows(2, 8, seed=0), unit_rows(30, 8, seed=1)
    ranking = ranked(query, database)
    match case:
        case "no query":
            return ranking, None, database
        case "fewer queries":
            return ranking, query[:1], database
        case "small database":
            return ranking, query, database[:20]
        case "dimensions":
            return ranking, query[:, :7], database
        case "flat":
            return ranking, query, database[:, 0]
        case "integers":
            return ranking, query, database.long()
        case "integer array":
            return ranking, query, database.long().numpy()
        case "ragged":
            return ranking, query, [[0.0] * (1 + row % 2) for row in range(30)]
        case "nan query":
            query[1, 3] = float("nan")
            return ranking, query, database
        case "infinite row":
            database[17, 0], database[18, 0] = float("inf"), float("-inf")
            return ranking, query, database
        case "no ranking":
            return ranking.indices, query, database


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no query", r"needs query=: a \(Q, D\) or \(N, D\) matrix of descriptors; got NoneType"),
        ("fewer queries", "has 2 queries but 1 were given"),
        ("small database", "the database has 20 entries"),
        ("dimensions", "query descriptors have 7 dimensions, database descriptors 8"),
        ("flat", r"database descriptors must be a floating-point matrix.*shape \(30,\)"),
        ("integers", "database descriptors must be a floating-point matrix.*int64"),
        ("integer array", "database descriptors must be a floating-point matrix.*int64"),
        ("ragged", "database descriptors must all have the same number of dimensions"),
        ("nan query", "query descriptor 1 holds NaN or infinity"),
        ("infinite row", "database descriptor 1[78] holds NaN or infinity"),
        ("no ranking", "needs a Ranking, got Tensor"),
    ],
)
def test_inputs_that_do_not_fit(case, said):
    ranking, query, database = spoilt(case)
    with pytest.raises(InputError, match=said):
        rerank("superglobal", ranking, query=query, database=database)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top_m": 0}, "top_m must be at least 1, got 0"),
        ({"k": -1}, "k, the neighbours of a candidate, must be at least 0, got -1"),
        ({"beta": -0.1}, "beta.*from 0 up, got -0.1"),
        ({"beta": float("nan")}, "beta.*got nan"),
        ({"beta": float("inf")}, "beta.*got inf"),
        ({"top_k": 100}, "unknown option of re-ranker 'superglobal' 'top_k'.*top_m"),
        ({"top_m": 2.5}, "top_m=2.5"),
    ],
)
def test_impossible_options(options, said):
    with pytest.raises(InputError, match=said):
        create_reranker("superglobal", **options)


def test_weights_that_cancel():
    database = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    with pytest.raises(InputError, match=r"cancel at beta=1\.0 for query 0; lower beta"):
        rerank("superglobal", ranked(database[:1], database), query=database[:1], database=database, beta=1.0)


def test_what_it_is():
    assert "superglobal" in list_rerankers()
    reranker = create_reranker("superglobal")
    assert (reranker.top_m, reranker.k, reranker.beta) == (400, 9, 0.15)
    assert reranker.top_k == 400
    assert reranker.needs == "descriptors"
    assert not reranker.uses_ground_truth
