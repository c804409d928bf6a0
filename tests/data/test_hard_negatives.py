"""Class-balanced batches with the classes that the model confuses."""

from collections import Counter

import pytest
import torch

from retrieval_bench.data.hard_negatives import HardNegativeSampler
from retrieval_bench.settings.errors import InputError

LABELS = [row // 5 for row in range(60)]
"""Twelve classes of five images."""

NEIGHBOURS = torch.tensor([[(row + 5) % 60, (row + 10) % 60] for row in range(60)])
"""Each image is taken for those at its place in the next two classes."""


def rows(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return [row for _, row in sampler]


def create(**given):
    return HardNegativeSampler(LABELS, **({"classes": 4, "instances": 3, "seed": 0} | given))


def grouped(order, size=12):
    return [order[start : start + size] for start in range(0, len(order), size)]


@pytest.mark.parametrize("neighbours", [None, NEIGHBOURS])
@pytest.mark.parametrize("epoch", range(3))
def test_batches_hold_p_classes_of_k_different_images(neighbours, epoch):
    order = rows(create(neighbours=neighbours), epoch)
    assert len(order) == len(create()) == 60
    for group in grouped(order):
        assert list(Counter(LABELS[row] for row in group).values()) == [3] * 4
        assert len(set(group)) == 12


def test_every_other_class_holds_a_neighbour_of_the_image_before():
    for group in grouped(rows(create(neighbours=NEIGHBOURS))):
        for first, second in ((group[0], group[3]), (group[6], group[9])):
            assert second in NEIGHBOURS[first].tolist()


def test_an_odd_number_of_classes_ends_with_a_drawn_one():
    for group in grouped(rows(create(neighbours=NEIGHBOURS, classes=3)), 9):
        assert len({LABELS[row] for row in group}) == 3
        assert group[3] in NEIGHBOURS[group[0]].tolist()


def test_a_neighbour_whose_class_is_in_the_batch_is_passed_over():
    one = torch.tensor([[55 if row < 55 else 0] for row in range(60)])
    for group in grouped(rows(create(neighbours=one))):
        assert len({LABELS[row] for row in group}) == 4


def test_images_without_neighbours_leave_the_next_class_to_chance():
    none = torch.full((60, 2), -1)
    assert rows(create(neighbours=none)) == rows(create())


def test_drawn_classes_take_turns():
    drawn = [LABELS[group[place]] for group in grouped(rows(create())) for place in (0, 3, 6, 9)]
    for start in range(0, len(drawn) - 11, 12):
        assert len(set(drawn[start : start + 12])) >= 10


def test_it_follows_what_it_learns_later():
    sampler = create()
    before = rows(sampler, 1)
    sampler.know({"predictions": torch.zeros(60)})
    assert rows(sampler, 1) == before
    sampler.know({"neighbours": NEIGHBOURS})
    assert rows(sampler, 1) == rows(create(neighbours=NEIGHBOURS), 1) != before


def test_epochs_and_seeds_differ_and_repeat():
    orders = [rows(create(neighbours=NEIGHBOURS, seed=seed), epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert rows(create(neighbours=NEIGHBOURS, seed=1), 1) == orders[3]


def test_ranks_share_the_groups_of_one_order():
    shares = [rows(create(neighbours=NEIGHBOURS, rank=rank, world=2)) for rank in (0, 1)]
    assert [len(share) for share in shares] == [24, 24]
    sampler = create(neighbours=NEIGHBOURS, world=2)
    merged = [row for pair in zip(*map(grouped, shares), strict=True) for group in pair for row in group]
    assert merged == sampler.order(0)


def test_a_resumed_epoch_goes_on():
    resumed = create(neighbours=NEIGHBOURS)
    resumed.start_at(1, 24)
    assert [row for _, row in resumed] == rows(create(neighbours=NEIGHBOURS), 1)[24:]


def test_small_classes_repeat_images():
    sampler = HardNegativeSampler([0, 1, 1, 2], classes=3, instances=2, seed=0)
    counts = Counter([0, 1, 1, 2][row] for row in rows(sampler))
    assert list(counts.values()) == [2, 2, 2]


def test_neighbours_of_other_images():
    with pytest.raises(InputError, match="one line per training image"):
        create(neighbours=NEIGHBOURS[:5])
    with pytest.raises(InputError, match="own class"):
        create(neighbours=torch.arange(60)[:, None] // 5 * 5)
