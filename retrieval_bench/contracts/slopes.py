"""Whether gradients are the slopes that differences measure."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from retrieval_bench.contracts.expectations import require, require_finite

DIRECTIONS = 4


def require_exact_gradient(call: Callable[..., Tensor], point: Sequence[Tensor], step: float, tolerance: float) -> None:
    """Raise `Broken` where the gradient of `call` along random directions is not its measured slope.

    Args:
        call: takes tensors like those of `point` and gives a scalar; the same whenever it is called.
        point: where it is measured; float64.
        step: of the central difference.
        tolerance: as a share of the gradient's length.
    """
    leaves = [value.detach().clone().requires_grad_() for value in point]
    call(*leaves).backward()
    reached = [leaf.grad is not None for leaf in leaves]
    require(any(reached), "no gradient reaches what it is given; is something detached?")
    slopes = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    for number, slope in enumerate(slopes):
        require_finite(slope, f"the gradient of input {number}")
    allowed = tolerance * sum(float(slope.square().sum()) for slope in slopes) ** 0.5
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for _ in range(DIRECTIONS):
            ways = [torch.randn(value.shape, generator=generator, dtype=value.dtype) for value in point]
            ahead, behind = (
                call(*(value + sign * step * way for value, way in zip(point, ways, strict=True))) for sign in (1, -1)
            )
            measured = float(ahead - behind) / (2 * step)
            found = sum(float((slope * way).sum()) for slope, way in zip(slopes, ways, strict=True))
            require(
                abs(found - measured) <= allowed,
                f"the gradient along a random direction is {found:.6g}, the measured slope {measured:.6g} (say "
                "exact_gradient = False on the class where something is detached on purpose)",
            )
