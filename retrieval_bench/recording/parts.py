"""What a run was put together from: the options of its parts, and the user's own files among them."""

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.parts import named_batch_attention
from retrieval_bench.methods.swapping import PARTS
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.options import same_value, value_text
from retrieval_bench.settings.plugins import loaded_digest
from retrieval_bench.settings.record import PluginFile
from retrieval_bench.settings.run import RunSettings

TYPED_IN = "typed in a session"
"""Stands for the file of a part that lives in none."""


@dataclass(frozen=True)
class Built:
    """One part of a run.

    Attributes:
        word: what records call its kind.
        kind: key of `KINDS`.
        name: as registered.
        options: as given to its constructor.
    """

    word: str
    kind: str
    name: str
    options: Mapping[str, Any]


def part_options(settings: RunSettings, model: RetrievalModule) -> dict[str, dict[str, str]]:
    """Kind -> option -> value, as it would be typed, of those with which a part was built and that are not its default.

    Args:
        settings, model: of the run.
    """
    found = {part.word: _off_default(part) for part in _built(settings, model)}
    return {word: options for word, options in found.items() if options}


def plugin_files(settings: RunSettings, model: RetrievalModule) -> dict[str, PluginFile]:
    """Kind -> file, of the parts that are not the package's own.

    Args:
        settings, model: of the run.
    """
    found = {}
    for part in _built(settings, model):
        registry = KINDS[part.kind].registry()
        if part.name in registry.names() and (file := _own_file(registry.get(part.name))):
            found[part.word] = file
    return found


def _built(settings: RunSettings, model: RetrievalModule) -> Iterator[Built]:
    parts = {kind: dict(model.settings[kind]) for kind in PARTS if kind in model.settings}
    attention = named_batch_attention(parts.get("loss", {}).pop("batch_attention", None))
    yield Built("method", "method", settings.method, _of_method(settings, model))
    yield Built("dataset", "dataset", str(settings.dataset.name), settings.dataset.options)
    for kind, options in parts.items():
        yield Built(kind, kind, str(options.pop("name")), options)
    if (name := attention.pop("name")) is not None:
        yield Built("batch attention", "batch_attention", name, attention)
    if settings.rerank.name is not None:
        yield Built("re-ranker", "reranker", settings.rerank.name, settings.rerank.options)


def _of_method(settings: RunSettings, model: RetrievalModule) -> dict[str, Any]:
    """The method's options; what is derived where nobody sets it, such as the dimension, counts where it was set."""
    known = KINDS["method"].options(settings.method)
    return {
        key: value
        for key, value in model.settings.items()
        if key in known and key not in PARTS and (known[key].default is not None or key in settings.model)
    }


def _off_default(part: Built) -> dict[str, str]:
    registry = KINDS[part.kind].registry()
    # timm's backbones are in no registry; their options are None where they are not given.
    known = KINDS[part.kind].options(part.name) if part.name in registry.names() else {}
    texts = {}
    for key, value in part.options.items():
        default = known[key].default if key in known else None
        if not same_value(value, default):
            texts[key] = value_text(value)
    return texts


def _own_file(part: Any) -> PluginFile | None:
    """The file of a part; None of a built-in one."""
    if part.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return None
    try:
        path = Path(str(inspect.getsourcefile(inspect.unwrap(part))))
    except TypeError:
        path = Path()
    if not path.is_file():
        return PluginFile(file=TYPED_IN, sha256="")
    # The code that ran, whatever stands in the file by now.
    digest = loaded_digest(part.__module__) or hashlib.sha256(path.read_bytes()).hexdigest()
    inside = path.is_relative_to(Path.cwd())
    return PluginFile(file=str(path.relative_to(Path.cwd()) if inside else path), sha256=digest)
