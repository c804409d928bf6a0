"""What each fuser does with position, size and order; their numbers are in test_parity."""

import pytest
import torch
from numpy.testing import assert_allclose

from retrieval_bench.pooling.spca.fusers import FUSERS, CrossAttention, Orthogonal, OuterProduct

CHANNELS, CONTEXT = 16, 6
GRIDS = [(1, 1), (1, 16), (3, 4)]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fuser(kind: str, channels: int = CHANNELS):
    """With all weights away from their start, where attention adds nothing."""
    module = FUSERS[kind](channels, CONTEXT, heads=4).double()
    for seed, parameter in enumerate(module.parameters()):
        parameter.data = 0.3 * drawn(*parameter.shape, seed=seed)
    return module


def appearance(kind: str, grid: tuple[int, int], channels: int = CHANNELS) -> torch.Tensor:
    return drawn(2, channels, *(() if kind == "orth" else grid), seed=7)


@pytest.fixture(params=FUSERS)
def kind(request):
    return request.param


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_shapes_and_gradients_on_any_grid(kind, grid):
    module = fuser(kind)
    fused = module(appearance(kind, grid), drawn(2, CONTEXT, *grid))
    assert fused.shape == (2, module.out_channels, *(() if kind == "orth" else grid))
    fused.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_channels_without_attention_need_not_divide():
    for kind, expected in (("cat", 38), ("had", 4 * CONTEXT), ("orth", 18)):
        module = fuser(kind, 19)
        fused = module(appearance(kind, (2, 2), 19), drawn(2, CONTEXT, 2, 2))
        assert module.out_channels == fused.shape[1] == expected


@torch.no_grad()
def test_which_fusers_read_the_place_of_a_context_vector(kind):
    module, context = fuser(kind), drawn(2, CONTEXT, 3, 4)
    turned = context.flatten(2).flip(-1).unflatten(2, (3, 4))
    same = torch.allclose(
        module(appearance(kind, (3, 4)), turned), module(appearance(kind, (3, 4)), context), rtol=1e-9, atol=1e-9
    )
    assert same == (kind in ("cro", "dec", "orth"))


@torch.no_grad()
def test_every_fuser_uses_the_context(kind):
    module, visual = fuser(kind), appearance(kind, (3, 4))
    one, other = (module(visual, drawn(2, CONTEXT, 3, 4, seed=seed)) for seed in (1, 2))
    assert not torch.allclose(one, other)


@torch.no_grad()
def test_cross_attention_starts_as_the_perceptron_alone():
    module = CrossAttention(CHANNELS, CONTEXT, heads=4).double()
    visual = appearance("cro", (3, 4))
    rows = visual.flatten(2).mT
    expected = (rows + module.mlp(rows)).mT.unflatten(2, (3, 4))
    assert_allclose(module(visual, drawn(2, CONTEXT, 3, 4)), expected, rtol=1e-9)


@torch.no_grad()
def test_the_outer_product_runs_through_the_context_first():
    module = fuser("had")
    assert isinstance(module, OuterProduct)
    visual, context = appearance("had", (3, 4)), drawn(2, CONTEXT, 3, 4)
    found = module(visual, context)
    left = module.visual_norm(module.reduce(visual[1, :, 2, 3]))
    right = module.context_norm(context[1, :, 2, 3])
    for row in range(CHANNELS // 4):
        for column in range(CONTEXT):
            assert_allclose(found[1, row * CONTEXT + column, 2, 3], left[row] * right[column], rtol=1e-9)


@torch.no_grad()
def test_the_orthogonal_half_is_orthogonal_to_the_other():
    module = fuser("orth")
    assert isinstance(module, Orthogonal)
    pooled, context = appearance("orth", (3, 4)), drawn(2, CONTEXT, 3, 4)
    vector, beyond = module(pooled, context).chunk(2, dim=1)
    assert_allclose((vector * beyond).sum(dim=1), 0.0, atol=1e-9)
    lifted = module.context(context).mean(dim=(2, 3))
    along = (lifted * vector).sum(dim=1, keepdim=True) / vector.square().sum(dim=1, keepdim=True)
    assert_allclose(beyond, lifted - along * vector, rtol=1e-9)
