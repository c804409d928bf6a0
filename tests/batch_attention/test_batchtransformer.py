"""Attention over the batch without weights, against a loop."""

import math

import pytest
import torch

from retrieval_bench.batch_attention.batchtransformer import BatchTransformer, batch_mixture
from retrieval_bench.settings.errors import InputError

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_loop(groups: int) -> None:
    size = 6 // groups
    expected = torch.zeros_like(X)
    for group in range(groups):
        part = X[:, group * size : (group + 1) * size]
        for i in range(5):
            scores = [math.exp(float(part[i] @ part[j]) / math.sqrt(size)) for j in range(5)]
            for j in range(5):
                expected[i, group * size : (group + 1) * size] += scores[j] / sum(scores) * part[j]
    torch.testing.assert_close(batch_mixture(X, groups), expected)


def test_three_streams() -> None:
    rows, labels = BatchTransformer(6)(X, torch.arange(5))
    mixture = batch_mixture(X, 1)
    torch.testing.assert_close(rows, torch.cat([X, mixture, X + mixture]))
    assert labels.tolist() == [*range(5)] * 3
    assert not list(BatchTransformer(6).state_dict())


def test_groups_that_do_not_divide() -> None:
    with pytest.raises(InputError, match="groups=4 does not divide the 6 dimensions"):
        BatchTransformer(6, groups=4)
