"""Whether a part works on a GPU, found out without one: what is made without a device stays on the processor."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from retrieval_bench.contracts.expectations import Broken

MAKERS = frozenset(
    {
        torch.arange,
        torch.as_tensor,
        torch.empty,
        torch.eye,
        torch.full,
        torch.linspace,
        torch.logspace,
        torch.ones,
        torch.rand,
        torch.randint,
        torch.randn,
        torch.randperm,
        torch.tensor,
        torch.tril_indices,
        torch.triu_indices,
        torch.zeros,
    }
)
"""What makes tensors on the processor where no device is named."""

PLACES = frozenset({Tensor.to, Tensor.type_as, Tensor.cuda})
"""What brings a tensor to a device."""

CROSSES = frozenset({Tensor.__getitem__, Tensor.__setitem__, Tensor.copy_, Tensor.expand_as, Tensor.view_as})
"""What takes tensors of two devices: an index may lie on the processor, a copy goes between them."""


@contextmanager
def as_on_a_device() -> Iterator[None]:
    """Raise `Broken` where what runs inside lets a tensor that it made without a device meet one that it was given.

    On a GPU the two would lie on different devices. Numbers, tensors without dimensions, may meet there as well.
    """
    with _Marking():
        yield


class _Unplaced(Tensor):
    """A tensor that was made without saying where."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        placed = [one for one in given if not isinstance(one, cls)]
        if func in PLACES and _names_device(args[1:], kwargs.values()):
            return func(_plain(args[0]), *args[1:], **kwargs)
        if not placed:
            return super().__torch_function__(func, types, args, kwargs)
        if func not in CROSSES and any(one.ndim for one in given if isinstance(one, cls)):
            name = getattr(func, "__name__", str(func)).strip("_")
            raise Broken(
                f"in {name}, a tensor that was made without device= meets one that was given; on a GPU they lie on "
                "different devices; make it with device=x.device, or in the constructor with register_buffer"
            )
        return func(*tree_map(_plain, args), **tree_map(_plain, kwargs))


class _Marking(TorchFunctionMode):
    """Marks what is made without a device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        unsaid = func in MAKERS and kwargs.get("device") is None
        # What as_tensor is given keeps its device.
        copied = func is torch.as_tensor and isinstance(args[0] if args else kwargs.get("data"), Tensor)
        return made.as_subclass(_Unplaced) if unsaid and not copied else made


def _plain(value: Any) -> Any:
    return value.as_subclass(Tensor) if isinstance(value, _Unplaced) else value


def _names_device(*given: Iterable[Any]) -> bool:
    """Whether arguments name a device, or a tensor that lies on one; ``cuda()`` names none and means one."""
    values = [one for part in given for one in part]
    return not values or any(
        isinstance(one, str | int | torch.device) or (isinstance(one, Tensor) and not isinstance(one, _Unplaced))
        for one in values
        if not isinstance(one, bool)
    )
