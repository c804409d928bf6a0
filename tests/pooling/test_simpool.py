"""SimPool against its formula, image by image and position by position."""

import math

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.simpool import SimPool
from retrieval_bench.pooling.ultron import UltronPooling
from retrieval_bench.settings.errors import InputError

C = 12


def feature_map(batch: int = 3, height: int = 4, width: int = 5) -> Tensor:
    return torch.randn(batch, C, height, width, generator=torch.Generator().manual_seed(0))


def build(**options: object) -> SimPool:
    torch.manual_seed(0)
    head = SimPool(C, **options).eval()
    nn.init.uniform_(head.norm.weight, 0.5, 1.5)
    nn.init.uniform_(head.norm.bias, -0.5, 0.5)
    return head


@torch.no_grad()
@pytest.mark.parametrize("gamma", [None, 1.0, 1.25, 2.0, 3.0])
def test_it_equals_the_formula(gamma: float | None) -> None:
    head, values = build(gamma=gamma), feature_map()
    found, weights = head(values), head.attention(values)
    for image in range(3):
        x = values[image].flatten(1).T  # (N, C)
        deviation = (x.var(dim=1, correction=0, keepdim=True) + 1e-6).sqrt()
        normed = (x - x.mean(dim=1, keepdim=True)) / deviation * head.norm.weight + head.norm.bias
        query = head.query.weight @ x.mean(dim=0)
        scores = torch.stack([(head.key.weight @ one) @ query / math.sqrt(C) for one in normed])
        a = scores.softmax(dim=0)
        torch.testing.assert_close(weights[image].flatten(), a)
        if gamma is None:
            expected = sum(a[n] * normed[n] for n in range(len(a)))
        else:
            v = normed - normed.min() + 1e-6
            expected = sum(a[n] * v[n] ** gamma for n in range(len(a))) ** (1 / gamma)
        torch.testing.assert_close(found[image], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_another_image_s_minimum_does_not_matter() -> None:
    head, values = build(), feature_map(2)
    far = values.clone()
    far[1, 3] -= 100
    assert torch.equal(head(values)[0], head(far)[0])


@torch.no_grad()
def test_one_position_gives_its_value() -> None:
    values = feature_map(2, 1, 1)
    head = build(gamma=None)
    torch.testing.assert_close(head(values), head.norm(values.flatten(1)))


@torch.no_grad()
def test_ultron_s_pooling_is_its_generalisation() -> None:
    """Where the query's generalised mean has exponent 1, and no value is clamped, they are one."""
    head, values = build(gamma=2.0), feature_map().abs() + 0.1
    other = UltronPooling(C, exponent=2.0, query_exponent=1.0).eval()
    other.load_state_dict({**head.state_dict(), "query_mean.p": torch.ones(1)}, strict=True)
    torch.testing.assert_close(head(values), other(values))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gamma": 0.0}, "pooling.gamma must be positive and finite, got 0.0"),
        ({"gamma": float("inf")}, "pooling.gamma must be positive and finite, got inf"),
        ({"gamma": float("nan")}, "pooling.gamma must be positive and finite, got nan"),
        ({"eps": 0.0}, "pooling.eps must be positive and finite"),
        ({"gama": 2.0}, "did you mean 'gamma'"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        POOLINGS.create("simpool", options, in_channels=C)
