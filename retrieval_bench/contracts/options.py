"""What the options of every part owe, whatever its kind."""

import inspect
from collections.abc import Collection
from functools import partial
from typing import Any

from retrieval_bench.contracts.contract import summary_of
from retrieval_bench.contracts.expectations import Broken, require, require_refusal
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.registry import Registry
from retrieval_bench.settings.signature import LOOSE, hints_of

ABSENT = inspect.Parameter.empty


class NoValue:
    """A value of a kind that no option takes."""


def require_docstring(part: Any, name: str) -> None:
    """Its first line stands in the list of parts."""
    require(bool(summary_of(part)), f"{name} has no docstring; its first line is what `retrieval-bench list` shows")


def require_options(registry: Registry, name: str, given: Collection[str]) -> None:
    """Options are typed, their defaults fit, and wrong ones are refused.

    Args:
        given: parameters that the surroundings fill, which are no options.
    """
    options = {key: found for key, found in registry.options(name).items() if key not in given}
    named = {key: found for key, found in options.items() if found.kind not in LOOSE}
    loose = [key for key, found in options.items() if found.kind in LOOSE]
    require(
        not loose,
        f"the constructor takes {', '.join(f'*{key}' for key in loose)}, so that a typo in an option goes unnoticed; "
        "name every option",
    )
    untyped = [key for key, found in named.items() if found.annotation is ABSENT]
    require(
        not untyped,
        f"option {', '.join(untyped)} has no type; annotate it in the constructor, such as `p: float = 3.0`, so that "
        "wrong values are refused",
    )
    part = registry.get(name)
    try:
        hints = hints_of(part)
    except (NameError, TypeError) as error:
        raise Broken(f"the types of the constructor cannot be read ({error}); import what they name") from error
    filled = dict.fromkeys(given)
    for key, found in named.items():
        if found.default not in (ABSENT, None):
            try:
                registry.check(name, {key: found.default}, **filled)
            except InputError as error:
                raise Broken(f"the default of option {key} does not fit its type: {error}") from error
        if hints.get(key) not in (Any, object):
            require_refusal(
                partial(registry.check, name, {key: NoValue()}, **filled),
                f"option {key} with a value of another type",
                says=[key],
            )
    require_refusal(
        lambda: registry.create(name, {"no_such": 1}, **filled), "an unknown option", says=["unknown option", "no_such"]
    )
    for key in named:
        typo = f"{key}_"
        if typo not in named:
            require_refusal(
                partial(registry.check, name, {typo: 1}, **filled),
                f"the typo {typo!r}",
                says=["did you mean"],
            )
