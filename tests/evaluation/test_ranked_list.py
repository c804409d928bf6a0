import numpy as np
import pytest

from retrieval_bench.evaluation.ranked_list import check_rank_matrix, count_above_in_list
from retrieval_bench.settings.errors import InputError


def test_counts_pass_over_junk_and_other_positives():
    # Ranked: negative 8, positive 5, junk 1, negative 7, positive 2; positive 9 is not held.
    which, above = count_above_in_list(np.array([8, 5, 1, 7, 2]), np.array([2, 9, 5]), np.array([1, 4]))
    assert dict(zip(which.tolist(), above.tolist(), strict=True)) == {0: 2, 2: 1}


def test_rows_far_apart_cost_no_memory():
    which, above = count_above_in_list(np.array([2**60, 3]), np.array([3]), np.array([], dtype=np.int64))
    assert (which.tolist(), above.tolist()) == ([0], [1])


def test_a_sound_matrix_passes_and_an_unsound_one_names_query_and_row():
    check_rank_matrix(np.array([[2, 0], [1, 3]]), 4)
    with pytest.raises(InputError, match="query 1 holds row 3 at place 1"):
        check_rank_matrix(np.array([[2, 0], [1, 3]]), 3)
    with pytest.raises(InputError, match="query 1 holds row 1 more than once"):
        check_rank_matrix(np.array([[2, 0], [1, 1]]), None)
