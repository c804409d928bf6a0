"""Attention against explicit loops."""

import math

import pytest
import torch
from torch import Tensor

from retrieval_bench.pooling.multihead import Kernel, MultiHeadAttention, attend

KERNELS: tuple[Kernel, ...] = ("fused", "explicit")


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_hand(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    size = query.shape[-1] // heads
    out = torch.zeros_like(query)
    for image in range(len(query)):
        for row in range(query.shape[1]):
            for head in range(heads):
                own = slice(head * size, (head + 1) * size)
                q = query[image, row, own]
                scores = torch.stack([q @ k[own] / math.sqrt(size) for k in key[image]])
                out[image, row, own] = sum(w * v[own] for w, v in zip(scores.softmax(0), value[image], strict=True))
    return out


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("heads", [1, 2, 6])
@pytest.mark.parametrize(("asking", "answering"), [(3, 5), (1, 1), (4, 1)])
def test_every_head_is_a_softmax_over_keys(heads: int, asking: int, answering: int, kernel: Kernel) -> None:
    query, key, value = draw(2, asking, 6), draw(2, answering, 6, seed=1), draw(2, answering, 6, seed=2)
    found = attend(query, key, value, heads, kernel=kernel)
    torch.testing.assert_close(found, by_hand(query, key, value, heads))


@torch.no_grad()
def test_the_four_maps() -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 2).double()
    asking, context = draw(2, 3, 8), draw(2, 4, 8, seed=1)
    expected = by_hand(attention.query(asking), attention.key(context), attention.value(context), 2)
    torch.testing.assert_close(attention(asking, context), attention.out(expected))


@pytest.mark.parametrize("kernel", KERNELS)
def test_dropout_is_for_training(kernel: Kernel) -> None:
    torch.manual_seed(0)
    attention, values = MultiHeadAttention(8, 2, 0.5, kernel), draw(2, 9, 8, dtype=torch.float32)
    assert not torch.equal(attention(values, values), attention(values, values))
    attention.eval()
    assert torch.equal(attention(values, values), attention(values, values))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_scores_in_half_precision(dtype: torch.dtype, kernel: Kernel) -> None:
    values = (300 * draw(1, 5, 64, dtype=torch.float32)).to(dtype)
    found = attend(values, values, values, heads=1, kernel=kernel)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, attend(values.double(), values.double(), values.double(), 1).float())


@pytest.mark.parametrize("kernel", KERNELS)
def test_autocast_does_not_touch_it(kernel: Kernel) -> None:
    values = draw(2, 5, 8, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = attend(values, values, values, heads=2, kernel=kernel)
    assert torch.equal(inside, attend(values, values, values, heads=2, kernel=kernel))


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_equal_finite_differences(kernel: Kernel) -> None:
    parts = tuple(draw(1, 3, 4, seed=seed).requires_grad_() for seed in range(3))
    assert torch.autograd.gradcheck(lambda *qkv: attend(*qkv, heads=2, kernel=kernel), parts)


def test_explicit_weights_have_gradients_at_any_score() -> None:
    values = (1e12 * draw(2, 9, 8, dtype=torch.float32)).requires_grad_()
    attend(values, values, values, heads=2, kernel="explicit").mul(1e-12).sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()
