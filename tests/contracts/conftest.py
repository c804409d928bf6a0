"""Broken parts, registered for one test, and what their contract says of them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from retrieval_bench import contracts
from retrieval_bench.settings.kinds import KINDS

Failing = dict[str, str]

COMPILING = ("compiled", "exported")
"""Checks that take longest; a broken part meets them where it breaks them."""


@pytest.fixture
def register() -> Iterator[Callable[[str, Any], str]]:
    """Enter a part under a name of its own, until the test ends."""
    entered = []

    def enter(kind: str, part: Any) -> str:
        registry = KINDS[kind].registry()
        name = f"{part.__name__.lower()}_for_test"
        registry.names()
        registry.register(name)(part)
        entered.append((registry, name))
        return name

    yield enter
    for registry, name in entered:
        del registry._parts[name]


@pytest.fixture
def failing(register: Callable[[str, Any], str]) -> Callable[..., Failing]:
    """The failed checks of a part, with their reasons, which are lines that a user can read."""

    def fail(kind: str, part: Any, options: dict[str, Any] | None = None, also: tuple[str, ...] = ()) -> Failing:
        quick = [which for which in contracts.check_names(kind) if which not in COMPILING or which in also]
        outcomes = contracts.run(kind, register(kind, part), options, which=quick)
        reasons = {outcome.check: outcome.reason for outcome in outcomes if not outcome.passed}
        assert all(reason and "\n" not in reason and len(reason) < 500 for reason in reasons.values()), reasons
        return reasons

    return fail
