"""What checks expect, and how they say what came out instead."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from retrieval_bench.settings.errors import InputError


class Broken(AssertionError):  # noqa: N818  what is broken is the part
    """A check that a part does not keep; the message is one line."""


def require(kept: bool, said: str) -> None:
    """Raise `Broken` with `said` unless `kept`."""
    if not kept:
        raise Broken(said)


def require_finite(values: Tensor, what: str) -> None:
    """Raise `Broken` where `values` hold NaN or infinity."""
    if values.isfinite().all():
        return
    kinds = [name for name, found in (("NaN", values.isnan()), ("infinity", values.isinf())) if found.any()]
    count = int((~values.isfinite()).sum())
    raise Broken(f"{what} holds {' and '.join(kinds)} ({count} of {values.numel()} values); it must be finite")


def require_gradient(leaf: Tensor, of: str) -> Tensor:
    """The gradient of `leaf`; raises `Broken` where there is none, or it is not finite."""
    if leaf.grad is None:
        raise Broken(f"no gradient reaches {of}; is something detached?")
    require_finite(leaf.grad, f"the gradient of {of}")
    return leaf.grad


def require_shape(values: Any, shape: Iterable[int], what: str) -> None:
    """Raise `Broken` where something is no tensor of a shape."""
    require(isinstance(values, Tensor), f"{what} is a {type(values).__name__}, not a tensor")
    require(tuple(values.shape) == tuple(shape), f"{what} has shape {tuple(values.shape)}, not {tuple(shape)}")


def require_close(
    actual: Tensor, expected: Tensor, what: str, *, rtol: float | None = None, atol: float | None = None
) -> None:
    """Raise `Broken` where two tensors differ by more than ``atol + rtol |expected|``.

    Args:
        what: says what the two are: "compiled and plain".
        rtol, atol: torch's tolerances for the dtype where they are None; give both or none.
    """
    try:
        torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)
    except AssertionError as error:
        raise Broken(f"{what}: {_difference(actual, expected, rtol or 0.0, atol or 0.0)}") from error


def require_equal(actual: Tensor, expected: Tensor, what: str) -> None:
    """Raise `Broken` where two tensors differ in a single bit."""
    require(torch.equal(actual, expected), f"{what}: {_difference(actual, expected)}")


def require_refusal(call: Callable[[], Any], what: str, *, says: Iterable[str] = ()) -> None:
    """Raise `Broken` unless `call` raises an `InputError` of one line.

    Args:
        what: was given, for the message.
        says: words, each of which must be in the error's line.
    """
    try:
        call()
    except InputError as error:
        said = str(error)
        require("\n" not in said, f"{what}: the InputError has several lines; one line names the cause and the mend")
        absent = [word for word in says if word not in said]
        require(not absent, f"{what}: the InputError does not say {absent[0] if absent else ''!r}; it says: {said}")
    except Exception as error:
        line = (str(error).splitlines() or [""])[0]
        raise Broken(
            f"{what} raised {type(error).__name__} ({line}); raise InputError with one line that says what was given "
            "and what is expected"
        ) from error
    else:
        raise Broken(f"{what} was accepted; raise InputError with one line that says what is expected")


def _difference(actual: Tensor, expected: Tensor, rtol: float = 0.0, atol: float = 0.0) -> str:
    """How two tensors differ, at the value that is farthest out of its tolerance."""
    if actual.shape != expected.shape:
        return f"shapes {tuple(actual.shape)} and {tuple(expected.shape)} differ"
    if actual.dtype != expected.dtype:
        return f"dtypes {actual.dtype} and {expected.dtype} differ"
    if not actual.numel():
        return "they differ"
    one, other = actual.detach().double().flatten(), expected.detach().double().flatten()
    undefined = [int(values.isnan().sum()) for values in (one, other)]
    if any(undefined):
        return f"{undefined[0]} values of the first are NaN and {undefined[1]} of the second, of {one.numel()} each"
    odd = one.isfinite() != other.isfinite()
    excess = (one - other).abs() - atol - rtol * other.abs()
    place = int(odd.nonzero()[0]) if odd.any() else int(excess.nan_to_num(-float("inf")).argmax())
    found, wanted = float(one[place]), float(other[place])
    return f"they differ by {abs(found - wanted):.3g} ({found:.6g} is not {wanted:.6g})"
