"""SOLAR's attention pooling: the authors' numbers, the formula, and how it starts."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from parity_case import load
from published_file import tensors
from torch import Tensor

from retrieval_bench.pooling import POOLINGS, Pooling
from retrieval_bench.pooling.gem import generalised_mean
from retrieval_bench.pooling.normalise import l2_normalise
from retrieval_bench.settings.errors import InputError

CASE = load(Path(__file__).parents[1] / "parity" / "solar" / "head")


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).relu()


def disturbed(channels: int = 6) -> Pooling:
    """As after some training: v no longer zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pooling = POOLINGS.create("solar", {}, in_channels=channels).eval()
        torch.nn.init.normal_(pooling.attention.v.weight)
    return pooling


@torch.no_grad()
def test_equals_the_published() -> None:
    settings, out = CASE.settings, CASE.outputs
    pooling = POOLINGS.create("solar", {"reduction": settings["reduction"]}, in_channels=settings["channels"]).eval()
    state = {
        key.replace("soa5.", "attention.").replace("pool.p", "p"): value
        for key, value in tensors(CASE.state_dict).items()
        if not key.startswith("whiten.")
    }
    pooling.load_state_dict(state)
    feature_map = torch.from_numpy(CASE.inputs["solar/feature_map"]).abs()
    assert_allclose(pooling.attention.attention(feature_map), out["attention"], **CASE.tolerance)
    assert_allclose(pooling.attention(feature_map)[:, :16], out["soa_map_slice"], **CASE.tolerance)
    unit = l2_normalise(pooling(feature_map))
    assert_allclose(unit, out["pooled"], **CASE.tolerance)
    whitened = F.linear(unit, *(torch.from_numpy(CASE.state_dict[f"whiten.{key}"]) for key in ("weight", "bias")))
    assert_allclose(l2_normalise(whitened), out["whitened"], **CASE.tolerance)


@torch.no_grad()
def test_attended_position_by_position() -> None:
    pooling, feature_map = disturbed(), draw(1, 6, 2, 3)
    block = pooling.attention
    f, g, h = (layer(feature_map)[0].flatten(1) for layer in (block.f, block.g, block.h))
    found = block(feature_map)[0].flatten(1)
    for position in range(6):
        weights = torch.stack([f[:, position] @ g[:, other] / 3**0.5 for other in range(6)]).softmax(dim=0)
        mixed = sum(weights[other] * h[:, other] for other in range(6))
        added = block.v.weight[:, :, 0, 0] @ mixed + block.v.bias
        torch.testing.assert_close(found[:, position], feature_map[0].flatten(1)[:, position] + added)


@torch.no_grad()
def test_rows_of_the_attention_sum_to_one_and_are_what_is_used() -> None:
    pooling, feature_map = disturbed(), draw(2, 6, 3, 4)
    block = pooling.attention
    shares = block.attention(feature_map)
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(2, 12))
    mixed = (shares @ block.h(feature_map).flatten(2).mT).mT.unflatten(2, (3, 4))
    torch.testing.assert_close(block(feature_map), feature_map + block.v(mixed))


def test_it_starts_as_gem() -> None:
    pooling, feature_map = POOLINGS.create("solar", {"p": 2.5}, in_channels=6).eval(), draw(2, 6, 3, 4)
    torch.testing.assert_close(pooling(feature_map), generalised_mean(feature_map, 2.5))


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e4, 1e15])
def test_gradients_stay_finite_once_it_attends(scale: float) -> None:
    pooling, feature_map = disturbed(), (draw(2, 6, 3, 4) * scale).requires_grad_()
    (pooling(feature_map) / max(scale, 1.0)).sum().backward()
    for gradient in (feature_map.grad, *(parameter.grad for parameter in pooling.parameters())):
        assert gradient is not None
        assert gradient.isfinite().all()


@pytest.mark.parametrize("reduction", [0, 9])
def test_a_reduction_that_leaves_nothing(reduction: int) -> None:
    with pytest.raises(
        InputError, match=f"pooling.reduction must lie between 1 and the map's 8 channels, got {reduction}"
    ):
        POOLINGS.create("solar", {"reduction": reduction}, in_channels=8)
