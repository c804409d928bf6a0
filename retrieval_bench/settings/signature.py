"""What a part can be given: the parameters of its constructor, and through ``**kwargs`` those of what it extends."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

LOOSE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""Parameters such as ``*args`` and ``**kwargs``, which are no options."""

WITHOUT_OPTIONS = frozenset({"abc", "builtins", "pytorch_lightning", "retrieval_bench.methods.base", "torch", "typing"})
"""Packages and modules whose classes have no options that a part could pass on."""


def parameters_of(part: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters by name.

    A constructor that takes ``**kwargs`` passes them on, so that those of the next class follow its own. Loose ones
    are left where no class follows, since nothing tells what they take.

    Args:
        part: a class or a function.
    """
    makers = _makers(part)
    found: dict[str, inspect.Parameter] = {}
    for number, maker in enumerate(makers):
        last = number == len(makers) - 1
        for name, parameter in inspect.signature(maker).parameters.items():
            # The `self` of a class's own constructor is none.
            if maker is not part and name == next(iter(inspect.signature(maker).parameters)):
                continue
            if last or parameter.kind not in LOOSE:
                found.setdefault(name, parameter)
    return found


def hints_of(part: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters that are annotated, by name.

    Raises:
        NameError, TypeError: an annotation that only a type checker can resolve.
    """
    found: dict[str, Any] = {}
    for maker in _makers(part):
        shown = maker.__init__ if inspect.isclass(maker) else maker
        found = get_type_hints(shown, include_extras=True) | found
    return found


def _makers(part: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The constructors that what a user sets reaches: the part itself first."""
    if not inspect.isclass(part):
        return [part]
    constructors = [init for kind in part.__mro__ if (init := vars(kind).get("__init__")) and _ours(kind)]
    found: list[Callable[..., Any]] = []
    for constructor in constructors:
        found.append(constructor)
        kinds = {parameter.kind for parameter in inspect.signature(constructor).parameters.values()}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return [part, *found[1:]]


def _ours(kind: type) -> bool:
    """Whether the constructor of a class takes options; others take what a part says of itself, or nothing."""
    return kind.__module__.partition(".")[0] not in WITHOUT_OPTIONS and kind.__module__ not in WITHOUT_OPTIONS
