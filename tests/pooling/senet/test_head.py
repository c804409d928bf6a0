"""SENet as a pooling: its parts put together, and its options."""

from typing import Any

import pytest
import torch

from retrieval_bench.pooling import POOLINGS, Pooling
from retrieval_bench.pooling.gem import generalised_mean
from retrieval_bench.settings.errors import InputError


def build(**options: Any) -> Pooling:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return POOLINGS.create("senet", {"mid_dim": 4, **options}, in_channels=10).eval()


@torch.no_grad()
def test_the_mean_of_the_enriched_map() -> None:
    pooling = build(p=2.5, unfold_size=5)
    feature_map = torch.randn(2, 10, 3, 4, generator=torch.Generator().manual_seed(0)).relu()
    torch.testing.assert_close(pooling(feature_map), generalised_mean(pooling.structure(feature_map), 2.5))
    assert pooling.out_channels == 10


def test_the_published_exponent_is_fixed() -> None:
    assert float(build().p) == 3
    assert not build().p.requires_grad
    assert build(learnable=True).p.requires_grad


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mid_dim": 0}, "mid_dim must be at least 1, got 0"),
        ({"unfold_size": 4}, "unfold_size must be odd"),
        ({"kernel_size": 5}, "kernel_size must be 1, 2 or 3"),
        ({"p": -1}, "must be positive and finite, got -1"),
    ],
    ids=str,
)
def test_options_that_mean_nothing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(**options)
