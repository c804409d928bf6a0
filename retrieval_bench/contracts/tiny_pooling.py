"""A pooling as its contract builds it, and what it is fed."""

import torch
from torch import Tensor

from retrieval_bench.contracts.contract import Part
from retrieval_bench.pooling import POOLINGS, Pooling

C, EARLIER = 16, 12
SIZES = ((1, 1), (1, 7), (5, 3), (8, 8))
SCALES = (0.0, 1e-12, 1.0, 1e4, 1e15)

Inputs = tuple[Tensor, ...]


def build(part: Part, seed: int = 0) -> Pooling:
    """A pooling for maps of 16 channels, in eval mode."""
    needs = needs_of(part)
    torch.manual_seed(seed)
    pooling: Pooling = POOLINGS.create(
        part.name,
        part.options,
        in_channels=C,
        earlier_channels=EARLIER if "earlier stage" in needs else None,
        token_channels=C if "tokens" in needs else None,
    )
    return pooling.eval()


def needs_of(part: Part) -> tuple[str, ...]:
    """What it needs with these options."""
    found = POOLINGS.get(part.name)
    return tuple(found.needs_with(part.options)) if hasattr(found, "needs_with") else ()


def inputs(pooling: Pooling, height: int, width: int, batch: int = 3) -> Inputs:
    """A map like the output of a ReLU, about half of it zero, and what else the pooling needs."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    given = [torch.randn(batch, C, height, width, generator=generator).relu()]
    for need in pooling.needs:
        if need == "tokens":
            given.append(torch.randn(batch, 1 if height == width == 1 else 3, C, generator=generator))
        else:
            given.append(torch.randn(batch, EARLIER, 2 * height, 2 * width - 1, generator=generator).relu())
    return tuple(given)


def sized(values: Inputs) -> str:
    """The map's size, for messages."""
    return f"a map of {values[0].shape[2]} x {values[0].shape[3]}"
