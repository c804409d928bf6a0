"""The user's own parts: Python files and installed entry points that register them."""

import hashlib
import importlib.util
import linecache
import sys
import traceback
from collections.abc import Collection, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.faults import PLUGIN, line_in, shown
from retrieval_bench.settings.registry import forget

GROUP = "retrieval_bench.plugins"
"""Entry points of this group are modules that register parts when imported."""

_LOADED: dict[str, str] = {}
"""Module of a plug-in file -> sha256 of the content that was run."""


def load_plugins(files: Sequence[Path]) -> list[str]:
    """Import the given files and every installed entry point.

    A file that has changed since it was loaded is loaded again; its parts take the place of their older selves.

    Returns:
        one line for each entry point that could not be imported; it does not take the rest down.

    Raises:
        InputError: a file that is missing or fails to import, or that registers a name that is taken; it is named.
    """
    for file in files:
        _load(file)
    failures = []
    for entry in entry_points(group=GROUP):
        known = entry.module in sys.modules
        try:
            entry.load()
        except (Exception, SystemExit) as error:
            if not known:
                forget(entry.module)
            failures.append(
                f"plug-in {entry.name} ({entry.value}) failed to import: {_reason(error, _files(error, entry))}"
            )
    return failures


def module_name(file: Path) -> str:
    """The name under which a plug-in file is imported; files of one stem in different folders are different modules."""
    path = file.expanduser().resolve()
    return f"{PLUGIN}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def loaded_digest(module: str) -> str | None:
    """sha256 of the file of a plug-in as it was when it was loaded; None where `module` is not of `load_plugins`."""
    return _LOADED.get(module)


def _load(file: Path) -> None:
    path = file.expanduser().resolve()
    if path.is_dir():
        inside = min(path.glob("*.py"), default=path / "my_gem.py")
        raise InputError(f"{shown(path)} is a folder; --plugin and plugins take a Python file, such as {shown(inside)}")
    if not path.is_file():
        raise InputError(f"no plug-in file at {shown(path)}; check --plugin and plugins")
    name = module_name(file)
    source = path.read_bytes()
    content = hashlib.sha256(source).hexdigest()
    if name in sys.modules and _LOADED.get(name) == content:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{shown(path)} is no Python file; a plug-in ends in .py")
    forget(name)
    linecache.checkcache(str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Compiled here and not by the loader, whose cache takes an edit of one size within one second for none.
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        forget(name)
        if isinstance(error, InputError):
            raise
        raise InputError(f"plug-in {shown(path)} failed to import: {_reason(error, {str(path)})}") from error
    _LOADED[name] = content


def _files(error: BaseException, entry: EntryPoint) -> set[str]:
    """The files of an entry point's package that an exception passed through."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    package = entry.module.partition(".")[0]
    return {one.f_code.co_filename for one in frames if str(one.f_globals.get("__name__")).split(".")[0] == package}


def _reason(error: BaseException, files: Collection[str]) -> str:
    """The error in one line, with the last line of `files` that it passed through. A SyntaxError tells its own."""
    line = line_in(error, files)
    return f"{type(error).__name__}: {' '.join(str(error).split())}{f' ({line})' if line else ''}"
