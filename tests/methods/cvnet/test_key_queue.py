"""First in, first out, whatever the batches; and only as far as it is filled."""

import pytest
import torch

from retrieval_bench.methods.cvnet.key_queue import EMPTY, KeyQueue
from retrieval_bench.settings.errors import InputError


def batch(first: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys that hold their own number, with that number as their label."""
    numbers = torch.arange(first, first + count)
    return numbers[:, None].float().repeat(1, 2), numbers


def test_it_starts_empty():
    queue = KeyQueue(4, 2)
    assert len(queue) == 0
    assert queue.labels.tolist() == [EMPTY] * 4


def test_the_oldest_leave_first():
    """Against a list, over batches that neither divide the queue nor have one size."""
    queue, expected, number = KeyQueue(7, 2), [], 0
    for count in (3, 1, 5, 7, 2, 6, 4):
        keys, labels = batch(number, count)
        number += count
        expected = (expected + labels.tolist())[-7:]
        coming = queue.behind(keys, labels)
        assert sorted(coming.labels.tolist()) == sorted(expected)
        assert coming.labels[coming.rows].tolist() == labels.tolist()
        assert torch.equal(coming.descriptors[:, 0].long(), coming.labels)
        queue.push(keys, labels)
        assert len(queue) == len(expected)
        assert sorted(queue.labels[queue.labels != EMPTY].tolist()) == sorted(expected)


def test_looking_ahead_stores_nothing():
    queue = KeyQueue(3, 2)
    queue.push(*batch(0, 2))
    before = {name: value.clone() for name, value in queue.state_dict().items()}
    coming = queue.behind(*batch(5, 2))
    assert sorted(coming.labels.tolist()) == [1, 5, 6]
    assert all(torch.equal(value, queue.state_dict()[name]) for name, value in before.items())


def test_later_keys_do_not_touch_what_was_handed_out():
    queue = KeyQueue(2, 2)
    handed_out = queue.behind(*batch(0, 2)).descriptors
    queue.push(*batch(4, 2))
    assert handed_out[:, 0].tolist() == [0, 1]


def test_a_limit_uses_fewer_rows():
    queue = KeyQueue(8, 2)
    queue.limit(3)
    for first in range(0, 10, 2):
        queue.push(*batch(first, 2))
    assert len(queue) == 3
    assert sorted(queue.behind(*batch(10, 1)).labels.tolist()) == [8, 9, 10]
    assert queue.labels[3:].tolist() == [EMPTY] * 5
    queue.limit(100)
    assert queue.capacity == 8


def test_more_keys_than_room():
    with pytest.raises(InputError, match="holds 3 descriptors, but one step brings 4; raise queue_size"):
        KeyQueue(3, 2).push(*batch(0, 4))


def test_the_state_dict_resumes_exactly():
    first, second = KeyQueue(5, 2), KeyQueue(5, 2)
    first.push(*batch(0, 3))
    second.load_state_dict(first.state_dict())
    for queue in (first, second):
        queue.push(*batch(3, 4))
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(first.descriptors, second.descriptors)


def test_clearing_forgets():
    queue = KeyQueue(5, 2)
    queue.push(*batch(0, 3))
    queue.clear()
    assert all(torch.equal(value, KeyQueue(5, 2).state_dict()[name]) for name, value in queue.state_dict().items())
