"""The house keeps its rules: who may import whom, no circles, small files, names that say something, docstrings.

Imports are read from the source, so that a lazy one inside a function counts like one at the top.
"""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import retrieval_bench

PACKAGE = Path(retrieval_bench.__file__).parent
NAME = "retrieval_bench"

ROOMS: dict[str, set[str]] = {
    # Foundations: everything may use them.
    "settings": set(),
    "values": {"settings"},
    "weights": {"settings"},
    # Parts and arrays: they know no other room.
    "data": {"settings", "values"},
    "backbones": {"settings", "values", "weights"},
    "pooling": {"settings", "values"},
    "losses": {"settings", "values"},
    "batch_attention": {"settings", "values"},
    "search": {"settings", "values"},
    "evaluation": {"settings", "values"},
    "reranking": {"settings", "values"},
    "reporting": {"settings"},
    # What is put together from them.
    "methods": {"settings", "values", "weights", "backbones", "pooling", "losses", "batch_attention"},
    "extraction": {"settings", "values", "data"},
    "frozen": {"settings", "values", "data", "backbones", "extraction", "methods"},
    "training": {"settings", "values", "weights", "data", "methods", "search", "evaluation"},
    "recording": {"settings", "values", "methods", "extraction", "evaluation"},
    "running": {
        "settings",
        "values",
        "data",
        "methods",
        "search",
        "evaluation",
        "reranking",
        "extraction",
        "frozen",
        "training",
        "recording",
        "weights",
    },
    "studies": {"settings", "recording", "reporting"},
    # What parts owe: builds and runs each of them.
    "contracts": {
        "settings",
        "values",
        "weights",
        "data",
        "backbones",
        "pooling",
        "losses",
        "batch_attention",
        "reranking",
        "methods",
    },
}
"""Room -> the rooms that it may import beside itself. `bench`, `commands`, `cli` and the API lie on top of all."""

TOPS: dict[str, set[str]] = {
    "bench": set(ROOMS),
    "commands": {*ROOMS, "bench"},
    "cli": {*ROOMS, "bench", "commands"},
    "__init__": {*ROOMS, "bench"},
    "__main__": {"cli"},
}
LONGEST = 300
MEANINGLESS = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "lib", "core"}
WITHOUT_TORCH = ("settings", "reporting")
STARTUP = 0.5


def modules() -> dict[str, Path]:
    """Dotted name below the package -> file; a package goes by its own name, the package itself is ``__init__``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        if parts[-1] == "__init__" and len(parts) > 1:
            parts.pop()
        found[".".join(parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imported(tree: ast.AST) -> set[str]:
    """Dotted names that a tree imports, wherever in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_imports(tree: ast.AST) -> set[str]:
    """The modules of the package that a tree imports; ``from a import b`` is module a.b where there is one, else a."""
    below = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            below |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            below |= {name if name.removeprefix(f"{NAME}.") in MODULES else str(node.module) for name in full}
    return {name.removeprefix(f"{NAME}.") for name in below if name.startswith(f"{NAME}.")}


def room(module: str) -> str:
    return module.partition(".")[0]


def at_the_top(tree: ast.Module) -> ast.Module:
    """A module without its functions and without what only a type checker reads."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return Strip().visit(ast.parse(ast.unparse(tree)))


def test_the_reader_sees_imports_everywhere():
    tree = ast.parse(
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    from e import f\ndef g():\n    from h import i\n"
    )
    assert imported(tree) == {"a.b", "c", "c.d", "e", "e.f", "h", "h.i"}
    assert imported(at_the_top(tree)) == {"a.b", "c", "c.d"}


def test_every_module_has_a_room():
    assert {room(name) for name in MODULES} == {*ROOMS, *TOPS}


@pytest.mark.parametrize("name", [*ROOMS, *TOPS])
def test_a_room_imports_only_what_lies_below_it(name):
    allowed = {**ROOMS, **TOPS}[name] | {name}
    wrong = {
        f"{module} imports {other}"
        for module, tree in TREES.items()
        if room(module) == name
        for other in own_imports(tree)
        if room(other) not in allowed
    }
    assert wrong == set()


def test_the_table_itself_has_no_circle():
    order = list(graphlib.TopologicalSorter(ROOMS).static_order())
    assert set(order) == set(ROOMS)


def test_no_module_imports_itself_in_a_circle():
    graph = {name: own_imports(at_the_top(tree)) - {name} for name, tree in TREES.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_modules_do_not_import_their_own_package():
    """``from a import x`` inside a.b works only by luck of the order in which a imports its modules."""
    wrong = {
        f"{name} imports {other}"
        for name, tree in TREES.items()
        for other in own_imports(at_the_top(tree))
        if name.startswith(f"{other}.")
    }
    assert wrong == set()


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_no_torch(name):
    wrong = {
        module
        for module, tree in TREES.items()
        if room(module) == name and any(other.partition(".")[0] in ("torch", "torchvision") for other in imported(tree))
    }
    assert wrong == set()


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_no_torch_behind_their_imports_either(name):
    inside = [f"{NAME}.{module}" for module in MODULES if room(module) == name]
    code = (
        f"import importlib, sys\nfor name in {inside!r}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    )
    assert fresh(code) == "False"


def test_the_package_and_its_command_line_load_no_torch():
    heavy = ("torch", "timm", "pytorch_lightning", "pandas", "cv2", "faiss", "matplotlib")
    code = f"import sys, retrieval_bench, retrieval_bench.cli\nprint([n for n in {heavy!r} if n in sys.modules])"
    assert fresh(code) == "[]"


@pytest.mark.parametrize("what", ["retrieval_bench", "retrieval_bench.cli"])
def test_importing_takes_less_than_half_a_second(what):
    """The best of a few: another process on the machine can only make it slower."""
    code = f"import time\nstart = time.perf_counter()\nimport {what}\nprint(time.perf_counter() - start)"
    assert min(float(fresh(code)) for _ in range(5)) < STARTUP


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_names_say_something():
    wrong = {name for name in MODULES if MEANINGLESS & set(name.split("."))}
    assert wrong == set()


def undocumented(tree: ast.Module) -> list[str]:
    """Public functions, classes and methods without a docstring.

    What overrides or implements something says nothing new: magic methods, hooks and abstract methods of a base from
    elsewhere are left out if a base class of this package, or Lightning or torch, documents them.
    """
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None:
                found.append(node.name)
            if isinstance(node, ast.ClassDef):
                found += [
                    f"{node.name}.{method.name}"
                    for method in node.body
                    if isinstance(method, ast.FunctionDef)
                    and not method.name.startswith("_")
                    and ast.get_docstring(method) is None
                    and not (node.bases and method.name in DOCUMENTED)
                ]
    return found


DOCUMENTED = {
    method.name
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
    for method in node.body
    if isinstance(method, ast.FunctionDef) and ast.get_docstring(method) is not None
}
"""Methods that some class of the package documents; an override may stand without a docstring of its own."""


def test_what_is_public_has_a_docstring():
    missing = {f"{module}: {name}" for module, tree in TREES.items() for name in undocumented(tree)}
    assert missing == set()


def test_every_module_has_a_docstring():
    assert {module for module, tree in TREES.items() if ast.get_docstring(tree) is None} == set()
