import pytest
import torch

from retrieval_bench.evaluation.counting import OrderedPositives


def test_equal_scores_stand_in_the_order_of_their_rows():
    positives = OrderedPositives(torch.tensor([[0.0, 0.0]]), torch.tensor([[7, 2]]))
    rows = torch.tensor([0, 1, 3, 9])
    above = positives.count_above(torch.zeros(1, 4), rows, torch.ones(1, 4, dtype=torch.bool))
    # Rows 0, 1 and 3 come before row 7, rows 0 and 1 before row 2.
    assert above.tolist() == [[3, 2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_comparing_every_pair(dtype):
    generator = torch.Generator().manual_seed(3)
    queries, width, n = 5, 6, 400
    # Few distinct values: zero, negative ones and infinities among them, so that most pairs tie.
    values = torch.tensor([-float("inf"), -2.5, -0.0, 0.0, 1.0, float("inf")], dtype=dtype)
    scores = values[torch.randint(len(values), (queries, n + width), generator=generator)]
    rows = torch.stack([torch.randperm(n + width, generator=generator) for _ in range(queries)])[:, :width]
    own = scores.gather(1, rows)
    is_negative = torch.rand(scores.shape, generator=generator) < 0.8
    is_negative.scatter_(1, rows, False)
    every_row = torch.arange(n + width)
    higher = scores[:, None] > own[..., None]
    before = (scores[:, None] == own[..., None]) & (every_row < rows[..., None])
    expected = ((higher | before) & is_negative[:, None]).sum(-1)
    found = OrderedPositives(own, rows).count_above(scores, every_row, is_negative)
    assert found.tolist() == expected.tolist()


def test_no_positives_at_all():
    positives = OrderedPositives(torch.empty(3, 0), torch.empty(3, 0, dtype=torch.int64))
    assert positives.count_above(torch.zeros(3, 2), torch.arange(2), torch.ones(3, 2, dtype=torch.bool)).shape == (3, 0)
