"""What every registered pooling owes, whoever wrote it."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from retrieval_bench.pooling import POOLINGS, Pooling, list_poolings
from retrieval_bench.settings.errors import InputError

C = 16
SIZES = [(1, 1), (1, 7), (5, 3), (8, 8)]


@pytest.fixture(params=list_poolings())
def pooling(request: pytest.FixtureRequest) -> Pooling:
    torch.manual_seed(0)
    return POOLINGS.create(request.param, {}, in_channels=C).eval()


def feature_map(height: int, width: int, batch: int = 3) -> Tensor:
    """Like the output of a ReLU: about half of it zero."""
    return torch.randn(batch, C, height, width, generator=torch.Generator().manual_seed(height * 100 + width)).relu()


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_shape_at_any_size(pooling: Pooling, size: tuple[int, int]) -> None:
    out = pooling(feature_map(*size))
    assert out.shape == (3, pooling.out_channels)
    assert torch.isfinite(out).all()


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near_full(pooling: Pooling, dtype: torch.dtype, size: tuple[int, int]) -> None:
    values = feature_map(*size).to(dtype)
    out = deepcopy(pooling).to(dtype)(values)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), pooling(values.float()), rtol=3e-2, atol=1e-2)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1.0, 1e4, 1e15])
@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_finite(pooling: Pooling, size: tuple[int, int], scale: float) -> None:
    values = (feature_map(*size) * scale).requires_grad_()
    out = pooling(values)
    assert torch.isfinite(out).all()
    # Scaled like the output, so that the sum itself stays in range.
    (out / max(scale, 1.0)).sum().backward()
    assert torch.isfinite(values.grad).all()
    for name, parameter in pooling.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


@torch.no_grad()
def test_images_do_not_see_each_other(pooling: Pooling) -> None:
    values = feature_map(5, 3, batch=4)
    torch.testing.assert_close(pooling(values)[1:2], pooling(values[1:2]))


@torch.no_grad()
def test_state_dict_round_trip(pooling: Pooling, request: pytest.FixtureRequest) -> None:
    torch.manual_seed(1)
    for parameter in pooling.parameters():
        parameter.add_(0.1 * torch.rand_like(parameter))
    again = POOLINGS.create(request.node.callspec.params["pooling"], {}, in_channels=C).eval()
    again.load_state_dict(pooling.state_dict(), strict=True)
    assert torch.equal(again(feature_map(8, 8)), pooling(feature_map(8, 8)))


@torch.no_grad()
def test_export_equals_eager(pooling: Pooling) -> None:
    values = feature_map(5, 7)
    exported = torch.export.export(pooling, (values,)).module()
    torch.testing.assert_close(exported(values), pooling(values))


@torch.no_grad()
def test_memory_layout_does_not_matter(pooling: Pooling) -> None:
    values = feature_map(8, 8)
    torch.testing.assert_close(pooling(values.to(memory_format=torch.channels_last)), pooling(values))


def test_unknown_option_is_named(pooling: Pooling, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["pooling"]
    with pytest.raises(InputError, match=f"unknown option of pooling '{name}' 'no_such'"):
        POOLINGS.create(name, {"no_such": 1}, in_channels=C)


def test_in_channels_comes_first() -> None:
    for name in list_poolings():
        assert next(iter(POOLINGS.options(name))) == "in_channels", name
