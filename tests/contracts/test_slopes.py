"""Gradients that are not slopes are told, and those that are pass, in float64 and for parts that work in float32."""

import pytest
import torch

from retrieval_bench.contracts.expectations import Broken
from retrieval_bench.contracts.slopes import require_exact_gradient

POINT = [torch.rand(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5]


def test_a_slope():
    require_exact_gradient(lambda x: x.pow(3).sum(), POINT, step=1e-6, tolerance=1e-6)
    require_exact_gradient(lambda x: x.float().pow(3).sum(), POINT, step=1e-4, tolerance=2e-2)


def test_an_input_that_takes_no_part():
    require_exact_gradient(lambda x, _: x.pow(3).sum(), [*POINT, *POINT], step=1e-6, tolerance=1e-6)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: (x * x.detach()).sum(), "the gradient along a random direction is .*exact_gradient = False"),
        (lambda x: 0.97 * x.sum() + 0.03 * x.detach().sum(), "the measured slope"),
        (lambda x: x.detach().sum() + torch.ones(1, requires_grad=True).sum(), "no gradient reaches"),
        (lambda x: (x - x).sqrt().sum(), "the gradient of input 0 holds NaN"),
    ],
    ids=["a factor", "a small part", "everything", "no number"],
)
def test_what_is_none(call, said):
    with pytest.raises(Broken, match=said):
        require_exact_gradient(call, POINT, step=1e-4, tolerance=2e-2)
