"""Hard tuples: who may stand where, no image twice in a pass, shares of hard negatives, ranks and resuming."""

from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.data.hard_tuples import HardTupleSampler
from retrieval_bench.data.random_pools import uniform
from retrieval_bench.settings.errors import InputError

LABELS = [0] * 30 + [1] * 20 + [2] * 1 + [3] * 25 + [4] * 8 + [5] * 2 + [6] * 14 + [7] * 20 + [8] * 11
SIZE = 8


def mistaken(labels, every=3, step=1):
    """Predictions that are wrong for one row in `every`."""
    classes = max(labels) + 1
    return [(label + step) % classes if row % every == 0 else label for row, label in enumerate(labels)]


def sampler(labels=LABELS, seed=0, **given):
    return HardTupleSampler(labels, seed=seed, **{"predictions": mistaken(labels), **given})


def tuples_of(rows, size=SIZE):
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def one_pass(made, seed=0):
    return made.one_pass(uniform(torch.Generator().manual_seed(seed)))


def rows(made, epoch=0):
    made.set_epoch(epoch)
    keys = list(made)
    assert {key[0] for key in keys} == {epoch}
    return [key[1] for key in keys]


@pytest.mark.parametrize("predictions", [mistaken(LABELS), None, [-1] * len(LABELS), [99] * len(LABELS)])
def test_a_tuple_is_anchor_positive_and_images_of_other_classes(predictions):
    for chosen in tuples_of(sampler(predictions=predictions).order(0)):
        assert len(set(chosen)) == SIZE
        anchor, positive, *negatives = (LABELS[row] for row in chosen)
        assert anchor == positive
        assert anchor not in negatives


@pytest.mark.parametrize("seed", range(5))
def test_a_pass_uses_no_image_twice_and_ends_when_nothing_fits(seed):
    made = sampler()
    used = [row for chosen in one_pass(made, seed) for row in chosen]
    assert len(used) == len(set(used))
    left = Counter(label for row, label in enumerate(LABELS) if row not in set(used))
    crowded = [label for label, count in left.items() if count > 1]
    stuck = [label for label in crowded if sum(left.values()) - left[label] < SIZE - 2]
    assert stuck or not crowded


@pytest.mark.parametrize("seed", range(5))
def test_the_positive_of_a_mistaken_anchor_is_a_recognised_image_if_one_is_left(seed):
    predictions = mistaken(LABELS, every=2)
    made = sampler(predictions=predictions)
    free = set(range(len(LABELS)))
    wrong = 0
    for chosen in one_pass(made, seed):
        anchor, positive = chosen[:2]
        free.discard(anchor)
        recognised = {row for row in free if LABELS[row] == LABELS[anchor] == predictions[row]}
        if predictions[anchor] != LABELS[anchor]:
            wrong += 1
            assert not recognised or positive in recognised
        free -= set(chosen)
    assert wrong > 3


def test_shares_of_hard_negatives():
    """Class 0 is recognised, class 1 is taken for 0, class 2 for 1; so is nothing for 2, nor any other class."""
    labels = [label for label in range(12) for _ in range(3000)]
    said = {1: 0, 2: 1}
    made = sampler(labels, predictions=[said.get(label, label) for label in labels])
    negatives = {label: Counter() for label in range(12)}
    for seed in range(4):
        for chosen in islice(one_pass(made, seed), 1000):
            negatives[labels[chosen[0]]].update(labels[row] for row in chosen[2:])

    def share(anchor, negative):
        return negatives[anchor][negative] / sum(negatives[anchor].values())

    # What stays empty goes to 11 other classes alike.
    empty = 0.5
    assert share(0, 1) == pytest.approx(0.5 + empty / 11, abs=0.04)
    empty = (1 - 0.33) * 0.5
    assert share(1, 2) == pytest.approx(0.33 + empty / 11, abs=0.04)
    assert share(1, 0) == pytest.approx(empty + empty / 11, abs=0.04)
    assert share(2, 1) == pytest.approx(0.5 + 0.5 / 11, abs=0.04), "nothing is taken for class 2"
    assert share(5, 4) == pytest.approx(1 / 11, abs=0.04)


@pytest.mark.parametrize("predictions", [None, [-1] * 200])
def test_without_predictions_negatives_come_from_different_classes_alike(predictions):
    labels = [row % 10 for row in range(200)]
    drawn = Counter()
    for seed in range(60):
        for chosen in islice(one_pass(sampler(labels, predictions=predictions), seed), 3):
            classes = [labels[row] for row in chosen[2:]]
            assert len(set(classes)) == 6
            drawn.update(classes)
    assert min(drawn.values()) > 0.7 * max(drawn.values())


def test_few_classes_take_turns():
    labels = [row % 3 for row in range(300)]
    for chosen in islice(one_pass(sampler(labels, predictions=None)), 10):
        counts = Counter(labels[row] for row in chosen[2:])
        assert sorted(counts.values()) == [3, 3]


def test_classes_are_anchors_alike():
    labels = [0] * 900 + [1] * 300 + [2] * 300 + [3] * 300
    anchors = Counter(labels[chosen[0]] for chosen in islice(one_pass(sampler(labels, tuple_size=3)), 200))
    assert min(anchors.values()) > 0.6 * max(anchors.values())


@given(st.integers(0, 2**31), st.integers(3, 9), st.integers(2, 7))
@settings(max_examples=30, deadline=None)
def test_any_labels_fill_an_epoch_or_are_refused(seed, size, classes):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (40,), generator=generator).tolist()
    predictions = torch.randint(-1, classes, (40,), generator=generator).tolist()
    try:
        made = sampler(labels, tuple_size=size, predictions=predictions, seed=seed)
    except InputError:
        sizes = Counter(labels).values()
        assert not any(count > 1 and 40 - count >= size - 2 for count in sizes)
        return
    order = rows(made)
    assert len(order) == len(made) == -(-40 // size) * size
    for chosen in tuples_of(order, size):
        assert len(set(chosen)) == size
        assert labels[chosen[0]] == labels[chosen[1]]
        assert labels[chosen[0]] not in [labels[row] for row in chosen[2:]]


def test_orders_come_from_seed_and_epoch():
    orders = [rows(sampler(), epoch) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    assert rows(sampler(), 3) == orders[3]
    assert rows(sampler(seed=1), 3) != orders[3]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_take_contiguous_blocks_of_one_list(world):
    made = [sampler(rank=rank, world=world) for rank in range(world)]
    share = -(-len(LABELS) // (world * SIZE)) * SIZE
    assert [len(one) for one in made] == [share] * world
    shares = [rows(one, 2) for one in made]
    assert [row for part in shares for row in part] == made[0].order(2)
    assert all(len(part) == share for part in shares)


def test_a_resumed_epoch_goes_on_and_the_next_is_whole():
    resumed = sampler()
    resumed.start_at(1, 16)
    assert [row for _, row in resumed] == rows(sampler(), 1)[16:]
    assert rows(resumed, 2) == rows(sampler(), 2)


@pytest.mark.parametrize(
    "labels",
    [list(range(50)), [0] * 50, [0] * 5 + [1] * 5, [0, 0, 1, 2, 3, 4, 5]],
    ids=["no pair", "one class", "too few others", "one negative short"],
)
def test_labels_of_which_no_tuple_can_be_made(labels):
    with pytest.raises(InputError, match=r"no tuple of 8 .* two of one class and 6 of others; set train\.tuple_size"):
        sampler(labels, predictions=None)


def test_the_smallest_set():
    labels = [0, 0, 1, 2, 3, 4, 5, 6]
    order = sampler(labels, predictions=None).order(0)
    assert sorted(order) == list(range(8))
    assert {order[0], order[1]} == {0, 1}


def test_predictions_of_another_length():
    with pytest.raises(InputError, match=f"3 predictions for {len(LABELS)} training images; mine"):
        sampler(predictions=[0, 1, 2])
