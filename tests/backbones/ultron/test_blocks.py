"""The residual blocks and what lies between the stages."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.backbones.ultron.blocks import (
    AttentionBlock,
    ConvolutionBlock,
    PatchConv,
    downsample,
    norm_layer,
    stem,
)
from retrieval_bench.backbones.ultron.cdconv import ChannelDilatedConv
from retrieval_bench.backbones.ultron.scala import Scala


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def convolutional(drop_path: float = 0.0) -> ConvolutionBlock:
    torch.manual_seed(0)
    return ConvolutionBlock(ChannelDilatedConv(8), 8, 4.0, drop_path)


def attentive(norm: str = "layer", drop_path: float = 0.0) -> AttentionBlock:
    torch.manual_seed(0)
    return AttentionBlock(Scala(8, head_width=4, neighbourhood=3), 8, norm, 4.0, drop_path)


@torch.no_grad()
def test_convolution_block() -> None:
    block, values = convolutional().eval(), draw(2, 8, 5, 6)
    block.norm.running_mean.uniform_(-1, 1)
    block.norm.running_var.uniform_(0.5, 2)
    inner = block.norm(block.conv(values))
    first, second = block.mlp[0], block.mlp[2]
    hidden = F.gelu(F.conv2d(inner, first.weight[..., None, None], first.bias))
    assert hidden.shape[1] == 32
    expected = values + F.conv2d(hidden, second.weight[..., None, None], second.bias)
    torch.testing.assert_close(block(values), expected)


@torch.no_grad()
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_attention_block(norm: str) -> None:
    block, values = attentive(norm).eval(), draw(2, 8, 5, 6)
    middle = values + block.attention(block.norm1(values).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    expected = middle + block.mlp(block.norm2(middle).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(values), expected)


@torch.no_grad()
def test_layer_norm_is_over_the_channels_of_a_position() -> None:
    values = 3 * draw(2, 16, 4, 5) + 1
    normed = norm_layer("layer", 16)(values)
    torch.testing.assert_close(normed.mean(dim=1), torch.zeros(2, 4, 5), atol=1e-6, rtol=0)
    torch.testing.assert_close(normed.var(dim=1, correction=0), torch.ones(2, 4, 5), atol=1e-4, rtol=0)
    assert isinstance(norm_layer("batch", 16), nn.BatchNorm2d)


@torch.no_grad()
@pytest.mark.parametrize("build", [convolutional, attentive])
def test_images_skip_a_block_in_training_only(build: type) -> None:
    block, values = build(drop_path=0.5), draw(64, 8, 3, 3)
    skipped = (block.train()(values) == values).flatten(1).all(dim=1)
    share = skipped.float().mean()
    assert 0.1 < share < 0.75
    assert not (block.eval()(values) == values).flatten(1).all(dim=1).any()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["overlapping", "patches"])
@pytest.mark.parametrize("size", [(1, 1), (8, 500), (37, 64), (5, 6)], ids=str)
def test_sides_are_rounded_up(size: tuple[int, int], kind: str) -> None:
    quarter = stem(8, kind, "layer")(draw(2, 3, *size))
    assert quarter.shape == (2, 8, -(-size[0] // 4), -(-size[1] // 4))
    half = downsample(8, 12, kind, "layer")(quarter)
    assert half.shape == (2, 12, -(-quarter.shape[2] // 2), -(-quarter.shape[3] // 2))


@torch.no_grad()
def test_the_last_patches_are_filled_with_zeros() -> None:
    torch.manual_seed(0)
    conv, values = PatchConv(2, 3, 4), draw(1, 2, 5, 6)
    filled = torch.zeros(1, 2, 8, 8)
    filled[:, :, :5, :6] = values
    torch.testing.assert_close(conv(values), F.conv2d(filled, conv.weight, conv.bias, stride=4))
