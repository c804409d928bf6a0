"""``new``: a working part with its tests, to be changed into one's own."""

import argparse
import keyword
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import retrieval_bench
from retrieval_bench.commands.telling import tell_failures
from retrieval_bench.reporting.terminal import output
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.plugins import load_plugins
from retrieval_bench.settings.registry import origin
from retrieval_bench.settings.whole_file import write_text

PACKAGE = Path(retrieval_bench.__file__).parent
TEMPLATES = PACKAGE / "commands" / "templates"
LONGEST = 30

BENCH = {
    "pooling": ("gem", "pooling={name}"),
    "loss": ("gem", "loss={name}"),
    "batch_attention": ("gem", "loss.batch_attention={name}"),
    "method": ("{name}",),
    "reranker": ("gem", "rerank={name}"),
    "dataset": ("gem", "dataset={name}", "dataset.root=FOLDER"),
    "backbone": ("gem", "backbone={name}"),
}
"""What `bench` is given to try a part of each kind."""


@dataclass(frozen=True)
class Place:
    """Where a new part goes.

    Attributes:
        part, tests: its two files.
        inside: whether that is the package, which finds it without being told.
    """

    part: Path
    tests: Path
    inside: bool


def new_part(arguments: argparse.Namespace) -> None:
    """Write a part and its tests, and print how to try them."""
    kind, name = arguments.kind, arguments.name
    tell_failures(load_plugins(arguments.plugin))
    check_new_name(kind, name)
    place = place_of(kind, name, arguments.into or Path())
    if not place.inside and _is_module(name):
        raise InputError(
            f"Python has a module called {name!r}, which {name}.py would hide; choose another name, such as my_{name}"
        )
    contents = written(kind, name, place)
    taken = next((file for file in contents if file.exists()), None)
    if taken is not None:
        raise InputError(f"{taken} exists and is not overwritten; choose another name, or another folder with --into")
    for file, content in contents.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, content)
    console = output()
    for file in contents:
        console.print(f"wrote {_shown(file)}", highlight=False, markup=False, soft_wrap=True)
    console.print("\nIt works as it is: make it yours, then")
    for command in next_commands(kind, name, place):
        console.print(f"  {command}", highlight=False, soft_wrap=True, markup=False)
    if kind == "dataset":
        console.print("where FOLDER holds the images and ground_truth.json; its form stands at the top of the file.")


def check_new_name(kind: str, name: str) -> None:
    """Refuse a name that is none in Python, or that another part has.

    Raises:
        InputError: such a name; of a part that has it, the file is named.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or len(name) > LONGEST:
        raise InputError(
            f"{name!r} is no name for a part: use up to {LONGEST} lower-case letters, digits and underscores, such as "
            f"my_{kind}"
        )
    registry = KINDS[kind].registry()
    if name in registry.names():
        raise InputError(
            f"there is a {registry.kind} called {name!r} in {origin(registry.get(name))}; choose another name"
        )
    if kind == "backbone":
        from retrieval_bench.backbones import list_backbones

        if name in list_backbones(name):
            raise InputError(f"timm has a backbone called {name!r}, which yours would hide; choose another name")


def place_of(kind: str, name: str, folder: Path) -> Place:
    """The files of a new part: in any folder, or, where that is the room of its kind in the package, inside.

    Raises:
        InputError: another folder of the package, or a package without its tests beside it.
    """
    folder = folder.expanduser()
    inside = folder.resolve()
    if not inside.is_relative_to(PACKAGE):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is no folder; give another one with --into")
        return Place(folder / f"{name}.py", folder / f"test_{name}.py", inside=False)
    room = PACKAGE / KINDS[kind].room
    if inside != room:
        raise InputError(f"a {kind} inside the package belongs to {room}, not to {folder}; give that with --into")
    tests = PACKAGE.parent / "tests" / KINDS[kind].room
    if not tests.is_dir():
        raise InputError(f"{PACKAGE} is no checkout, there are no tests beside it; write the {kind} to another folder")
    if kind == "method":
        return Place(room / name / "module.py", tests / name / "test_module.py", inside=True)
    return Place(room / f"{name}.py", tests / f"test_{name}.py", inside=True)


def written(kind: str, name: str, place: Place) -> Mapping[Path, str]:
    """The contents of the files of a new part."""
    part = _filled((TEMPLATES / f"{kind}.py").read_text(encoding="utf-8"), name)
    tests = _filled((TEMPLATES / f"{kind}_tests.py").read_text(encoding="utf-8"), name)
    if not place.inside:
        return {place.part: part, place.tests: tests}
    contents = {place.part: part, place.tests: _without_plugin(tests)}
    if kind == "method":
        contents[place.part.with_name("__init__.py")] = f'"""{_class_name(name)}."""\n'
    return contents


def next_commands(kind: str, name: str, place: Place) -> list[str]:
    """What to type next, as it works from the current folder."""
    program, pytest = _program()
    file = _shown(place.part)
    words = [word.format(name=name) for word in BENCH[kind]]
    root = ["root=FOLDER"] if kind == "dataset" else []
    plugin = [] if place.inside else ["--plugin", shlex.quote(file)]
    bench = [program, "bench", *words, *plugin]
    # make would take a file whose name holds a space for two.
    if Path.cwd() == PACKAGE.parent and shlex.quote(file) == file:
        settings = [] if place.inside else [f"plugins=[{file}]"]
        variables = [f"METHOD={words[0]}"]
        for word in words[1:]:
            key, _, value = word.partition("=")
            settings += [] if "." not in key else [word]
            variables += [f"{key.upper()}={value}"] if "." not in key else []
        bench = ["make", "bench", *variables, *([f'SET="{" ".join(settings)}"'] if settings else [])]
    check = [program, "check", kind, name, *root, *plugin]
    return [" ".join(command) for command in ([pytest, shlex.quote(_shown(place.tests))], check, bench)]


def _filled(template: str, name: str) -> str:
    return template.replace("part_name", name).replace("PartName", _class_name(name))


def _class_name(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _without_plugin(tests: str) -> str:
    """Tests of a part that is found without being loaded."""
    lines = [line for line in tests.splitlines() if "load_plugins" not in line]
    if not any("Path" in line for line in lines if "import Path" not in line):
        lines = [line for line in lines if line != "from pathlib import Path"]
    text = re.sub(r"\n{3,}(?=[A-Z])", "\n\n", "\n".join(lines) + "\n")
    return re.sub(r'^(""".*?""")\n+', r"\1\n\n", text, flags=re.DOTALL)


def _is_module(name: str) -> bool:
    """Whether ``import name`` finds something that does not lie in the current folder."""
    if name in sys.stdlib_module_names:
        return True
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return True
    return spec is not None and spec.origin is not None and Path(spec.origin).parent != Path.cwd()


def _shown(file: Path) -> str:
    """A path as short as it may be typed here."""
    relative = os.path.relpath(file)
    return relative if not relative.startswith("..") else str(file.absolute())


def _program() -> tuple[str, str]:
    """This program and pytest, as they may be typed: by their bare names only where those are found on the path."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py" or not called.is_file():
        python = shlex.quote(sys.executable)
        return f"{python} -m retrieval_bench", f"{python} -m pytest"
    found = shutil.which(called.name)
    if found is not None and Path(found) == called:
        return called.name, "pytest" if shutil.which("pytest") else f"{shlex.quote(sys.executable)} -m pytest"
    return shlex.quote(_shown(called)), f"{shlex.quote(_shown(Path(sys.executable)))} -m pytest"
