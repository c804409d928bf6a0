"""Averages of weights that do not change are these weights."""

import torch

from retrieval_bench.training.averaging import moved


def test_equal_values_stay_to_the_last_bit():
    values = torch.rand(10000, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(0.9 * values + (1 - 0.9) * values, values)
    assert torch.equal(moved(values, values.clone(), 0.9), values)


def test_others_move_by_their_share():
    average, current = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])
    assert torch.allclose(moved(average, current, 0.75), torch.tensor([1.0, 2.5]))
    assert moved(torch.tensor(3), torch.tensor(3), 0.9).item() == 3
