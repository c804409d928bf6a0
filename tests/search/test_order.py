import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_bench.search.order import MAX_ROWS, pack, unpack

numbers = st.floats(allow_nan=False, width=32)


@given(st.lists(st.tuples(numbers, st.integers(0, MAX_ROWS - 1)), min_size=1, max_size=30))
def test_keys_order_by_score_and_then_by_row(pairs):
    scores = torch.tensor([score for score, _ in pairs], dtype=torch.float32)
    rows = torch.tensor([row for _, row in pairs])
    keys = pack(scores, rows)
    assert keys.argsort(descending=True, stable=True).tolist() == sorted(
        range(len(pairs)), key=lambda i: (-float(scores[i]), int(rows[i]), i)
    )
    scores_again, rows_again = unpack(keys)
    assert rows_again.equal(rows)
    np.testing.assert_array_equal(scores_again, scores)
