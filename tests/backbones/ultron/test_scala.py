"""SCALA: the context kernel, and attention with it switched off against plain attention."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.backbones.ultron.neighbourhood import neighbourhood_attention
from retrieval_bench.backbones.ultron.scala import MultiScaleContext, Scala
from retrieval_bench.settings.errors import InputError


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(channels: int = 8, **options: object) -> Scala:
    torch.manual_seed(0)
    return Scala(channels, **{"head_width": 4, "neighbourhood": 3, **options}).eval()


def pass_through(context: MultiScaleContext) -> None:
    """Make the context kernel the identity: the map itself comes first in the concatenation."""
    channels = context.mix.out_channels
    nn.init.zeros_(context.mix.bias)
    nn.init.zeros_(context.mix.weight)
    with torch.no_grad():
        context.mix.weight[:, :channels, 0, 0] = torch.eye(channels)


@torch.no_grad()
@pytest.mark.parametrize("include", ["with-map", "without-map"])
def test_context_equals_the_formula(include: str) -> None:
    torch.manual_seed(0)
    context, values = MultiScaleContext(4, (1, 2, 3), include), draw(2, 4, 7, 6)
    parts = [values] if include == "with-map" else []
    for dilation, part in zip((1, 2, 3), context.dilated, strict=True):
        parts.append(F.conv2d(values, part.weight, part.bias, padding=dilation, dilation=dilation, groups=4))
    expected = torch.einsum("oc,bchw->bohw", context.mix.weight[:, :, 0, 0], torch.cat(parts, dim=1))
    torch.testing.assert_close(context(values), expected + context.mix.bias.view(1, -1, 1, 1))


@torch.no_grad()
@pytest.mark.parametrize("size", [(6, 5), (20, 3), (2, 1)], ids=str)
def test_with_identical_context_it_is_plain_neighbourhood_attention(size: tuple[int, int]) -> None:
    layer, values = build(), draw(2, *size, 8)
    pass_through(layer.key_context)
    mapped = F.linear(values, layer.qkv.weight, layer.qkv.bias)
    heads = [
        torch.stack([mapped[..., start + 4 * head : start + 4 * head + 4] for head in range(2)], dim=1)
        for start in (0, 8, 16)
    ]
    attended = neighbourhood_attention(*heads, layer.bias)
    expected = layer.projection(torch.cat([attended[:, 0], attended[:, 1]], dim=-1))
    torch.testing.assert_close(layer(values), expected)


@torch.no_grad()
def test_one_position_gives_its_value() -> None:
    layer, values = build(), draw(3, 1, 1, 8)
    value = F.linear(values, layer.qkv.weight, layer.qkv.bias)[..., 16:]
    torch.testing.assert_close(layer(values), layer.projection(value))


@torch.no_grad()
@pytest.mark.parametrize("context_on", ["keys", "values", "both", "none"])
def test_context_is_where_it_was_asked_for(context_on: str) -> None:
    layer, values = build(context_on=context_on), draw(2, 6, 6, 8)
    keys, others = context_on in ("keys", "both"), context_on in ("values", "both")
    assert (layer.key_context is not None, layer.value_context is not None) == (keys, others)
    query, key, value = F.linear(values, layer.qkv.weight, layer.qkv.bias).chunk(3, dim=-1)
    if keys:
        key = layer.key_context(key.movedim(-1, 1)).movedim(1, -1)
    if others:
        value = layer.value_context(value.movedim(-1, 1)).movedim(1, -1)
    heads = [part.unflatten(-1, (2, 4)).movedim(-2, 1) for part in (query, key, value)]
    attended = neighbourhood_attention(*heads, layer.bias).movedim(1, -2).flatten(-2)
    torch.testing.assert_close(layer(values), layer.projection(attended))


@torch.no_grad()
def test_the_scaling_of_the_bias_is_a_choice() -> None:
    product, whole, values = build(), build(scaled="sum"), draw(1, 6, 6, 8)
    assert not torch.allclose(product(values), whole(values), atol=1e-6)
    whole.bias.mul_(4**0.5)
    torch.testing.assert_close(product(values), whole(values))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head_width": 3}, "head_width=3 does not divide a width of 8"),
        ({"head_width": 0}, "head_width=0"),
        ({"neighbourhood": 4}, "neighbourhood must be odd and positive, got 4"),
        ({"context_dilations": ()}, "context_dilations"),
        ({"context_dilations": (1, 0)}, r"context_dilations .*\(1, 0\)"),
    ],
)
def test_wrong_options(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(**options)
