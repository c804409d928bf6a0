"""Whose presets a method takes: its own, or those of the nearest method that it extends."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.plugins import load_plugins


def lineage_of(method: str, plugins: Sequence[Path] = ()) -> Iterator[str]:
    """The name of a method, then those of the methods that it extends, nearest first.

    Methods are imported when a second name is asked for, so that one that has presets of its own costs nothing.

    Args:
        method: a name, known or not.
        plugins: files that may register it.
    """
    yield method
    # A plug-in that fails, and a name that nothing bears, are told by what needs them.
    with suppress(InputError):
        load_plugins(plugins)
    methods = KINDS["method"].registry()
    if method in methods.names():
        yield from methods.extended(method)
