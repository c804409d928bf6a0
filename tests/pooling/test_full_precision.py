"""Layers that compute in float32 against torch's own."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.pooling.full_precision import (
    BatchNorm,
    BatchNorm2d,
    Conv2d,
    LayerNorm,
    Linear,
    outside_autocast,
    positions,
)

LAYERS: dict[str, tuple[nn.Module, nn.Module, tuple[int, ...]]] = {
    "linear": (Linear(6, 4), nn.Linear(6, 4), (3, 5, 6)),
    "linear without bias": (Linear(6, 4, bias=False), nn.Linear(6, 4, bias=False), (3, 5, 6)),
    "conv": (Conv2d(6, 4, 3, padding=2, dilation=2), nn.Conv2d(6, 4, 3, padding=2, dilation=2), (2, 6, 5, 7)),
    "layer norm": (LayerNorm(6), nn.LayerNorm(6), (3, 5, 6)),
    "batch norm": (BatchNorm(6), nn.BatchNorm1d(6), (15, 6)),
    "batch norm of maps": (BatchNorm2d(6), nn.BatchNorm2d(6), (2, 6, 5, 7)),
}


def pair(name: str) -> tuple[nn.Module, nn.Module, Tensor]:
    ours, torchs, shape = deepcopy(LAYERS[name])
    torch.manual_seed(0)
    for tensor in (*ours.parameters(), *ours.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs, torch.randn(shape) * 3 + 1


@pytest.mark.parametrize("name", LAYERS)
def test_equal_to_torch_in_float32(name: str) -> None:
    ours, torchs, values = pair(name)
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(values), torchs.train(mode)(values))
    for key, value in ours.state_dict().items():
        torch.testing.assert_close(value, torchs.state_dict()[key])


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    ours, _, values = pair(name)
    ours, values = ours.eval().to(dtype), values.to(dtype)
    found = ours(values)
    assert found.dtype == torch.float32
    assert torch.equal(found, deepcopy(ours).float()(values.float()))


@pytest.mark.parametrize("name", ["batch norm", "batch norm of maps"])
def test_batch_norm_in_half_precision_trains(name: str) -> None:
    ours, _, values = pair(name)
    ours = ours.to(torch.bfloat16).train()
    before = ours.running_mean.clone()
    found = ours(values.bfloat16())
    assert found.dtype == torch.float32
    assert abs(found.float().mean().item() - ours.bias.float().mean().item()) < 0.05
    assert not torch.equal(ours.running_mean, before)


def test_batch_norm_of_sequences_takes_all_positions_together() -> None:
    ours, torchs, values = pair("batch norm")
    found = ours.train()(values.view(3, 5, 6))
    torch.testing.assert_close(found.flatten(0, 1), torchs.train()(values))


def test_positions_go_row_by_row() -> None:
    values = torch.arange(12.0).view(1, 2, 2, 3)
    found = positions(values.half())
    assert found.dtype == torch.float32
    assert found[0].tolist() == [[n, n + 6] for n in range(6)]


def test_a_region_without_autocast() -> None:
    values = torch.randn(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (values @ values).dtype == torch.bfloat16
        with outside_autocast(values):
            assert (values @ values).dtype == torch.float32
        assert (values @ values).dtype == torch.bfloat16
    with outside_autocast(values):
        assert (values @ values).dtype == torch.float32
