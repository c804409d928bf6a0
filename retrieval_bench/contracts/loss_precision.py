"""What a loss owes in half precision, that of its descriptors and that of autocast."""

import torch

from retrieval_bench.contracts.contract import Part
from retrieval_bench.contracts.expectations import require, require_close, require_gradient
from retrieval_bench.contracts.tiny_loss import build
from retrieval_bench.contracts.toy_batch import batch

HALVES = (torch.float16, torch.bfloat16)


def autocast(part: Part) -> None:
    """Under autocast to bfloat16 or float16 it computes in float32, with finite gradients."""
    descriptors, labels = batch()
    expected = build(part)(descriptors, labels)
    for dtype in HALVES:
        loss, leaf = build(part), descriptors.clone().requires_grad_()
        with torch.autocast("cpu", dtype=dtype):
            value = loss(leaf, labels)
        require(value.dtype == torch.float32, f"under autocast to {dtype} the loss is {value.dtype}, not float32")
        require_close(value, expected, f"losses under autocast to {dtype} and without")
        value.backward()
        require_gradient(leaf, f"the descriptors under autocast to {dtype}")


def half_precision(part: Part) -> None:
    """Descriptors in float16 and bfloat16, also long ones, give nearly the loss of float32, with finite gradients."""
    descriptors, labels = batch()
    expected = build(part)(descriptors, labels)
    for dtype in HALVES:
        for factor in (1, 1000):
            loss, leaf = build(part), (factor * descriptors).to(dtype).requires_grad_()
            value = loss(leaf, labels)
            of = f"{dtype} descriptors" + (" of length 1000" if factor > 1 else "")
            require(value.dtype == torch.float32, f"the loss of {of} is {value.dtype}, not float32")
            require_close(value, expected, f"losses of {of} and of float32", rtol=2e-2, atol=2e-2)
            value.backward()
            require_gradient(leaf, of)
