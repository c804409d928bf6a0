"""Making the checks of a part, and saying in one line what came of each."""

import importlib
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import SkipTest

import torch

from retrieval_bench.contracts.contract import Check, Contract, Part, name_of, summary_of
from retrieval_bench.contracts.expectations import Broken
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.faults import line_in, source_file

KINDS = ("pooling", "loss", "batch_attention", "method", "reranker", "dataset", "backbone")

BUILDS = "builds"
"""The check that every contract begins with."""


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Attributes:
        check: its name.
        passed: whether the part keeps it; a check that could not be made has not failed.
        reason: one line: what was done, what came out and what was expected; or why it was not made; or a remark.
        skipped: whether it could not be made.
    """

    check: str
    passed: bool
    reason: str = ""
    skipped: bool = False


def check_names(kind: str) -> list[str]:
    """The checks of a kind that take moments.

    Raises:
        InputError: there is no such kind.
    """
    return [name_of(one) for one in _contract(kind).checks]


def slow_check_names(kind: str) -> list[str]:
    """The checks of a kind that take seconds to minutes: real compilers and runtimes."""
    return [name_of(one) for one in _contract(kind).slow]


def describe(kind: str, which: str) -> str:
    """What a check looks at, in one line."""
    return summary_of(_find(kind, which))


def check(kind: str, name: str, which: str, options: Mapping[str, Any] | None = None) -> None:
    """Make one check of a part.

    Args:
        kind: pooling, loss, batch_attention, method, reranker, dataset or backbone.
        name: of the part, as registered.
        which: as in `check_names` or `slow_check_names`.
        options: of the part, where the defaults are not meant.

    Raises:
        AssertionError: the part does not keep it; one line.
        SkipTest: it cannot be made here, with the reason; test runners report a skipped test.
        InputError: an unknown kind, part or check.
    """
    contract = _contract(kind)
    contract.find(name)
    _made(_find(kind, which), contract, Part(name, dict(options or {})))


def run(
    kind: str, name: str, options: Mapping[str, Any] | None = None, *, which: Collection[str] | None = None
) -> list[Outcome]:
    """Make the checks of a part; arguments, result and errors are those of `outcomes`."""
    return list(outcomes(kind, name, options, which=which))


def outcomes(
    kind: str,
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    which: Collection[str] | None = None,
    begins: Callable[[str], None] = lambda _: None,
) -> Iterator[Outcome]:
    """Make the checks of a part, one after the other; what cannot be built has one outcome only.

    Args:
        kind, name, options: as in `check`.
        which: names of checks; None makes all, slow ones last.
        begins: is told the name of each check when it begins.

    Raises:
        InputError: an unknown kind, part or check, or options with which the part cannot be built.
    """
    contract = _contract(kind)
    contract.find(name)
    chosen = [_find(kind, one) for one in (contract.named() if which is None else which)]
    part = Part(name, dict(options or {}))
    try:
        with _quiet():
            contract.build(part)
    except (InputError, SkipTest) as error:
        if isinstance(error, InputError):
            raise
    except Exception as error:
        yield Outcome(BUILDS, False, f"building it {raised(error, contract.find(name))}")
        return
    for one in chosen:
        begins(name_of(one))
        try:
            remark = _made(one, contract, part)
        except SkipTest as skipped:
            yield Outcome(name_of(one), True, str(skipped), skipped=True)
        except AssertionError as broken:
            yield Outcome(name_of(one), False, str(broken))
        else:
            yield Outcome(name_of(one), True, remark or "")


def raised(error: BaseException, part: Any) -> str:
    """``raised ValueError: no such axis (my_gem.py, line 12)``: the place is the last one in the part's own file."""
    said = " ".join((str(error).strip().splitlines() or [""])[0].split())
    shown = f"{said[:300]} ..." if len(said) > 300 else said
    own = source_file(part)
    line = line_in(error, {own} if own else ())
    return f"raised {type(error).__name__}{f': {shown}' if shown else ''}{f' ({line})' if line else ''}"


def _made(one: Check, contract: Contract, part: Part) -> str | None:
    try:
        with _quiet():
            return one(part)
    except (Broken, SkipTest):
        raise
    except Exception as error:
        raise AssertionError(f"it {raised(error, contract.find(part.name))}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Seeded random numbers that leave those outside alone, gradients on, no chatter of compilers and trainers.

    What a part changes of the whole process is put back, so that no check spoils the next one.
    """
    before, threads, dtype = logging.root.manager.disable, torch.get_num_threads(), torch.get_default_dtype()
    logging.disable(max(before, logging.WARNING))
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            yield
    finally:
        logging.disable(before)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def _contract(kind: str) -> Contract:
    if kind not in KINDS:
        raise InputError(nearest(kind, KINDS, noun="kind of part"))
    contract: Contract = importlib.import_module(f"retrieval_bench.contracts.{kind}").CONTRACT
    return contract


def _find(kind: str, which: str) -> Check:
    checks = _contract(kind).named()
    if which not in checks:
        raise InputError(nearest(which, checks, noun=f"check of a {kind}"))
    return checks[which]
