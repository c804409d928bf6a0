"""The user's own parts: Python files and installed entry points that register them."""

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from retrieval_bench.settings.errors import InputError

GROUP = "retrieval_bench.plugins"
"""Entry points of this group are modules that register parts when imported."""


def load_plugins(files: Sequence[Path]) -> list[str]:
    """Import the given files and every installed entry point.

    Returns:
        one line for each entry point that could not be imported; it does not take the rest down.

    Raises:
        InputError: a file that is missing or fails to import; it is named.
    """
    for file in files:
        _load(file)
    failures = []
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            failures.append(f"plug-in {entry.name} ({entry.value}) failed to import: {type(error).__name__}: {error}")
    return failures


def _load(file: Path) -> None:
    path = file.expanduser().resolve()
    if not path.is_file():
        raise InputError(f"no plug-in file at {file}; check --plugin")
    # Files of one stem in different folders are different modules.
    name = f"retrieval_bench_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    loaded = sys.modules.get(name)
    if loaded is not None and Path(str(loaded.__file__)) == path:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is no Python file; a plug-in ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except InputError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"plug-in {file} failed to import: {type(error).__name__}: {error}") from error
