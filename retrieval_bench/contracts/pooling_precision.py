"""What a pooling owes in half precision, its own and that of autocast."""

from copy import deepcopy

import torch

from retrieval_bench.contracts.contract import Part
from retrieval_bench.contracts.expectations import require, require_close, require_finite
from retrieval_bench.contracts.tiny_pooling import SIZES, build, inputs, sized

HALVES = (torch.float16, torch.bfloat16)


@torch.no_grad()
def half_precision(part: Part) -> None:
    """Results in float16 and bfloat16 are near those in float32, and finite for values of thousands."""
    pooling = build(part)
    for dtype in HALVES:
        halved = deepcopy(pooling).to(dtype)
        for size in SIZES:
            values = tuple(value.to(dtype) for value in inputs(pooling, *size))
            out = halved(*values)
            require(out.dtype == dtype, f"a map in {dtype} gave a vector in {out.dtype}; return the dtype of the map")
            exact = pooling(*(value.float() for value in values))
            require_close(out.float(), exact, f"{sized(values)} in {dtype} and in float32", rtol=3e-2, atol=1e-2)
        large = tuple(1000 * value for value in values)
        within = pooling(*(value.float() for value in large)).abs() < torch.finfo(dtype).max / 2
        require_finite(
            halved(*large)[within],
            f"the result for {sized(values)} with values of thousands in {dtype}, which in float32 is in range "
            "(compute sums and powers in float32)",
        )


def autocast(part: Part) -> None:
    """Under autocast maps in float32 and in half precision keep their dtype, and give nearly the vectors of float32."""
    for dtype in HALVES:
        for scale, kind in ((1, torch.float32), (1, dtype), (1000, dtype)):
            pooling = build(part)
            values = tuple((scale * value).to(kind).requires_grad_() for value in inputs(pooling, 2, 2, batch=2))
            with torch.no_grad():
                expected = pooling(*(value.float() for value in values))
            with torch.autocast("cpu", dtype=dtype):
                out = pooling(*values)
            of = f"{sized(values)} in {kind} with values of about {scale} under autocast to {dtype}"
            require(out.dtype == kind, f"{of} gave a vector in {out.dtype}; return the dtype of the map")
            within = expected.abs() < torch.finfo(kind).max / 2
            require_finite(
                out[within], f"the result for {of}, which in float32 is in range (see pooling.full_precision)"
            )
            if scale == 1:
                bound = 0.05 * float(expected.abs().max())
                require_close(out.float(), expected, f"{of} and without", rtol=0.0, atol=bound)
                if out.requires_grad:
                    out.float().sum().backward()
                for number, value in enumerate(values):
                    if value.grad is not None:
                        require_finite(value.grad, f"the gradient of input {number} for {of}")
