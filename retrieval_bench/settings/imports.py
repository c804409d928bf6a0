"""The files that a module consists of: its own, and those of what it imports."""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

import retrieval_bench

NAME = "retrieval_bench"
_PACKAGE = Path(retrieval_bench.__file__).parent
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


def files_of(modules: Iterable[str], rooms: Collection[str]) -> dict[str, Path]:
    """Modules with all that they import, and what that imports, to the end.

    Args:
        modules: names of imported modules.
        rooms: folders of this package that are followed into; everything else of it is left out. Of other packages
            those are left out that are installed, unless a module of `modules` belongs to them.

    Returns:
        module -> file, sorted; modules without a file are left out.
    """
    waiting = list(modules)
    homes = {module.partition(".")[0] for module in waiting} - {NAME}
    found: dict[str, Path] = {}
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        file = _file(module, rooms, homes)
        if file is not None:
            found[module] = file
            waiting += imported(file)
    return dict(sorted(found.items()))


def imported(file: Path) -> list[str]:
    """The modules that a file may import, wherever in it; ``from a import b`` may be a and a.b."""
    return _read(file)[0]


def code_digest(file: Path) -> str:
    """sha256 of what a file says to Python: comments, docstrings and layout do not count."""
    return _read(file)[1]


def constants(file: Path) -> set[str]:
    """The words that stand in a file as texts."""
    return _read(file)[2]


def _file(module: str, rooms: Collection[str], homes: Collection[str]) -> Path | None:
    top, _, rest = module.partition(".")
    if top == NAME:
        if rest.partition(".")[0] not in rooms:
            return None
        place = _PACKAGE.joinpath(*rest.split("."))
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        return file if file.is_file() else None
    origin = getattr(sys.modules.get(module), "__file__", None)
    if origin is None or not origin.endswith(".py"):
        return None
    file = Path(origin).resolve()
    return file if file.is_file() and (top in homes or not _installed(file)) else None


def _installed(file: Path) -> bool:
    """Whether a package manager put it there; environments may borrow packages of another interpreter."""
    borrowed = not {"site-packages", "dist-packages"}.isdisjoint(file.parts)
    return borrowed or any(file.is_relative_to(folder) for folder in _INSTALLED)


def _read(file: Path) -> tuple[list[str], str, set[str]]:
    state = file.stat()
    return _parsed(file, state.st_mtime_ns, state.st_size)


@cache
def _parsed(file: Path, changed: int, size: int) -> tuple[list[str], str, set[str]]:
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _documented(node):
            node.body = node.body[1:]
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return sorted(set(_imports(tree))), hashlib.sha256(ast.dump(tree).encode()).hexdigest(), words


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
