"""DToP's branches against their formulas."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.dtop import AtrousPyramid, DToP, InvertedResidual, NormedConv2d
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.features import Features

C, T, D = 4, 5, 3


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def filled(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.1, 0.9)
    return module.eval()


def build(**options: object) -> DToP:
    small = {"channels": D, "dim": 6, "rates": (1, 2)}
    return filled(POOLINGS.create("dtop", {**small, **options}, in_channels=C, token_channels=T))


def convolved(conv: NormedConv2d, values: Tensor) -> Tensor:
    """Position by position, with zeros around the map, then batch normalisation."""
    weight, rate = conv.conv.weight, conv.conv.dilation[0]
    side = weight.shape[-1]
    height, width = values.shape[-2:]
    out = torch.zeros(len(values), len(weight), height, width)
    depthwise = conv.conv.groups > 1
    for row in range(height):
        for column in range(width):
            for i in range(side):
                for j in range(side):
                    y, x = row + (i - side // 2) * rate, column + (j - side // 2) * rate
                    if 0 <= y < height and 0 <= x < width:
                        seen, kernel = values[:, :, y, x], weight[:, :, i, j]
                        out[:, :, row, column] += seen * kernel[:, 0] if depthwise else seen @ kernel.T
    norm = conv.norm
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (out - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


@torch.no_grad()
def test_inverted_residual() -> None:
    block, values = filled(InvertedResidual(3, 5)), draw(2, 3, 3, 4)
    hidden = convolved(block.expand, values).clamp(0, 6)
    hidden = convolved(block.depthwise, hidden).clamp(0, 6)
    torch.testing.assert_close(block(values), values + convolved(block.contract, hidden))


@torch.no_grad()
def test_atrous_pyramid() -> None:
    pyramid, values = filled(AtrousPyramid(3, (1, 2, 7))), draw(2, 3, 4, 5)
    branches = [convolved(branch, values) for branch in (pyramid.here, *pyramid.around)]
    mean = values.mean(dim=(2, 3)) @ pyramid.whole.weight[..., 0, 0].T + pyramid.whole.bias
    branches.append(mean[..., None, None].expand(-1, -1, 4, 5))
    torch.testing.assert_close(pyramid(values), convolved(pyramid.fuse, torch.cat(branches, dim=1).clamp(min=0)))


@torch.no_grad()
@pytest.mark.parametrize("size", [(3, 4), (1, 1)])
def test_two_branches_in_one_vector(size: tuple[int, int]) -> None:
    head, values, tokens = build(), draw(2, C, *size), draw(2, 3, T, seed=1)
    patches = F.conv2d(values, head.reduction.weight, head.reduction.bias)
    patches = patches + head.locality(patches)
    local = patches.mean(dim=(2, 3)) @ head.local_branch.weight.T + head.local_branch.bias
    whole = tokens[:, 0] @ head.global_branch.weight.T + head.global_branch.bias
    both = torch.cat([whole, local], dim=1) @ head.projection.weight.T + head.projection.bias
    norm = head.norm
    expected = (both - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(head(values, tokens), expected)
    assert head.out_channels == 6


@torch.no_grad()
def test_register_tokens_do_not_count() -> None:
    head, values, tokens = build(), draw(2, C, 3, 3), draw(2, 5, T, seed=1)
    assert torch.equal(head(values, tokens), head(values, tokens[:, :1]))


def test_tokens_of_several_layers_side_by_side() -> None:
    """What a method does that collects k = 3 layers of width 4."""
    head = POOLINGS.create("dtop", {"channels": 4, "dim": 8}, in_channels=12, token_channels=12).eval()
    layers, tokens = [draw(2, 4, 3, 3, seed=k) for k in range(3)], [draw(2, 1, 4, seed=k) for k in range(3)]
    assert head(torch.cat(layers, dim=1), torch.cat(tokens, dim=2)).shape == (2, 8)


def test_it_asks_for_tokens_alone() -> None:
    tokens = draw(2, 1, T)
    (given,) = build().needed(Features((draw(2, C, 1, 1),), tokens))
    assert given is tokens


def test_defaults() -> None:
    head = POOLINGS.create("dtop", {}, in_channels=C, token_channels=T)
    assert head.out_channels == 1536
    assert head.reduction.out_channels == C


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dim": 0}, "pooling.dim must be at least 1, got 0"),
        ({"channels": 0}, "pooling.channels must be at least 1"),
        ({"rates": (6, 0)}, r"pooling\.rates, of dilation, must be at least 1, got \(6, 0\)"),
        ({"expansion": 0.1}, "pooling.expansion must leave a hidden channel of 3, got 0.1"),
        ({"dropout": 1.0}, "pooling.dropout"),
        ({"rate": 6}, "did you mean 'rates'"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(**options)
