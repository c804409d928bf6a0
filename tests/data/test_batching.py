"""The sampler that a recipe names."""

import pytest
import torch

from retrieval_bench.data.batching import training_sampler
from retrieval_bench.data.hard_negatives import HardNegativeSampler
from retrieval_bench.data.hard_triplets import HardTripletSampler
from retrieval_bench.data.hard_tuples import HardTupleSampler
from retrieval_bench.data.samplers import ClassBalancedSampler, EpochSampler
from retrieval_bench.settings.recipe import Recipe

LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, EpochSampler),
        ({"sampler": "class-balanced"}, ClassBalancedSampler),
        ({"sampler": "hard-negatives"}, HardNegativeSampler),
        ({"sampler": "hard-tuples", "tuple_size": 4}, HardTupleSampler),
        ({"sampler": "hard-triplets", "tuple_size": 3}, HardTripletSampler),
    ],
)
def test_each_name_has_its_sampler(given, kind):
    sampler = training_sampler(Recipe(batch_size=6, **given), LABELS, seed=0)
    assert type(sampler) is kind
    rows = [row for _, row in sampler]
    assert len(rows) == len(sampler)
    assert set(rows) <= set(range(12))


def test_batches_are_filled_with_groups_of_a_class():
    sampler = training_sampler(Recipe(batch_size=4, sampler="class-balanced", instances=2), LABELS, seed=0)
    labels = torch.tensor(LABELS)[[row for _, row in sampler]].view(-1, 2, 2)
    assert (labels[..., 0] == labels[..., 1]).all()
    assert (labels[:, 0, 0] != labels[:, 1, 0]).all()


def test_more_groups_than_classes_are_as_many_as_there_are():
    sampler = training_sampler(Recipe(batch_size=32, sampler="class-balanced", instances=2), LABELS, seed=0)
    assert sampler.classes == 4


def test_hard_samplers_follow_what_they_know():
    recipe = Recipe(batch_size=6, sampler="hard-triplets", tuple_size=3, hard_share=(1.0, 1.0))
    sampler = training_sampler(recipe, LABELS, seed=0)
    neighbours = torch.tensor([[(row // 3 * 3 + 3) % 12] for row in range(12)])
    sampler.know({"neighbours": neighbours})
    triplets = torch.tensor([row for _, row in sampler]).view(-1, 3)
    assert torch.equal(triplets[:, 2], neighbours[triplets[:, 0], 0])
    plain = training_sampler(Recipe(), LABELS, seed=0)
    before = list(plain)
    plain.know({"neighbours": neighbours})
    assert list(plain) == before
