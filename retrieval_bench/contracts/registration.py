"""What a module holds and torch does not know of: it stays behind on ``.to(device)``, in optimisers and checkpoints."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from retrieval_bench.contracts.expectations import require

OWN = frozenset(vars(nn.Module()))
"""Attributes in which torch keeps what is registered."""


def require_registered(module: nn.Module) -> None:
    """Raise `Broken` where a new module holds tensors, or lists of layers, that are not registered."""
    known = {id(one) for one in (*module.parameters(), *module.buffers(), *module.modules())}
    found = [
        f"{path}.{key}" if path else key
        for path, inner in module.named_modules()
        for key, value in vars(inner).items()
        if key not in OWN and any(id(one) not in known for one in _held(value))
    ]
    require(
        not found,
        f"{', '.join(found[:6])} is not registered, so that it is not moved to a device, trained or saved; use "
        "nn.Parameter, register_buffer (persistent=False where it is no state) or nn.ModuleList",
    )


def _held(value: Any) -> Iterator[Tensor | nn.Module]:
    """Tensors and layers in an attribute, also inside plain containers."""
    if isinstance(value, Tensor | nn.Module):
        yield value
    elif isinstance(value, list | tuple | set | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _held(one)
