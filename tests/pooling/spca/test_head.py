"""SpCa as a pooling: its parts put together for every fuser, and its options."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.pooling import POOLINGS, Pooling
from retrieval_bench.pooling.gem import generalised_mean
from retrieval_bench.pooling.spca.fusers import FUSERS
from retrieval_bench.settings.errors import InputError


def build(**options: Any) -> Pooling:
    """Disturbed, since attention that starts at zero hides the context."""
    given = {"codebook_size": 3, "local_dim": 5, "powers": 2, "heads": 4, **options}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pooling: Pooling = POOLINGS.create("spca", given, in_channels=8).eval()
        for name, parameter in pooling.named_parameters():
            if name.startswith("fuser") and parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.3)
    return pooling


@pytest.fixture
def feature_map() -> Tensor:
    return torch.randn(2, 8, 3, 4, generator=torch.Generator().manual_seed(0)).relu()


@torch.no_grad()
@pytest.mark.parametrize("fuser", FUSERS)
def test_map_and_context_fused_and_pooled(fuser: str, feature_map: Tensor) -> None:
    pooling = build(fuser=fuser, p=2.5)
    context = pooling.context(feature_map).context
    if fuser == "orth":
        expected = pooling.fuser(generalised_mean(feature_map, 2.5), context)
    else:
        expected = generalised_mean(pooling.fuser(feature_map, context), 2.5)
    pooled = pooling(feature_map)
    torch.testing.assert_close(pooled, expected)
    widths = {"cro": 8, "dec": 8, "orth": 8, "cat": 16, "had": 2 * 3 * 2}
    assert pooled.shape == (2, pooling.out_channels) == (2, widths[fuser])


@torch.no_grad()
@pytest.mark.parametrize("fuser", FUSERS)
def test_where_things_are_counts(fuser: str, feature_map: Tensor) -> None:
    pooling = build(fuser=fuser, p=1.0)
    shuffled = feature_map.flatten(2)[..., torch.randperm(12, generator=torch.Generator().manual_seed(0))]
    assert not torch.allclose(pooling(shuffled.unflatten(2, (3, 4))), pooling(feature_map), rtol=1e-3)


@torch.no_grad()
def test_a_trace_leaves_no_grid_behind(feature_map: Tensor) -> None:
    """The size is met for the first time while tracing."""
    pooling, wide = build(), feature_map.repeat(1, 1, 1, 3)[..., :11]
    exported = torch.export.export(pooling, (wide,)).module()
    torch.testing.assert_close(exported(wide), pooling(wide))


@torch.no_grad()
@pytest.mark.parametrize("fuser", FUSERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_any_precision(fuser: str, dtype: torch.dtype, feature_map: Tensor) -> None:
    pooled = build(fuser=fuser).to(dtype)(feature_map.to(dtype))
    assert pooled.dtype == dtype
    assert pooled.isfinite().all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fuser": "crs"}, "did you mean 'cro'"),
        ({"codebook_size": 0}, "pooling.codebook_size must be at least 1, got 0"),
        ({"heads": 3}, "pooling.heads=3 does not divide the 8 channels of the map; set pooling.heads to a divisor"),
        ({"first_power": 3}, "first_power=3"),
        ({"p": 0}, "must be positive and finite, got 0"),
    ],
    ids=str,
)
def test_options_that_mean_nothing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(**options)


def test_without_attention_heads_need_not_divide() -> None:
    assert build(heads=3, fuser="cat").out_channels == 16
