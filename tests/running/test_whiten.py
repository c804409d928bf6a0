"""Whitening as a step of a run: what it is learnt on, that it is saved, and what it refuses."""

import pytest
import torch

from retrieval_bench.running.whiten import matching_pairs


def test_matching_pairs_are_all_pairs_of_one_label_once():
    first, second = matching_pairs(torch.tensor([0, 1, 0, 2, 0, 1]))
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 2), (0, 4), (1, 5), (2, 4)]


def test_without_a_label_twice_there_are_no_pairs():
    first, second = matching_pairs(torch.arange(5))
    assert first.numel() == second.numel() == 0


@pytest.mark.parametrize("count", [2, 7])
def test_one_label_gives_every_pair(count):
    assert len(matching_pairs(torch.zeros(count, dtype=torch.long))[0]) == count * (count - 1) // 2
