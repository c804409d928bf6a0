"""CDConv: scores, the choice of a dilation, and the convolution against loops."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.backbones.ultron.cdconv import (
    ChannelDilatedConv,
    channel_scores,
    chosen_dilations,
    dilated_by_channel,
    score_width,
)
from retrieval_bench.settings.errors import InputError


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("channels", "width"), [(1, 1), (32, 3), (64, 3), (96, 3), (128, 5), (192, 5), (512, 5)])
def test_width_of_the_score_kernel(channels: int, width: int) -> None:
    assert score_width(channels) == width


def test_scores_equal_the_formula() -> None:
    values, kernel = draw(2, 7, 3, 5), draw(1, 1, 5, seed=1)
    scores = channel_scores(values, kernel)
    for image, channel in itertools.product(range(2), range(7)):
        total = 0.0
        for k in range(5):
            neighbour = channel + k - 2
            if 0 <= neighbour < 7:
                total += float(kernel[0, 0, k]) * float(values[image, neighbour].mean())
        assert scores[image, channel].item() == pytest.approx(1 / (1 + 2.718281828459045**-total), rel=1e-5)


def test_absolute_thresholds_are_open_above() -> None:
    scores = torch.tensor([[0.9, 0.75, 0.6, 0.5, 0.1]])
    assert chosen_dilations(scores, (0.75, 0.5), "absolute").tolist() == [[0, 1, 1, 2, 2]]


def test_quantiles_are_each_image_s_own() -> None:
    one = torch.rand(1, 64, generator=torch.Generator().manual_seed(0))
    scores = torch.cat([one, one * 0.01, one * 0.01 + 0.9])
    choice = chosen_dilations(scores, (0.75, 0.5), "quantiles")
    assert choice[0].bincount().tolist() == [16, 16, 32]
    assert one[0][choice[0] == 0].min() > one[0][choice[0] == 1].max()
    assert one[0][choice[0] == 1].min() > one[0][choice[0] == 2].max()
    assert torch.equal(choice[0], choice[1])
    assert torch.equal(choice[0], choice[2])


def test_equal_scores_take_the_last_dilation() -> None:
    assert chosen_dilations(torch.full((1, 8), 0.5), (0.75, 0.5), "quantiles").tolist() == [[2] * 8]


def test_it_equals_three_grouped_convolutions() -> None:
    values, weight = draw(2, 6, 9, 11), draw(6, 1, 3, 3, seed=1)
    choice = torch.tensor([[0, 1, 2, 2, 1, 0], [2, 2, 0, 1, 0, 1]])
    result = dilated_by_channel(values, weight, choice, (1, 3, 6))
    for image, (index, dilation) in itertools.product(range(2), enumerate((1, 3, 6))):
        channels = (choice[image] == index).nonzero()[:, 0]
        part = F.conv2d(values[image, channels][None], weight[channels], None, 1, dilation, dilation, len(channels))[0]
        torch.testing.assert_close(result[image, channels], part)


def test_it_equals_the_formula() -> None:
    values, weight, dilations = draw(1, 3, 4, 5), draw(3, 1, 3, 3, seed=1), (1, 2, 4)
    choice = torch.tensor([[1, 2, 0]])
    result = dilated_by_channel(values, weight, choice, dilations)
    for channel, i, j in itertools.product(range(3), range(4), range(5)):
        dilation, total = dilations[int(choice[0, channel])], 0.0
        for m, n in itertools.product((-1, 0, 1), (-1, 0, 1)):
            row, column = i + m * dilation, j + n * dilation
            if 0 <= row < 4 and 0 <= column < 5:
                total += float(weight[channel, 0, m + 1, n + 1]) * float(values[0, channel, row, column])
        assert result[0, channel, i, j].item() == pytest.approx(total, abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("thresholds", ["quantiles", "absolute"])
def test_a_layer_is_scores_choice_convolution_gate(thresholds: str) -> None:
    torch.manual_seed(0)
    gated = ChannelDilatedConv(16, thresholds=thresholds, levels=(0.6, 0.45))
    bare = ChannelDilatedConv(16, thresholds=thresholds, levels=(0.6, 0.45), gate="none")
    bare.load_state_dict(gated.state_dict())
    values = draw(3, 16, 8, 8) + draw(3, 16, 1, 1, seed=1)
    scores = channel_scores(values, gated.score.weight)
    choice = chosen_dilations(scores, (0.6, 0.45), thresholds)
    assert choice.unique().tolist() == [0, 1, 2]
    plain = dilated_by_channel(values, gated.conv.weight, choice, (1, 3, 6))
    torch.testing.assert_close(bare(values), plain)
    torch.testing.assert_close(gated(values), plain * scores[..., None, None])


def test_the_gate_trains_the_score() -> None:
    torch.manual_seed(0)
    layer = ChannelDilatedConv(16)
    layer(draw(2, 16, 8, 8)).square().sum().backward()
    assert layer.score.weight.grad.abs().min() > 0
    assert layer.conv.weight.grad.abs().amin(dim=(1, 2, 3)).min() > 0
    assert not ChannelDilatedConv(16, gate="none").score.weight.requires_grad


@torch.no_grad()
def test_images_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    layer, values = ChannelDilatedConv(32), draw(4, 32, 7, 9)
    torch.testing.assert_close(layer(values)[2:3], layer(values[2:3]))


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (13, 2)])
def test_any_size(size: tuple[int, int]) -> None:
    values = draw(2, 8, *size)
    assert ChannelDilatedConv(8)(values).shape == values.shape


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, values = ChannelDilatedConv(16), draw(2, 16, 8, 8).to(dtype)
    # The scores are the same to the last bit, so that the same dilations are chosen.
    layer.to(dtype)
    half = layer(values)
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), layer.float()(values.float()), rtol=3e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernel": 4}, "kernel of ultron's CDConv must be odd and positive, got 4"),
        ({"score_kernel": 0}, "score_kernel of ultron's CDConv must be odd and positive, got 0"),
        ({"dilations": (1, 0, 6)}, r"at least 1, got \(1, 0, 6\)"),
        ({"levels": (0.5, 0.75)}, r"levels .*got \(0.5, 0.75\)"),
        ({"levels": (1.5, 0.75)}, r"levels .*got \(1.5, 0.75\)"),
    ],
)
def test_wrong_options(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ChannelDilatedConv(16, **options)
