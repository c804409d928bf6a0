"""What a pooling owes to those who train through it."""

from unittest import SkipTest

import torch
from torch import Tensor

from retrieval_bench.contracts.contract import Part
from retrieval_bench.contracts.expectations import require_finite, require_gradient
from retrieval_bench.contracts.slopes import require_exact_gradient
from retrieval_bench.contracts.tiny_pooling import SCALES, SIZES, build, inputs, sized
from retrieval_bench.pooling import POOLINGS


def finite_gradients(part: Part) -> None:
    """Zeros, tiny and huge values give finite gradients."""
    pooling = build(part)
    for size in SIZES:
        for scale in SCALES:
            values = tuple((value * scale).requires_grad_() for value in inputs(pooling, *size))
            pooling.zero_grad()
            # Scaled like the output, so that the sum itself stays in range.
            (pooling(*values) / max(scale, 1.0)).sum().backward()
            of = f"for {sized(values)} with values of about {scale:g}"
            reached = {number: value for number, value in enumerate(values) if value.grad is not None} or {0: values[0]}
            for number, value in reached.items():
                require_gradient(value, f"input {number} {of}")
            for name, parameter in pooling.named_parameters():
                if parameter.grad is not None:
                    require_finite(parameter.grad, f"the gradient of {name} {of}")


def exact_gradients(part: Part) -> None:
    """Its gradient is the slope that differences measure, unless it says `exact_gradient = False`."""
    if not getattr(POOLINGS.get(part.name), "exact_gradient", True):
        raise SkipTest("exact_gradient = False: its gradient is not meant to be its slope")
    pooling = build(part).double()
    generator = torch.Generator().manual_seed(4)
    # All above zero and no two alike: floors, rectifiers and maxima have kinks elsewhere.
    point = [
        value.double() + 0.5 + torch.rand(value.shape, generator=generator, dtype=torch.float64)
        for value in inputs(pooling, 3, 2, batch=2)
    ]
    weights = torch.randn(pooling(*point).shape, generator=generator, dtype=torch.float64)

    def weighted(*values: Tensor) -> Tensor:
        return (pooling(*values) * weights).sum()

    # Coarse enough for a pooling that computes in float32 whatever it is given.
    require_exact_gradient(weighted, point, step=1e-4, tolerance=2e-2)


def every_weight_learns(part: Part) -> None:
    """In training every trainable weight gets a finite gradient; distributed training stops at one that gets none."""
    pooling = build(part).train()
    trainable = {name: value for name, value in pooling.named_parameters() if value.requires_grad}
    out = pooling(*inputs(pooling, 5, 3, batch=4))
    if out.requires_grad:
        out.sum().backward()
    for name, parameter in trainable.items():
        require_gradient(parameter, f"{name} (use it, leave it out, or call requires_grad_(False))")
