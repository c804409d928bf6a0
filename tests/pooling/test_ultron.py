"""ULTRON's pooling against its formula, image by image."""

import math

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.pooling.ultron import UltronPooling, weighted_power_mean
from retrieval_bench.settings.errors import InputError

C = 12


def feature_map(batch: int = 3, height: int = 4, width: int = 5) -> Tensor:
    return torch.randn(batch, C, height, width, generator=torch.Generator().manual_seed(0))


def build(**options: object) -> UltronPooling:
    torch.manual_seed(0)
    pooling = UltronPooling(C, **options).eval()
    nn.init.uniform_(pooling.norm.weight, 0.5, 1.5)
    nn.init.uniform_(pooling.norm.bias, -0.5, 0.5)
    return pooling


@torch.no_grad()
@pytest.mark.parametrize("exponent", [1.0, 1.25, 2.0, -1.0, 0.0])
def test_it_equals_the_formula(exponent: float) -> None:
    pooling, values = build(exponent=exponent, query_exponent=3.0), feature_map()
    found = pooling(values)
    for image in range(3):
        positions = values[image].flatten(1).T  # (N, C)
        mean = positions.clamp(min=1e-6).pow(3).mean(dim=0).pow(1 / 3)
        query = pooling.query.weight @ mean
        deviation = (positions.var(dim=1, correction=0, keepdim=True) + 1e-6).sqrt()
        normed = (positions - positions.mean(dim=1, keepdim=True)) / deviation * pooling.norm.weight + pooling.norm.bias
        weights = torch.stack([(pooling.key.weight @ one) @ query / math.sqrt(C) for one in normed]).softmax(dim=0)
        shifted = normed - normed.min() + 1e-6
        if exponent == 0:
            expected = (weights[:, None] * shifted.log()).sum(dim=0).exp()
        else:
            expected = (weights[:, None] * shifted.pow(exponent)).sum(dim=0).pow(1 / exponent)
        torch.testing.assert_close(found[image], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(pooling.attention(values)[image].flatten(), weights)


@torch.no_grad()
def test_without_a_question_and_exponent_one_it_is_the_mean() -> None:
    pooling, values = build(exponent=1.0), feature_map()
    nn.init.zeros_(pooling.query.weight)
    normed = pooling.normed(values)
    expected = normed.mean(dim=1) - normed.amin(dim=(1, 2), keepdim=True)[:, 0] + 1e-6
    torch.testing.assert_close(pooling(values), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(pooling.attention(values), torch.full((3, 4, 5), 1 / 20))


@torch.no_grad()
def test_one_position_gives_its_value() -> None:
    pooling, values = build(), feature_map(2, 1, 1)
    normed = pooling.normed(values)[:, 0]
    torch.testing.assert_close(pooling(values), normed - normed.amin(dim=1, keepdim=True) + 1e-6)


@torch.no_grad()
def test_another_image_s_minimum_does_not_matter() -> None:
    pooling, values = build(), feature_map(2)
    far = values.clone()
    far[1, 3] -= 100
    assert torch.equal(pooling(values)[0], pooling(far)[0])


def test_the_limit_of_small_exponents_is_the_geometric_mean() -> None:
    values = torch.rand(2, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    weights = torch.randn(2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(dim=1)
    zero = weighted_power_mean(values, weights, 0.0)
    torch.testing.assert_close(weighted_power_mean(values, weights, 1e-6), zero, rtol=1e-5, atol=0)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0])
def test_gradients_equal_finite_differences(exponent: float) -> None:
    generator = torch.Generator().manual_seed(0)
    values = (torch.rand(2, 4, 3, generator=generator, dtype=torch.float64) + 0.1).requires_grad_()
    scores = torch.randn(2, 4, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v, s: weighted_power_mean(v, s.log_softmax(dim=1), exponent), (values, scores)
    )


def test_large_exponents_stay_in_range() -> None:
    values = feature_map().requires_grad_()
    pooled = build(exponent=80.0)(values)
    pooled.sum().backward()
    assert pooled.isfinite().all()
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("learnable", [True, False])
def test_the_query_s_exponent_may_be_learnt(learnable: bool) -> None:
    pooling = build(query_learnable=learnable, query_exponent=2.5)
    assert pooling.state_dict()["query_mean.p"].tolist() == [2.5]
    pooling(feature_map()).sum().backward()
    assert (pooling.query_mean.p.grad is not None) is learnable


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"exponent": float("inf")}, "pooling.exponent must be finite, got inf"),
        ({"exponent": float("nan")}, "pooling.exponent must be finite, got nan"),
        ({"query_exponent": 0.0}, "pooling.query_exponent must be positive and finite, got 0.0"),
        ({"eps": -1e-6}, "pooling.eps"),
    ],
)
def test_wrong_options(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(**options)
