"""The code of the parts that a run uses, as one digest: an edited part makes another run."""

import hashlib
import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.settings.imports import code_digest, constants, files_of
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.plugins import load_plugins
from retrieval_bench.settings.run import RunSettings

ROOMS = frozenset(kind.room for kind in KINDS.values())


def part_code_digest(settings: RunSettings) -> str:
    """sha256 over the code of a run's parts: their files, and the files that these import from the rooms of parts.

    So a pooling that was edited is measured again, whether it lies in the package or in a file of the user, and one
    that the run does not use changes nothing. Comments, docstrings and where a user's file lies do not count. Where the
    settings leave a part to the method, all parts count that the method's own files name. The rest of the package
    counts by its version.

    Raises:
        InputError: a plug-in file that fails to load.
    """
    load_plugins(settings.plugins)
    total = hashlib.sha256()
    parts = list(used_parts(settings))
    files = files_of({part.__module__ for part in parts}, ROOMS)
    # Of a user's file its content counts and not its name: moving it changes nothing.
    digests = {code_digest(file) for file in files.values()}
    for line in sorted([*digests, *(_typed_in(part) for part in parts if part.__module__ not in files)]):
        total.update(f"{line}\n".encode())
    return total.hexdigest()


def named_in(settings: RunSettings) -> dict[str, set[str]]:
    """Kind -> names of the parts that settings name; with their plug-ins, all that `part_code_digest` reads of them."""
    return {
        "method": {settings.method},
        "dataset": {str(settings.dataset.name)},
        "reranker": {str(settings.rerank.name)},
        "backbone": {str(settings.backbone.name)},
        "pooling": {str(settings.pooling.name)},
        "loss": {str(settings.loss.name)},
        "batch_attention": set(_words(settings.loss.options)),
    }


def used_parts(settings: RunSettings) -> Iterator[Any]:
    """The classes and functions of the parts that a run uses; names that there are not are left out."""
    wanted = named_in(settings)
    methods = KINDS["method"].registry()
    if settings.method in methods.names():
        modules = _lineage(methods.get(settings.method))
        own = [file for name, file in files_of(modules, ROOMS).items() if any(_together(name, one) for one in modules)]
        named = {word for file in own for word in constants(file)}
        for kind in ("backbone", "pooling", "loss"):
            if wanted[kind] == {"None"}:
                wanted[kind] = named
    for kind, names in wanted.items():
        registry = KINDS[kind].registry()
        yield from (registry.get(name) for name in registry.names() if name in names)


def _words(value: Any) -> Iterator[str]:
    """The texts in plain values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _words(inner)


def _lineage(part: Any) -> list[str]:
    """The modules of a method and of those that it extends, which name parts for it too."""
    extended = inspect.getmro(part) if inspect.isclass(part) else ()
    return sorted({part.__module__, *(kind.__module__ for kind in extended if issubclass(kind, RetrievalModule))})


def _together(module: str, method: str) -> bool:
    """Whether a module is a method's own: in its folder, where it has one."""
    folder = method.rpartition(".")[0]
    return module == method or (folder != "retrieval_bench.methods" and module.startswith(f"{folder}."))


def _typed_in(part: Any) -> str:
    """A part that lives in no file, as in a notebook: the sources of its functions."""
    functions = (
        [part] if isinstance(part, FunctionType) else [v for v in vars(part).values() if isinstance(v, FunctionType)]
    )
    sources = []
    for function in functions:
        try:
            sources.append(inspect.getsource(function))
        except (OSError, TypeError):
            sources.append(f"{function.__code__.co_code.hex()} {function.__code__.co_consts}")
    return "\0".join([part.__qualname__, *sources])
