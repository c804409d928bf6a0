"""Where in a user's own part a fault is, and the command that looks into it."""

import inspect
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval_bench.settings.registry import every_part

PLUGIN = "retrieval_bench_plugin_"
"""What the names of modules that are plug-in files begin with."""


@dataclass(frozen=True)
class Registered:
    """A part as a message names it.

    Attributes:
        kind: as in messages, such as ``re-ranker``.
        name: as registered.
        code: the class or function.
        file: that it stands in; None where it was typed into a session.
    """

    kind: str
    name: str
    code: Callable[..., Any]
    file: Path | None

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}{f' ({self.file.name})' if self.file else ''}"

    @property
    def advice(self) -> str:
        """What to do about a fault of it."""
        word = self.kind.replace("-", "").replace(" ", "_")
        plugin = f" --plugin {shown(self.file)}" if self.file and self.code.__module__.startswith(PLUGIN) else ""
        return f"see retrieval-bench check {word} {self.name}{plugin}"


def registered(code: object) -> Registered | None:
    """The part that a class or function is, if it is one."""
    return next((part for part in _parts() if part.code is code), None)


def fault_of(code: Callable[..., Any], what: str) -> str:
    """``pooling 'my_gem' (my_gem.py) <what>; see retrieval-bench check pooling my_gem``, of a class or function."""
    found = registered(code)
    return f"{code.__qualname__} {what}" if found is None else f"{found} {what}; {found.advice}"


def line_in(error: BaseException, files: Collection[str]) -> str:
    """``my_gem.py, line 12``: the last line of `files` that an exception passed through; empty where there is none."""
    lines = [f"{Path(file).name}, line {line}" for file, line, _ in _passed(error) if file in files]
    return lines[-1] if lines else ""


def blamed(error: BaseException) -> str:
    """The line of the user's own part that an exception passed through last, and what to do about it.

    Returns:
        ``my_gem.py, line 12; see retrieval-bench check pooling my_gem``; empty where it passed through none.
    """
    parts = [part for part in _parts() if part.file and part.code.__module__.partition(".")[0] != "retrieval_bench"]
    line = line_in(error, {str(part.file) for part in parts})
    if not line:
        return ""
    passed = [(file, name) for file, _, name in _passed(error)]
    file = next(file for file, _ in reversed(passed) if file in {str(part.file) for part in parts})
    here = [part for part in parts if str(part.file) == file]
    owners = {name.partition(".")[0] for where, name in passed if where == file}
    guilty = here if len(here) == 1 else [part for part in here if part.code.__qualname__ in owners]
    return f"{line}; {guilty[-1].advice}" if guilty else line


def shown(file: Path) -> Path:
    """A path as short as it can be from the current folder."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def source_file(code: Callable[..., Any]) -> str | None:
    """The file that a class or function stands in; None where it was typed into a session."""
    try:
        return inspect.getsourcefile(inspect.unwrap(code))
    except TypeError:
        return None


def _parts() -> list[Registered]:
    found = [(kind, name, code, source_file(code)) for kind, name, code in every_part()]
    return [Registered(kind, name, code, Path(file) if file else None) for kind, name, code, file in found]


def _passed(error: BaseException) -> list[tuple[str, int, str]]:
    """(file, line, qualified name of the function) of every frame, the innermost last."""
    frames = traceback.walk_tb(error.__traceback__)
    return [(frame.f_code.co_filename, line, frame.f_code.co_qualname) for frame, line in frames]
