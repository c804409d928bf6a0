"""MixVPR against its formula, channel by channel, and on maps that are not of its grid."""

import pytest
import torch
from torch import Tensor

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.mixvpr import FeatureMixer, MixVPR, on_grid
from retrieval_bench.settings.errors import InputError

C = 6


def feature_map(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def build(**options: object) -> MixVPR:
    torch.manual_seed(0)
    small = {"height": 3, "width": 4, "channels": 5, "rows": 2, "depth": 2}
    head: MixVPR = POOLINGS.create("mixvpr", {**small, **options}, in_channels=C).eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return head


@torch.no_grad()
@pytest.mark.parametrize("expansion", [1.0, 2.5])
def test_it_equals_the_formula(expansion: float) -> None:
    head, values = build(expansion=expansion), feature_map(2, C, 3, 4)
    found = head(values)
    assert found.shape == (2, head.out_channels) == (2, 10)
    for image in range(2):
        mixed = []
        for channel in values[image]:
            x = channel.flatten()
            for mixer in head.mixers:
                normed = (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt() * mixer.norm.weight + mixer.norm.bias
                hidden = (mixer.expand.weight @ normed + mixer.expand.bias).clamp(min=0)
                x = x + mixer.contract.weight @ hidden + mixer.contract.bias
            mixed.append(x)
        table = torch.stack(mixed)  # (C, N)
        channels = head.channel_projection.weight @ table + head.channel_projection.bias[:, None]
        rows = channels @ head.row_projection.weight.T + head.row_projection.bias
        torch.testing.assert_close(found[image], rows.flatten(), rtol=1e-4, atol=1e-5)


def test_a_map_of_the_grid_s_size_is_not_touched() -> None:
    values = feature_map(2, C, 3, 4)
    assert on_grid(values, 3, 4) is values


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (6, 8), (13, 5), (50, 70)])
def test_other_sizes_are_brought_to_the_grid(size: tuple[int, int]) -> None:
    flat = torch.full((1, 2, *size), 2.5)
    torch.testing.assert_close(on_grid(flat, 3, 4), torch.full((1, 2, 3, 4), 2.5))
    assert build()(feature_map(2, C, *size)).shape == (2, 10)


def test_coarser_grids_average() -> None:
    """No position of a large map is skipped: each counts, and the mean over the map nearly stays."""
    values = feature_map(1, 1, 30, 40).double().requires_grad_()
    small = on_grid(values, 3, 4)
    small.mean().backward()
    assert values.grad is not None
    assert (values.grad > 0).all()
    torch.testing.assert_close(small.mean(), values.mean(), rtol=0, atol=0.01)


def test_the_grid_is_upright() -> None:
    """Height and width do not change places."""
    values = torch.zeros(1, 1, 6, 8)
    values[..., :2, :] = 1
    rows = on_grid(values, 3, 4)[0, 0]
    assert (rows[0] > 0.7).all()
    assert (rows[2] == 0).all()


def test_mixers_start_as_published() -> None:
    torch.manual_seed(0)
    mixer = FeatureMixer(64, 64)
    for layer in (mixer.expand, mixer.contract):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"height": 0}, "pooling.height must be at least 1, got 0"),
        ({"rows": 0}, "pooling.rows must be at least 1"),
        ({"depth": -1}, "pooling.depth must be at least 1"),
        ({"expansion": 0.0}, "pooling.expansion must leave a hidden unit for 12 positions, got 0.0"),
        ({"expansion": float("inf")}, "pooling.expansion"),
        ({"hieght": 3}, "did you mean 'height'"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(**options)
