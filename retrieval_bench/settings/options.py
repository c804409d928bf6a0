"""The options of a part as its constructor and docstring tell them: for cards, not for checking."""

import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from retrieval_bench.settings.signature import LOOSE, hints_of, parameters_of

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields|Note|Example|Examples):$")


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: as it is set.
        kind: what values it takes, such as ``float``, ``mean | max`` or ``list of float or null``.
        default: as it is typed; ``required`` where there is none.
        text: what the docstring says of it; empty where it says nothing.
    """

    name: str
    kind: str
    default: str
    text: str


def options_of(part: Callable[..., Any], given: Iterable[str] = ()) -> list[Option]:
    """The options of a class or function, in the order of its parameters.

    Args:
        part: a class, whose constructor's parameters are meant, or a function.
        given: parameters that are no options.
    """
    parameters = parameters_of(part).values()
    hints = _hints(part)
    texts = argument_texts(part)
    return [
        Option(one.name, kind_text(hints.get(one.name, Any)), default_text(one.default), texts.get(one.name, ""))
        for one in parameters
        if one.name not in given and one.kind not in LOOSE
    ]


def argument_texts(part: Callable[..., Any]) -> dict[str, str]:
    """What the ``Args`` of a part's docstrings say, by argument; a class says more than those that it extends."""
    described = part.__mro__ if inspect.isclass(part) else (part,)
    texts: dict[str, str] = {}
    for one in reversed(described):
        for doc in (vars(one).get("__init__"), one):
            texts |= _arguments(inspect.cleandoc(getattr(doc, "__doc__", None) or ""))
    return texts


def paragraphs(docstring: str | None) -> list[str]:
    """The paragraphs of a docstring before its sections, each in one line and without its marks for code."""
    before: list[str] = []
    for line in inspect.cleandoc(docstring or "").splitlines():
        if SECTION.match(line):
            break
        before.append(line)
    blocks = re.split(r"\n\s*\n", "\n".join(before).strip())
    return [plain(block) for block in blocks if block]


def plain(text: str) -> str:
    """A text in one line, without marks for code."""
    return " ".join(text.split()).replace("``", "").replace("`", "")


def kind_text(hint: Any) -> str:
    """What values an annotation admits, in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return kind_text(inner[0])
    if origin is Literal:
        return " | ".join("null" if choice is None else str(choice) for choice in inner)
    if origin in (Union, types.UnionType):
        # Null comes last, whatever the order of the annotation.
        return " or ".join([*(kind_text(one) for one in inner if one is not types.NoneType), *_null(inner)])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "mapping"
    if origin is not None and inner:
        return f"list of {kind_text(inner[0])}"
    if hint is Any:
        return "any"
    return hint.__name__ if isinstance(hint, type) else str(hint)


def default_text(default: Any) -> str:
    """A default as it would be typed on the command line."""
    if default is inspect.Parameter.empty:
        return "required"
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    if isinstance(default, list | tuple):
        return f"[{', '.join(default_text(one) for one in default)}]"
    return f"{default:.6g}" if isinstance(default, float) else str(default)


def value_text(value: Any) -> str:
    """A value as it would be typed on the command line, numbers in full."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {value_text(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(value_text(one) for one in value)}]"
    return repr(value) if isinstance(value, float) else default_text(value)


def part_with(name: str, options: Mapping[str, str]) -> str:
    """A part with its options: ``gem (p=4.0, learnable=false)``; the name alone where there are none."""
    said = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"{name} ({said})" if said else name


def same_value(one: Any, other: Any) -> bool:
    """Whether two values are one as settings: 2 and 2.0 are, and so are a list and a tuple."""
    return bool(one == other) or value_text(one) == value_text(other)


def _null(inner: tuple[Any, ...]) -> list[str]:
    return ["null"] if types.NoneType in inner else []


def _hints(part: Callable[..., Any]) -> dict[str, Any]:
    try:
        return hints_of(part)
    except (NameError, TypeError):  # annotations that only a type checker can resolve
        return {}


def _arguments(docstring: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    names: list[str] = []
    within = False
    for line in docstring.splitlines():
        if SECTION.match(line):
            within, names = line == "Args:", []
        elif within and (start := re.match(r"^ {4}([\w*`][\w*, `]*):\s*(.*)$", line)):
            names = [name.strip(" *`") for name in start[1].split(",")]
            texts |= dict.fromkeys(names, start[2])
        elif within and line.startswith("     "):
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return {name: plain(text) for name, text in texts.items()}
