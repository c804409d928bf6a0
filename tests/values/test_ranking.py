"""Rankings from tensors, arrays and lists."""

import numpy as np
import pytest
import torch

from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import LevelRankings, Ranking

ROWS = [[2, 0, 1], [1, 2, 0]]


@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        np.array(ROWS),
        np.array(ROWS, dtype=np.int32),
        np.array(ROWS, dtype=np.uint8),
        np.asfortranarray(np.array(ROWS)),
        np.array(ROWS)[:, ::-1][:, ::-1],
        torch.tensor(ROWS),
        torch.tensor(ROWS, dtype=torch.int16),
    ],
    ids=["list", "int64", "int32", "uint8", "fortran", "negative strides", "tensor", "int16 tensor"],
)
def test_plain_integers_become_a_ranking(given):
    ranking = Ranking.from_indices(given)
    assert ranking.indices.dtype == torch.int64
    assert ranking.indices.tolist() == ROWS
    assert ranking.scores.dtype == torch.float32
    assert ranking.scores.tolist() == [[0, -1, -2]] * 2
    assert (len(ranking), ranking.k) == (2, 3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((2, 3)), r"float64 of shape \(2, 3\)"),
        (torch.zeros(2, 3, dtype=torch.float16), r"float16 of shape \(2, 3\)"),
        (np.zeros((2, 3), dtype=bool), "bool"),
        ([1, 2, 3], r"int64 of shape \(3,\)"),
        (np.zeros((2, 3, 1), dtype=int), r"of shape \(2, 3, 1\)"),
        (7, r"of shape \(\)"),
    ],
)
def test_what_is_no_rank_matrix_says_what_it_is(given, said):
    with pytest.raises(InputError, match=rf"must be \(Q, k\) integers, got .*{said}"):
        Ranking.from_indices(given)


@pytest.mark.parametrize("given", [[[1, 2], [3]], np.array([["a", "b"]]), [[None, 1]], np.zeros((1, 2), dtype=complex)])
def test_what_holds_no_numbers_is_an_input_error_too(given):
    with pytest.raises(InputError):
        Ranking.from_indices(given)


@pytest.mark.parametrize(("indices", "scores"), [((2, 3), (2, 4)), ((2, 3), (3, 3)), ((6,), (6,)), ((2, 3, 1),) * 2])
def test_indices_and_scores_must_be_of_one_shape(indices, scores):
    with pytest.raises(InputError, match=r"indices and scores of one shape \(Q, k\)") as caught:
        Ranking(torch.zeros(indices, dtype=torch.int64), torch.zeros(scores))
    assert str(indices) in str(caught.value)


def test_it_is_saved_as_arrays(tmp_path):
    ranking = Ranking(torch.tensor(ROWS), torch.rand(2, 3))
    ranking.save(tmp_path / "ranking.npz")
    with np.load(tmp_path / "ranking.npz") as stored:
        assert np.array_equal(stored["indices"], ranking.indices.numpy())
        assert np.array_equal(stored["scores"], ranking.scores.numpy())


def test_rankings_of_levels_are_one_or_three():
    first, second = (Ranking.from_indices([[row, 1 - row]]) for row in (0, 1))
    assert not LevelRankings.same(first).differ
    assert LevelRankings(first, first, second).differ
    assert LevelRankings(second, first, first).differ
    assert list(LevelRankings.same(first).of_levels()) == ["easy", "medium", "hard"]
