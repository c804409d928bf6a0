"""Properties of the generalised mean."""

import itertools

import pytest
import torch

from retrieval_bench.pooling.gem import GeM, generalised_mean


def positive_map() -> torch.Tensor:
    return torch.rand(2, 4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1


def test_p_one_is_the_mean_and_large_p_nears_the_maximum() -> None:
    values = positive_map()
    torch.testing.assert_close(generalised_mean(values, 1.0), values.mean(dim=(2, 3)))
    torch.testing.assert_close(generalised_mean(values, 2000.0), values.amax(dim=(2, 3)), rtol=2e-3, atol=0)


def test_rises_with_p() -> None:
    values = positive_map()
    means = [generalised_mean(values, p) for p in (0.5, 1.0, 3.0, 10.0)]
    assert all((low <= high).all() for low, high in itertools.pairwise(means))


def test_gradients_equal_finite_differences() -> None:
    p = torch.tensor([2.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(generalised_mean, (positive_map().requires_grad_(), p))


def test_eps_is_the_least_value() -> None:
    torch.testing.assert_close(generalised_mean(-positive_map(), 3.0), torch.full((2, 4), 1e-6, dtype=torch.float64))


def test_half_precision_does_not_overflow() -> None:
    values = torch.full((1, 2, 4, 4), 6e4, dtype=torch.float16)
    torch.testing.assert_close(GeM(2, p=10.0)(values).float(), torch.full((1, 2), 6e4), rtol=1e-3, atol=0)


@pytest.mark.parametrize("learnable", [True, False])
def test_exponent_is_one_number_in_the_state_dict(learnable: bool) -> None:
    pooling = GeM(8, p=2.9, learnable=learnable)
    assert {key: tuple(value.shape) for key, value in pooling.state_dict().items()} == {"p": (1,)}
    assert pooling.p.requires_grad is learnable
