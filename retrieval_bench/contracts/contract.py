"""What a contract consists of."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """A registered part and the options with which it is checked."""

    name: str
    options: Mapping[str, Any]


Check = Callable[[Part], str | None]
"""One check: returns nothing, or a remark; raises `Broken` where the part does not keep it, `SkipTest` where it cannot
be made. Its docstring says what is checked."""


@dataclass(frozen=True)
class Contract:
    """The checks of one kind of part.

    Attributes:
        find: the registered class or function of a name; an `InputError` for an unknown one.
        build: builds a part as the checks do.
        checks: those that take moments.
        slow: those that take seconds to minutes.
    """

    find: Callable[[str], Any]
    build: Callable[[Part], Any]
    checks: Sequence[Check]
    slow: Sequence[Check] = ()

    def named(self) -> dict[str, Check]:
        """All checks by name, quick ones first."""
        return {name_of(check): check for check in (*self.checks, *self.slow)}


def name_of(check: Check) -> str:
    """``finite_gradients`` is called ``finite-gradients``."""
    return check.__name__.replace("_", "-")


def summary_of(documented: Any) -> str:
    """The first line of a docstring; empty where there is none."""
    return (inspect.cleandoc(getattr(documented, "__doc__", None) or "").splitlines() or [""])[0].strip()
