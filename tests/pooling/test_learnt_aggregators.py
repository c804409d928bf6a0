"""What the heads that aggregate by attention, transport, mixing or tokens owe, all of them."""

from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.backbones import create_backbone
from retrieval_bench.pooling import POOLINGS, Pooling

C, T = 16, 12
SIZES = [(1, 1), (1, 7), (5, 3), (8, 8)]


class Head(NamedTuple):
    """How a head is built for these tests, and how it behaves."""

    name: str
    options: Mapping[str, Any] = MappingProxyType({})
    order_matters: bool = False
    drops: bool = False


HEADS = {
    "token": Head("token", drops=True),
    "dtop": Head("dtop", {"dim": 24, "rates": (1, 3)}, order_matters=True, drops=True),
    "cls": Head("cls"),
    "simpool": Head("simpool"),
    "simpool without gamma": Head("simpool", {"gamma": None}),
    "mixvpr": Head("mixvpr", {"height": 4, "width": 5, "channels": 8}, order_matters=True),
    "salad": Head("salad", {"clusters": 6, "channels": 8, "token_dim": 4}, drops=True),
    "salad without token": Head("salad", {"clusters": 6, "channels": 8, "token_dim": 0}, drops=True),
    "boq": Head("boq", {"channels": 32, "queries": 5, "rows": 3, "dropout": 0.1}, order_matters=True, drops=True),
}


def build(head: Head) -> Pooling:
    """In evaluation, as it starts."""
    torch.manual_seed(0)
    pooling: Pooling = POOLINGS.create(head.name, head.options, in_channels=C, token_channels=T)
    return pooling.eval()


def fill(pooling: Pooling) -> None:
    """Leave no weight at zero, so that every branch counts."""
    for parameter in pooling.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)


def inputs(pooling: Pooling, height: int, width: int, batch: int = 3) -> tuple[Tensor, ...]:
    """A map like the output of a rectifier, and a class token with two registers where the head asks for tokens."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    feature_map = torch.randn(batch, C, height, width, generator=generator).relu()
    tokens = torch.randn(batch, 3, T, generator=generator)
    return (feature_map, tokens) if "tokens" in pooling.needs else (feature_map,)


@pytest.fixture(params=HEADS.values(), ids=HEADS)
def head(request: pytest.FixtureRequest) -> Head:
    return request.param


@pytest.fixture
def pooling(head: Head) -> Pooling:
    made = build(head)
    fill(made)
    return made


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_shape_at_any_size(pooling: Pooling, size: tuple[int, int]) -> None:
    out = pooling(*inputs(pooling, *size))
    assert out.shape == (3, pooling.out_channels)
    assert out.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near_full(pooling: Pooling, dtype: torch.dtype, size: tuple[int, int]) -> None:
    values = tuple(value.to(dtype) for value in inputs(pooling, *size))
    half = deepcopy(pooling).to(dtype)
    out = half(*values)
    assert out.dtype == dtype
    # With the same, rounded weights, nothing is left but the cast at the end.
    torch.testing.assert_close(out, half.float()(*(value.float() for value in values)).to(dtype))
    torch.testing.assert_close(out.float(), pooling(*(value.float() for value in values)), rtol=3e-2, atol=3e-2)


@torch.no_grad()
def test_autocast_is_near_full(pooling: Pooling) -> None:
    values = inputs(pooling, 5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = pooling(*values)
    torch.testing.assert_close(out.float(), pooling(*values), rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1.0, 1e4, 1e15])
@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_finite(head: Head, size: tuple[int, int], scale: float) -> None:
    pooling = build(head)
    # Attention that is not normalised before, the authors' for token, has gradients with the cube of such values.
    if scale <= 1e4:
        fill(pooling)
    values = tuple((value * scale).requires_grad_() for value in inputs(pooling, *size))
    out = pooling(*values)
    assert out.isfinite().all()
    (out / max(scale, 1.0)).sum().backward()
    for value in values:
        assert value.grad is None or value.grad.isfinite().all()
    for name, parameter in pooling.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@torch.no_grad()
def test_images_do_not_see_each_other(pooling: Pooling) -> None:
    values = inputs(pooling, 5, 3, batch=4)
    torch.testing.assert_close(pooling(*values)[1:2], pooling(*(value[1:2] for value in values)))


@torch.no_grad()
def test_order_of_positions(head: Head, pooling: Pooling) -> None:
    feature_map, *tokens = inputs(pooling, 5, 4)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    shuffled = feature_map.flatten(2)[..., order].unflatten(2, (5, 4))
    same = torch.allclose(pooling(shuffled, *tokens), pooling(feature_map, *tokens), rtol=1e-4, atol=1e-5)
    assert same is not head.order_matters
    assert pooling.order_matters is head.order_matters


@torch.no_grad()
def test_dropout_is_for_training(head: Head, pooling: Pooling) -> None:
    values = inputs(pooling, 5, 3)
    assert torch.equal(pooling(*values), pooling(*values))
    pooling.train()
    assert torch.equal(pooling(*values), pooling(*values)) is not head.drops


def test_everything_trains(pooling: Pooling) -> None:
    """Two images are enough, also of one position, and every weight gets a gradient."""
    pooling.train()
    out = pooling(*(value.requires_grad_() for value in inputs(pooling, 1, 1, batch=2)))
    out.square().sum().backward()
    for name, parameter in pooling.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@torch.no_grad()
def test_state_dict_round_trip(head: Head, pooling: Pooling) -> None:
    again = build(head)
    again.load_state_dict(pooling.state_dict(), strict=True)
    values = inputs(pooling, 8, 8)
    assert torch.equal(again(*values), pooling(*values))


@torch.no_grad()
def test_export_equals_eager(pooling: Pooling) -> None:
    values = inputs(pooling, 5, 7)
    exported = torch.export.export(pooling, values).module()
    torch.testing.assert_close(exported(*values), pooling(*values))


@torch.no_grad()
def test_compiled_graph_equals_eager(pooling: Pooling) -> None:
    """One graph without a break; eager as the backend, which spares the compiler."""
    values = inputs(pooling, 5, 7)
    compiled = torch.compile(pooling, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*values), pooling(*values))


@torch.no_grad()
def test_memory_layout_does_not_matter(pooling: Pooling) -> None:
    feature_map, *tokens = inputs(pooling, 8, 8)
    found = pooling(feature_map.to(memory_format=torch.channels_last), *tokens)
    torch.testing.assert_close(found, pooling(feature_map, *tokens))


BACKBONES = ["resnet18", "convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]


@torch.no_grad()
@pytest.mark.parametrize("backbone", BACKBONES)
def test_on_a_backbone(backbone: str) -> None:
    """All heads at their defaults on one map, with tokens where there are some."""
    torch.manual_seed(0)
    tokens = backbone.startswith("vit")
    made = create_backbone(backbone, tokens=tokens).eval()
    features = made.features(torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    for name in ("token", "dtop", "cls", "simpool", "mixvpr", "salad", "boq"):
        kind = POOLINGS.get(name)
        options = {"token_dim": 0} if name == "salad" and not tokens else {}
        if "tokens" in kind.needs_with(options) and not tokens:
            continue
        pooling = POOLINGS.create(
            name, options, in_channels=made.channels[-1], token_channels=made.token_channels
        ).eval()
        out = pooling(features.maps[-1], *pooling.needed(features))
        assert out.shape == (1, pooling.out_channels), name
        assert out.isfinite().all(), name
