"""Hard negatives by blocks are those of the whole similarity matrix."""

import pytest
import torch
import torch.nn.functional as F

from retrieval_bench.methods.cvnet import mining
from retrieval_bench.methods.cvnet.mining import hard_neighbours, triplets_within
from retrieval_bench.settings.errors import InputError


def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    descriptors = F.normalize(torch.randn(count, 6, generator=generator), dim=1)
    return descriptors, torch.randint(0, 4, (count,), generator=generator)


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_the_most_alike_of_other_classes(block, monkeypatch):
    monkeypatch.setattr(mining, "BLOCK", block)
    descriptors, labels = drawn(50)
    similarities = descriptors @ descriptors.T
    similarities[labels[:, None] == labels] = -2
    expected = similarities.argsort(dim=1, descending=True)[:, :10]
    assert torch.equal(hard_neighbours(descriptors, labels), expected)


def test_fewer_where_there_are_not_as_many():
    descriptors, _ = drawn(6)
    labels = torch.tensor([0, 0, 0, 0, 1, 2])
    found = hard_neighbours(descriptors, labels)
    assert found.shape == (6, 2)
    assert (labels[found] != labels[:, None]).all()


def test_one_class_has_no_negatives():
    with pytest.raises(InputError, match="at least two classes"):
        hard_neighbours(drawn(5)[0], torch.zeros(5, dtype=torch.long))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], []),
        ([0], []),
        ([0, 0], []),
        ([0, 1], []),
        ([0, 0, 1], [0, 1, 2, 1, 0, 2]),
        ([0, 1, 0], [0, 2, 1, 2, 0, 1]),
        ([2, 0, 0, 2, 2], [0, 3, 1, 1, 2, 3, 2, 1, 3, 3, 4, 1, 4, 0, 1]),
    ],
    ids=str,
)
def test_triplets_of_a_batch(labels, expected):
    assert triplets_within(torch.tensor(labels, dtype=torch.long)).tolist() == expected
