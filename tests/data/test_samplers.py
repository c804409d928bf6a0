"""Orders: seeded, new every epoch, split over ranks, resumable."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_bench.data.samplers import ClassBalancedSampler, EpochSampler, ShardSampler
from retrieval_bench.settings.errors import InputError


def rows(sampler, epoch=0):
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert {key[0] for key in keys} == {epoch}
    return [key[1] for key in keys]


def test_no_two_epochs_see_the_same_order():
    sampler = EpochSampler(50, seed=3)
    orders = [rows(sampler, epoch) for epoch in range(5)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 5
    assert rows(EpochSampler(50, seed=3), 4) == orders[4]
    assert rows(EpochSampler(50, seed=4), 4) != orders[4]


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 3))
def test_ranks_together_see_every_row(count, world, epoch):
    shares = [rows(EpochSampler(count, seed=0, rank=rank, world=world), epoch) for rank in range(world)]
    assert {len(share) for share in shares} == {-(-count // world)}
    assert all(len(EpochSampler(count, seed=0, rank=r, world=world)) == len(shares[r]) for r in range(world))
    seen = Counter(row for share in shares for row in share)
    assert set(seen) == set(range(count))
    if world <= count:
        assert max(seen.values()) <= 2


def test_a_resumed_epoch_goes_on_and_the_next_is_whole():
    whole = EpochSampler(20, seed=0)
    resumed = EpochSampler(20, seed=0)
    resumed.start_at(3, 8)
    assert [row for _, row in resumed] == rows(whole, 3)[8:]
    assert len(resumed) == 20
    assert rows(resumed, 4) == rows(whole, 4)
    resumed.start_at(3, 20)
    assert rows(resumed, 3) == rows(whole, 3)


LABELS = [0] * 10 + [1] * 3 + [2] * 1 + [3] * 6 + [4] * 8


@pytest.mark.parametrize("epoch", range(3))
def test_groups_hold_p_classes_of_k_images(epoch):
    sampler = ClassBalancedSampler(LABELS, classes=2, instances=4, seed=0)
    order = rows(sampler, epoch)
    assert len(order) == len(sampler) == 3 * 8
    for start in range(0, len(order), 8):
        group = order[start : start + 8]
        counts = Counter(LABELS[row] for row in group)
        assert sorted(counts.values()) == [4, 4]
        for label in counts:
            members = LABELS.count(label)
            assert len({row for row in group if LABELS[row] == label}) == min(members, 4)


def test_classes_take_turns():
    sampler = ClassBalancedSampler(LABELS * 10, classes=2, instances=2, seed=1)
    order = rows(sampler)
    turns = [LABELS[row % len(LABELS)] for row in order[::2]]
    for start in range(0, len(turns) - 5, 5):
        assert max(Counter(turns[start : start + 5]).values()) <= 2
    assert max(Counter(turns).values()) - min(Counter(turns).values()) <= 1


def test_ranks_get_different_groups_of_one_order():
    whole = rows(ClassBalancedSampler(LABELS * 4, classes=2, instances=4, seed=0))
    shares = [rows(ClassBalancedSampler(LABELS * 4, classes=2, instances=4, seed=0, rank=r, world=2)) for r in (0, 1)]
    groups = [share[start : start + 8] for start in range(0, len(shares[0]), 8) for share in shares]
    assert [row for group in groups for row in group] == whole[: len(groups) * 8]


def test_a_resumed_balanced_epoch_goes_on():
    resumed = ClassBalancedSampler(LABELS, classes=2, instances=4, seed=0)
    resumed.start_at(1, 8)
    assert [row for _, row in resumed] == rows(ClassBalancedSampler(LABELS, classes=2, instances=4, seed=0), 1)[8:]


def test_validation_shards_repeat_nothing():
    for world in (1, 3, 10):
        shards = [ShardSampler(7, rank=rank, world=world) for rank in range(world)]
        assert sorted(row for shard in shards for _, row in shard) == list(range(7))
        assert all(len(shard) == len(list(shard)) for shard in shards)


def test_impossible_requests_are_input_errors():
    with pytest.raises(InputError, match="no training images"):
        EpochSampler(0, seed=0)
    with pytest.raises(InputError, match="there are 5"):
        ClassBalancedSampler(LABELS, classes=6, instances=2, seed=0)
