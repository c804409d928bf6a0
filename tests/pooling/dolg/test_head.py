"""DOLG as a pooling: its parts put together, and its options."""

from typing import Any

import pytest
import torch
from torch import Tensor

from retrieval_bench.pooling import POOLINGS, Pooling
from retrieval_bench.pooling.dolg.fusion import FUSIONS
from retrieval_bench.pooling.gem import generalised_mean
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.features import Features


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).relu()


def build(**options: Any) -> Pooling:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return POOLINGS.create("dolg", options, in_channels=10, earlier_channels=6, token_channels=None).eval()


@torch.no_grad()
@pytest.mark.parametrize("fusion", sorted(FUSIONS))
@pytest.mark.parametrize("multi_atrous", [False, True])
def test_local_map_fused_with_the_reduced_mean(fusion: str, multi_atrous: bool) -> None:
    pooling = build(fusion=fusion, multi_atrous=multi_atrous, p=2.5)
    last, earlier = draw(2, 10, 3, 4), draw(2, 6, 6, 8, seed=1)
    whole = pooling.reduction(generalised_mean(last, 2.5))
    pooled = pooling(last, earlier)
    torch.testing.assert_close(pooled, FUSIONS[fusion].fuse(pooling.local(earlier), whole))
    assert pooled.shape == (2, pooling.out_channels)
    assert pooling.out_channels == (6 if fusion == "hadamard" else 12)


@torch.no_grad()
def test_it_asks_for_the_stage_before_the_last() -> None:
    pooling, features = build(), Features((draw(2, 4, 8, 8), draw(2, 6, 4, 4), draw(2, 10, 2, 2)))
    (earlier,) = pooling.needed(features)
    assert earlier is features.maps[-2]
    assert pooling(features.maps[-1], earlier).isfinite().all()


def test_the_exponent_learns_unless_told_otherwise() -> None:
    assert build().p.requires_grad
    assert not build(learnable=False).p.requires_grad


@pytest.mark.parametrize("size", [(1, 1), (1, 5)])
def test_gradients_at_zeros_are_finite(size: tuple[int, int]) -> None:
    pooling = build()
    maps = [torch.zeros(2, channels, *size, requires_grad=True) for channels in (10, 6)]
    pooling(*maps).sum().backward()
    for values in (*maps, *pooling.parameters()):
        assert values.grad is not None
        assert values.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fusion": "orthogonl"}, "did you mean 'orthogonal'"),
        ({"p": 0}, "pooling.p, the exponent of a generalised mean, must be positive and finite, got 0"),
        ({"multi_atros": True}, "did you mean 'multi_atrous'"),
    ],
    ids=str,
)
def test_options_that_mean_nothing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(**options)
