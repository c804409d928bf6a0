"""ArcFace with several centres of each class."""

import math

import pytest
import torch
import torch.nn.functional as F

from retrieval_bench.losses.arcface import ArcFace
from retrieval_bench.settings.errors import InputError


def test_the_nearest_centre_of_each_class_counts() -> None:
    torch.manual_seed(0)
    loss = ArcFace(8, 5, margin=0.3, scale=10.0, sub_centres=3).double()
    descriptors, labels = torch.randn(6, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 4])
    unit, weight = F.normalize(descriptors, dim=1).tolist(), F.normalize(loss.weight, dim=1).tolist()
    total = 0.0
    for row, label in zip(unit, labels.tolist(), strict=True):
        logits = []
        for c in range(5):
            angles = [math.acos(sum(a * b for a, b in zip(row, weight[3 * c + k], strict=True))) for k in range(3)]
            angle = min(angles)
            logits.append(10 * math.cos(angle + 0.3 if c == label and angle <= math.pi - 0.3 else angle))
        total += math.log(sum(math.exp(value) for value in logits)) - logits[label]
    assert loss(descriptors, labels).item() == pytest.approx(total / 6, rel=1e-9)


def test_only_the_nearest_centres_learn_from_an_image() -> None:
    loss = ArcFace(8, 5, sub_centres=2)
    descriptors = torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
    loss(descriptors, torch.tensor([1])).backward()
    moved = loss.weight.grad.abs().sum(dim=1).view(5, 2) > 0
    assert moved.sum(dim=1).tolist() == [1] * 5


def test_one_centre_is_the_plain_loss_to_the_last_bit() -> None:
    losses = []
    for options in ({}, {"sub_centres": 1}):
        torch.manual_seed(0)
        loss = ArcFace(8, 5, **options)
        losses.append(loss(torch.randn(4, 8), torch.tensor([0, 2, 4, 4])))
        assert loss.weight.shape == (5, 8)
    assert torch.equal(*losses)


def test_shapes() -> None:
    loss = ArcFace(8, 5, sub_centres=3)
    assert loss.weight.shape == (15, 8)
    assert loss.cosines(torch.randn(4, 8)).shape == (4, 5)
    assert loss.logits(torch.randn(4, 8)).shape == (4, 5)


def test_none_at_all() -> None:
    with pytest.raises(InputError, match="sub_centres must be at least 1, got 0"):
        ArcFace(8, 5, sub_centres=0)
