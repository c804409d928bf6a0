"""`search`: every backend against sorting in numpy, ties, chunks, kinds of descriptors, and what it refuses."""

import sys

import numpy as np
import pytest
import torch

from retrieval_bench.search import BACKENDS, search
from retrieval_bench.settings.errors import InputError


def make(seed=0, queries=9, database=500, dim=24):
    generator = np.random.default_rng(seed)
    query, rows = generator.standard_normal((queries, dim)), generator.standard_normal((database, dim))
    return tuple((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (query, rows))


def in_numpy(query, database, k=None):
    scores = (query.astype(np.float64) @ database.astype(np.float64).T).astype(np.float32)
    indices = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return indices, np.take_along_axis(scores, indices, axis=1)


@pytest.mark.parametrize("k", [None, 1, 10, 499])
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_agree_with_sorting_every_score(backend, k):
    query, database = make()
    ranking = search(query, database, k, backend=backend, device="cpu")
    indices, scores = in_numpy(query, database, k)
    assert ranking.indices.dtype == torch.int64
    np.testing.assert_array_equal(ranking.indices, indices)
    np.testing.assert_allclose(ranking.scores, scores, atol=1e-6)


@pytest.mark.parametrize("k", [None, 1, 37, 200])
@pytest.mark.parametrize("chunk", [1, 13, 100, 499, 500, 5000])
def test_the_chunk_does_not_change_a_bit(chunk, k):
    query, database = make(1)
    database[250:] = database[:250]  # every descriptor twice: half of all neighbours in the ranking tie
    ranking = search(torch.from_numpy(query), torch.from_numpy(database), k, chunk=chunk, device="cpu")
    indices, scores = in_numpy(query, database, k)
    np.testing.assert_array_equal(ranking.indices, indices)
    np.testing.assert_array_equal(ranking.scores, scores)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_scores_stand_in_the_order_of_rows(backend):
    database = np.zeros((40, 8), dtype=np.float32)
    database[[30, 5, 17], 0] = 1
    database[[9, 2], 0] = -1
    query = np.eye(1, 8, dtype=np.float32)
    others = [row for row in range(40) if row not in (30, 5, 17, 9, 2)]
    ranking = search(query, database, backend=backend, chunk=7)
    assert ranking.indices[0].tolist() == [5, 17, 30, *others, 2, 9]
    assert ranking.scores[0].tolist() == [1.0] * 3 + [0.0] * 35 + [-1.0] * 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_kinds_of_descriptors(backend, tmp_path):
    query, database = make(2)
    np.save(tmp_path / "database.npy", database.astype(np.float16))
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")
    expected = search(query, torch.from_numpy(np.array(mapped)), 20, backend=backend, chunk=64)

    class Store:
        def __len__(self):
            return len(mapped)

        def __getitem__(self, rows):
            assert isinstance(rows, slice)
            assert rows.stop - rows.start <= 64
            return mapped[rows]

    for kind in (mapped, Store(), torch.from_numpy(mapped.astype(np.float64)), mapped.astype(np.float32)):
        found = search(query, kind, 20, backend=backend, chunk=64)
        assert found.indices.equal(expected.indices)
        torch.testing.assert_close(found.scores, expected.scores)


def test_many_queries_are_searched_in_blocks(monkeypatch):
    query, database = make(3)
    whole = search(query, database, 5)
    monkeypatch.setattr(sys.modules["retrieval_bench.search.exact"], "QUERIES_AT_A_TIME", 4)
    in_blocks = search(query, database, 5)
    assert in_blocks.indices.equal(whole.indices)
    assert in_blocks.scores.equal(whole.scores)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_queries_give_an_empty_ranking(backend):
    query, database = make()
    assert search(query[:0], database, 3, backend=backend).indices.shape == (0, 3)


def test_descriptors_that_need_gradients_give_a_plain_ranking():
    query, database = (torch.from_numpy(rows).requires_grad_() for rows in make())
    ranking = search(query, database, 3)
    assert not ranking.scores.requires_grad
    assert not ranking.scores.is_inference()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [None, 10])
def test_the_gpu_agrees_with_the_cpu(backend, k):
    query, database = make(4, database=5000)
    on_gpu = search(query, database, k, backend=backend, device="cuda")
    on_cpu = search(query, database, k, backend="torch", device="cpu")
    assert on_gpu.indices.device.type == "cpu"
    # faiss sums in float32: a near tie may stand the other way round.
    assert (on_gpu.indices == on_cpu.indices).float().mean() > (0.999999 if backend == "torch" else 0.99)
    torch.testing.assert_close(on_gpu.scores, on_cpu.scores, atol=1e-5, rtol=0)


def spoilt(rows, row, value):
    rows = rows.copy()
    rows[row, 3] = value
    return rows


QUERY, DATABASE = make()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((QUERY, DATABASE, 501), "k = 501 is larger than the database of 500"),
        ((QUERY, DATABASE, 0), "must be 1 or more, got 0"),
        ((QUERY, DATABASE[:0]), "the database is empty"),
        ((QUERY, DATABASE[:, :8]), "query descriptors have 24 dimensions, database descriptors 8"),
        ((QUERY[0], DATABASE), "query descriptors must be .* with 1 dimensions"),
        ((QUERY, DATABASE.astype(int)), "database descriptors must be an .* floating-point matrix, got int64"),
        ((spoilt(QUERY, 4, np.nan), DATABASE), "query descriptor 4 holds NaN or infinity"),
        ((QUERY, spoilt(DATABASE, 321, np.nan)), "database descriptor 321 holds NaN or infinity"),
        ((QUERY, spoilt(DATABASE, 321, -np.inf)), "database descriptor 321 holds NaN or infinity"),
    ],
)
def test_wrong_input_is_named_in_one_line(backend, arguments, message):
    with pytest.raises(InputError, match=message) as error:
        search(*arguments, backend=backend, chunk=100)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "fais"}, "unknown search backend 'fais'; did you mean 'faiss'"),
        ({"chunk": 0}, "at least 1 database row, got 0"),
        ({"device": "gpu"}, "unknown device 'gpu'; use 'cpu' or 'cuda'"),
        ({"device": "mps"}, "needs float64, which device 'mps' lacks"),
    ],
)
def test_wrong_settings_are_named_in_one_line(options, message):
    with pytest.raises(InputError, match=message):
        search(QUERY, DATABASE, 3, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(InputError, match="torch sees no GPU; use device 'cpu'"):
        search(QUERY, DATABASE, 3, device="cuda")
