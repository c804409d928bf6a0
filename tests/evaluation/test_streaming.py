"""Streams of scores and descriptors give the figures of the ranking they never make."""

import resource
import time

import numpy as np
import pytest
import torch

from retrieval_bench.evaluation import evaluate, evaluate_descriptors, evaluate_scores, evaluate_stream
from retrieval_bench.settings.errors import InputError


def make(generator, queries=6, database=300, dim=16):
    labels = [generator.permutation(database)[:40] for _ in range(queries)]
    truth = [{"easy": rows[:15], "hard": rows[15:30], "junk": rows[30:]} for rows in labels]
    return generator.standard_normal((queries, dim)), generator.standard_normal((database, dim)), truth


@pytest.mark.parametrize("chunk", [1, 7, 64, 299, 300, 10_000])
def test_descriptors_in_chunks_equal_the_ranking(chunk):
    query, database, truth = make(np.random.default_rng(0))
    database[200:260] = database[100:160]  # duplicates, so that scores tie
    scores = (query @ database.T).astype(np.float32)
    expected = evaluate(np.argsort(-scores, axis=1, kind="stable"), truth)
    found = evaluate_descriptors(query, database, truth, chunk=chunk)
    assert found.per_query.equals(expected.per_query)


def test_half_precision_memory_map_and_a_store_read_by_slices(tmp_path):
    query, database, truth = make(np.random.default_rng(1))
    np.save(tmp_path / "database.npy", database.astype(np.float16))
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")

    class Store:
        def __len__(self):
            return len(mapped)

        def __getitem__(self, rows):
            assert isinstance(rows, slice)
            return torch.from_numpy(mapped[rows].copy())

    expected = evaluate_descriptors(query, mapped.astype(np.float64), truth)
    assert evaluate_descriptors(query, mapped, truth, chunk=50).per_query.equals(expected.per_query)
    assert evaluate_descriptors(query, Store(), truth, chunk=50).per_query.equals(expected.per_query)


@pytest.mark.parametrize("shift", [0.0, -100.0])
def test_scores_below_zero_count_like_all_others(shift):
    query, database, truth = make(np.random.default_rng(2))
    scores = query @ database.T
    expected = evaluate_scores(scores - scores.min() + 1, truth)
    assert evaluate_scores(scores + shift, truth, chunk=33).per_query.equals(expected.per_query)


def test_all_scores_zero_rank_by_row():
    truth = [{"easy": [3], "hard": [0], "junk": [1]}]
    expected = evaluate([[0, 1, 2, 3, 4]], truth)
    found = evaluate_scores(torch.zeros(1, 5, dtype=torch.float16), truth, chunk=2)
    assert found.per_query.equals(expected.per_query)


def test_double_precision_scores_are_not_rounded():
    truth = [{"easy": [1], "hard": []}]
    assert evaluate_scores(np.array([[1.0, 1.0 + 1e-12]]), truth).map_easy == 1.0


def call(function, *arguments, **options):
    with pytest.raises(InputError) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_wrong_input_is_named_in_one_line():
    query, database, truth = make(np.random.default_rng(3))
    scores = query @ database.T
    scores[4, 17] = np.nan
    assert "score of query 4 at database row 17 is NaN" in call(evaluate_scores, scores, truth)
    assert "scores of 5 queries but ground truth of 6" in call(evaluate_scores, scores[:5], truth)
    assert "must be a (Q, N) floating-point matrix, got int64" in call(evaluate_scores, np.zeros((6, 4), int), truth)
    assert "outside the database of 100" in call(evaluate_descriptors, query, database[:100], truth)
    assert "16 dimensions, database descriptors 8" in call(evaluate_descriptors, query, database[:, :8], truth)
    assert "database is empty" in call(evaluate_descriptors, query, database[:0], truth)
    assert "at least 1 database row" in call(evaluate_descriptors, query, database, truth, chunk=0)
    assert "a row per image, got 1" in call(evaluate_descriptors, query[0], database, truth)


@pytest.mark.slow
def test_a_million_distractors():
    """70 queries, as many labels as RParis6k has, a million rows: minutes at most, and memory for one chunk only."""
    generator = np.random.default_rng(4)
    database = 1_006_322
    labels = [generator.permutation(6322)[:350] for _ in range(70)]
    truth = [{"easy": rows[:100], "hard": rows[100:250], "junk": rows[250:]} for rows in labels]

    def score(rows):
        # A value per pair that is the same in whichever chunk it comes, with no matrix kept: a multiplicative hash.
        query = torch.arange(70)[:, None]
        mixed = (rows[None] * 2654435761 + query * 40503 + 12345) % 4294967291
        return (mixed * 69069 % 16777213).double() / 16777213

    used, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    found = evaluate_stream(score, database, truth)
    assert time.perf_counter() - started < 120
    # The matrix of all scores would be 563 MB, about what the process takes up to here.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.3 * used
    whole = score(torch.arange(database))
    ranking = whole.sort(dim=1, descending=True, stable=True).indices
    assert found.per_query.equals(evaluate(ranking, truth).per_query)
