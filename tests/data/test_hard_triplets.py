"""Triplets: what belongs together, how hard, how often, seeded, sharded, resumable."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_bench.data.hard_triplets import HardTripletSampler
from retrieval_bench.settings.errors import InputError

LABELS = [0] * 10 + [3] * 3 + [1] * 1 + [2] * 6 + [7] * 8 + [5] * 1


def neighbours(labels, count=2):
    """The first `count` images of other classes; row 0 knows one at most, behind gaps."""
    rows = torch.tensor([[row for row, label in enumerate(labels) if label != own][:count] for own in labels])
    rows[0, : count - 1] = -1
    return rows


def triplets(sampler, epoch=0):
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert {key[0] for key in keys} == {epoch}
    assert len(keys) == len(sampler)
    return torch.tensor([key[1] for key in keys]).view(-1, 3)


@given(st.lists(st.integers(0, 4), min_size=4, max_size=40), st.integers(1, 3), st.integers(0, 5), st.booleans())
def test_query_and_positive_are_alike_and_the_negative_is_not(labels, world, epoch, hard):
    counts = Counter(labels)
    if len(counts) < 2 or max(counts.values()) < 2:
        return
    found = neighbours(labels, 1) if hard else None
    for rank in range(world):
        options = {"neighbours": found, "hard_share": (0.5, 0.5), "rank": rank, "world": world}
        rows = triplets(HardTripletSampler(labels, seed=3, **options), epoch)
        assert len(rows) == max(len(labels) // (3 * world), 1)
        query, positive, negative = torch.tensor(labels)[rows].T
        assert torch.equal(query, positive)
        assert (query != negative).all()
        assert (rows[:, 0] != rows[:, 1]).all()


def test_all_choices_come_up_evenly():
    """Positives: all others of the class. Negatives: all images of the other classes."""
    sampler = HardTripletSampler(LABELS, seed=0)
    rows = torch.cat([triplets(sampler, epoch) for epoch in range(1500)])
    of_query = rows[rows[:, 0] == 12]
    positives, negatives = Counter(of_query[:, 1].tolist()), Counter(of_query[:, 2].tolist())
    assert set(positives) == {10, 11}
    assert positives[10] == pytest.approx(len(of_query) / 2, rel=0.2)
    assert set(negatives) == {row for row, label in enumerate(LABELS) if label != 3}
    expected = len(of_query) / 26
    assert sum((count - expected) ** 2 / expected for count in negatives.values()) < 60  # chi-square, 25 degrees


def test_every_image_with_a_positive_is_a_query_before_one_is_again():
    labels = [0, 0, 1, 1, *range(2, 30)]
    queries = triplets(HardTripletSampler(labels, seed=0))[:, 0].tolist()
    assert len(queries) == 10
    assert sorted(queries[:4]) == sorted(queries[4:8]) == [0, 1, 2, 3]


def test_the_share_of_hard_negatives_grows():
    labels = [row // 4 for row in range(4000)]
    hardest = torch.tensor([[(row + 400) % 4000, (row + 800) % 4000] for row in range(4000)])
    sampler = HardTripletSampler(labels, neighbours=hardest, hard_share=(0.2, 0.8), epochs=4, seed=0)
    shares = []
    for epoch in range(6):
        rows = triplets(sampler, epoch)
        hard = (hardest[rows[:, 0]] == rows[:, 2:]).any(dim=1)
        shares.append(hard.float().mean().item())
        assert sampler.share_of_hard(epoch) == pytest.approx(shares[-1], abs=0.05)
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8], abs=0.05)
    rows = triplets(HardTripletSampler(labels, neighbours=hardest, hard_share=(1, 1), seed=0))
    which = (hardest[rows[:, 0]] == rows[:, 2:]).float().mean(dim=0)
    assert which.tolist() == pytest.approx([0.5, 0.5], abs=0.05)


def test_rows_without_known_neighbours_draw_at_random():
    found = torch.full((len(LABELS), 3), -1)
    found[0, 2] = 12
    sampler = HardTripletSampler(LABELS, neighbours=found, hard_share=(1.0, 1.0), seed=0)
    rows = torch.cat([triplets(sampler, epoch) for epoch in range(100)])
    assert set(rows[rows[:, 0] == 0][:, 2].tolist()) == {12}
    assert len(set(rows[rows[:, 0] == 1][:, 2].tolist())) > 10


def test_seed_and_epoch_decide():
    one, other = (HardTripletSampler(LABELS, neighbours=neighbours(LABELS), seed=5) for _ in range(2))
    assert torch.equal(triplets(one, 3), triplets(other, 3))
    assert not torch.equal(triplets(one, 3), triplets(one, 4))
    assert not torch.equal(triplets(one, 3), triplets(HardTripletSampler(LABELS, seed=6), 3))


def test_ranks_get_different_triplets_of_one_order():
    samplers = [HardTripletSampler(LABELS, seed=0, rank=rank, world=3) for rank in range(3)]
    shares = [triplets(sampler, 2) for sampler in samplers]
    order = torch.tensor(samplers[0].order(2)).view(-1, 3)
    assert torch.equal(torch.stack(shares, dim=1).flatten(0, 1), order)
    assert len({len(sampler) for sampler in samplers}) == 1


def test_a_resumed_epoch_goes_on_and_the_next_is_whole():
    whole = HardTripletSampler(LABELS, seed=0)
    resumed = HardTripletSampler(LABELS, seed=0)
    resumed.start_at(1, 6)
    expected = triplets(whole, 1).flatten().tolist()
    assert [row for _, row in resumed] == expected[6:]
    assert torch.equal(triplets(resumed, 2), triplets(whole, 2))
    resumed.start_at(1, len(expected))
    assert torch.equal(triplets(resumed, 1), triplets(whole, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0, 0, 0]}, "there are 1 classes"),
        ({"labels": [0, 1, 2]}, "0 images share"),
        ({"labels": []}, "no training images"),
        ({"hard_share": (0.0, 1.5)}, "hard_share must be two values in 0 .. 1"),
        ({"neighbours": torch.zeros(3, 2).long()}, r"neighbours must be \(4, n\) integers"),
        ({"neighbours": torch.zeros(4, 2)}, "got float32"),
        ({"neighbours": torch.full((4, 2), 4)}, "must be rows 0 .. 3"),
        ({"neighbours": torch.tensor([[2], [0], [1], [1]])}, "training image 1 is of its own class"),
    ],
)
def test_impossible_requests(options, message):
    with pytest.raises(InputError, match=message):
        HardTripletSampler(**{"labels": [0, 0, 1, 1], "seed": 0, **options})
