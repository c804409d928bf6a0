"""Parts by name: how a pooling, loss, backbone, re-ranker, dataset or method is found and built.

A registry knows the package in which its built-in parts live and imports that package's modules on the first look-up,
so that a new file is found with no edit anywhere else. The options of a part are the parameters of its constructor.
"""

import importlib
import inspect
import pkgutil
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from retrieval_bench.settings.errors import OF_YOUR_OWN, InputError, nearest
from retrieval_bench.settings.signature import LOOSE, hints_of, parameters_of

SECTIONS = {"re-ranker": "rerank", "method": "model", "batch attention": "loss.batch_attention"}
"""Kinds whose options stand in a section of the settings that is called otherwise."""

_EVERY: "weakref.WeakSet[Registry]" = weakref.WeakSet()


def forget(module: str) -> None:
    """Take back every part that `module` registered, whatever its kind."""
    for registry in _EVERY:
        registry.drop(module)


def every_part() -> list[tuple[str, str, Callable[..., Any]]]:
    """(kind, name, class or function) of every part that has been registered so far."""
    return [(registry.kind, name, part) for registry in _EVERY for name, part in registry._parts.items()]


class Registry:
    """Parts of one kind by name.

    Args:
        kind: what a part is called in messages, such as ``"pooling"``.
        package: the package whose modules register the built-in parts when imported.

    Attributes:
        section: of the settings, where the options of its parts stand.
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self.package = package
        self.section = SECTIONS.get(kind, kind)
        self._parts: dict[str, Callable[..., Any]] = {}
        self._loaded = False
        _EVERY.add(self)

    def register(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """A decorator that enters a class or function under `name`.

        Raises:
            InputError: another part already has this name; both files are named.
        """

        def enter(part: Callable[..., Any]) -> Callable[..., Any]:
            # Built-in parts come first, so that a name that is taken is the newcomer's fault, whoever is loaded first.
            if part.__module__.partition(".")[0] != self.package.partition(".")[0]:
                self._load()
            other = self._parts.get(name)
            if other is not None and origin(other) != origin(part):
                raise InputError(
                    f"two {self.kind} parts are called {name!r}: {origin(other)} and {origin(part)}; rename one"
                )
            self._parts[name] = part
            return part

        return enter

    def drop(self, module: str) -> None:
        """Take back the parts that `module` registered."""
        self._parts = {name: part for name, part in self._parts.items() if part.__module__ != module}

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load()
        return sorted(self._parts)

    def get(self, name: str) -> Callable[..., Any]:
        """The part called `name`.

        Raises:
            InputError: there is none; the nearest name is given.
        """
        self._load()
        if name not in self._parts:
            raise InputError(f"{nearest(name, self._parts, noun=self.kind)}; {OF_YOUR_OWN}")
        return self._parts[name]

    def extended(self, name: str) -> list[str]:
        """The names of the parts whose classes the part called `name` extends, nearest first."""
        part = self.get(name)
        names = {other: known for known, other in self._parts.items() if other is not part}
        return [names[kind] for kind in inspect.getmro(part) if kind in names] if inspect.isclass(part) else []

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """The options of the part called `name`: its constructor's parameters by name; see `parameters_of`."""
        return parameters_of(self.get(name))

    def create(self, name: str, options: Mapping[str, Any], **given: Any) -> Any:
        """Build the part called `name`.

        Args:
            options: what the user set; every key must be a parameter of the part.
            given: what the surroundings know (``in_channels``, ``num_classes`` ...); handed to parts that name it.

        Raises:
            InputError: an unknown option, with the nearest one, one that is required and missing, or a class that lacks
                a method.
        """
        if undefined := sorted(getattr(self.get(name), "__abstractmethods__", ())):
            raise InputError(
                f"{self.kind} {name!r} ({origin(self.get(name))}) has no {' and no '.join(undefined)}; define what is "
                "missing there"
            )
        typed = self.check(name, options, **given)
        parameters = self.options(name)
        arguments = {key: value for key, value in given.items() if key in parameters} | dict(options)
        missing = [
            key
            for key, parameter in parameters.items()
            if parameter.default is inspect.Parameter.empty and parameter.kind not in LOOSE and key not in arguments
        ]
        if missing:
            raise InputError(f"{self.kind} {name!r} needs {', '.join(missing)}: set {self.section}.{missing[0]}=...")
        return self.get(name)(**(arguments | typed))

    def check(self, name: str, options: Mapping[str, Any], **given: Any) -> dict[str, Any]:
        """The options as the kinds of values that the part's signature asks for, without building it.

        Raises:
            InputError: an unknown option, with the nearest one, or a value of another kind.
        """
        parameters = self.options(name).items()
        settable = [known for known, parameter in parameters if known not in given and parameter.kind not in LOOSE]
        for key in options:
            if key not in settable:
                raise InputError(nearest(key, settable, noun=f"option of {self.kind} {name!r}"))
        return {key: self._typed(name, key, value) for key, value in options.items()}

    def _typed(self, name: str, key: str, value: Any) -> Any:
        """An option as the kind of value that the part's signature asks for."""
        part = self.get(name)
        try:
            hints = hints_of(part)
        except (NameError, TypeError):  # annotations that only a type checker can resolve
            return value
        if key not in hints:
            return value
        try:
            return TypeAdapter(hints[key], config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
        except ValidationError as error:
            if choices := _choices(hints[key]):
                known = nearest(str(value), choices, noun="value")
                raise InputError(f"option {key}={value!r} of {self.kind} {name!r}: {known}") from error
            reason = error.errors()[0]["msg"].lower()
            raise InputError(f"option {key}={value!r} of {self.kind} {name!r} is wrong: {reason}") from error

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self.package)
        for module in pkgutil.walk_packages(package.__path__, f"{self.package}."):
            importlib.import_module(module.name)
        self._loaded = True


def _choices(hint: Any) -> list[str]:
    """The words that a `Literal`, or an optional one, admits."""
    if get_origin(hint) is Literal:
        return [str(choice) for choice in get_args(hint)]
    return [word for part in get_args(hint) for word in _choices(part)]


def origin(part: Callable[..., Any]) -> str:
    """The file of a part, and its name in it."""
    try:
        file = inspect.getsourcefile(part)
    except TypeError:  # typed into a session
        file = part.__module__
    return f"{file}:{part.__qualname__}"
