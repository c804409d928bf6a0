"""What a run reads and its settings only name: weight files and images, each known by a digest of what it holds."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.places import default_root
from retrieval_bench.settings.plugins import load_plugins
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset

SAID_BY_OPTIONS = frozenset({"synthetic"})
"""Datasets of which every option, and so the settings, say all; to load them may mean to render them."""

LEVELS = ("easy", "hard", "junk")


@dataclass(frozen=True)
class Content:
    """What was there when a run began, or was planned.

    Attributes:
        files: setting, such as ``"backbone.weights"`` -> sha256 of the file that it names.
        dataset: sha256 as of `dataset_digest`; None where the settings say all of it, or where it cannot be loaded.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    dataset: str | None = None


def content_of(settings: RunSettings, dataset: RetrievalDataset | None = None) -> Content:
    """What the settings of a run name, as it is now.

    Args:
        settings: of the run.
        dataset: of these settings, where it was loaded already.

    Raises:
        InputError: a file that cannot be read, or a plug-in file that fails to load.
    """
    return Content(file_digests(settings), stated_dataset_digest(settings, dataset))


def require_unchanged(settings: RunSettings, content: Content, only: str | None = None) -> None:
    """Refuse to go on with files that are others than those under which the run is kept.

    Args:
        settings: of the run.
        content: when it began.
        only: the one setting that counts; None: all.

    Raises:
        InputError: a file was changed meanwhile; its setting is named.
    """
    now = file_digests(settings)
    changed = [
        key for key in sorted({*content.files, *now}) if only in (None, key) and content.files.get(key) != now.get(key)
    ]
    if changed:
        raise InputError(
            f"the file of {changed[0]}= was changed while the run was reading it; start the run again when it is whole"
        )


def file_digests(settings: RunSettings) -> dict[str, str]:
    """Setting -> sha256 of the file that it names, for weights, a whitening, and options of parts that name files.

    A file is read once per process, unless its size or time changes.

    Raises:
        InputError: a file that cannot be read.
    """
    found = {}
    for key, text in _texts(settings):
        path = os.path.expanduser(text)  # noqa: PTH111
        # Any option may be asked, also one that is no path: pathlib refuses names that are too long.
        if os.path.isfile(path):  # noqa: PTH113
            found[key] = _file_digest(Path(path))
    return found


def stated_dataset_digest(settings: RunSettings, dataset: RetrievalDataset | None = None) -> str | None:
    """`dataset_digest` of the dataset that settings name; see `Content.dataset`.

    Args:
        settings: of a run.
        dataset: of these settings; None loads it.

    Raises:
        InputError: a plug-in file that fails to load.
    """
    part = settings.dataset
    name = str(part.name)
    if name in SAID_BY_OPTIONS:
        return None
    if dataset is None:
        load_plugins(settings.plugins)
        root = default_root() / name if part.root is None else part.root.expanduser()
        try:
            dataset = KINDS["dataset"].registry().create(name, part.options, root=root)
        except Exception:  # the run itself tells what is wrong, whatever it is
            return None
    return dataset_digest(dataset) if isinstance(dataset, RetrievalDataset) else None


def dataset_digest(dataset: RetrievalDataset) -> str:
    """sha256 over what a dataset holds: lists, boxes, ground truth, labels and groups, in their order.

    An image counts by its place below the root and its size in bytes: to read a whole collection for every look would
    cost more than the run. One that was replaced by another of the same size goes unnoticed.
    """
    truth = [{level: sorted(map(int, entry.get(level, []))) for level in LEVELS} for entry in dataset.ground_truth]
    content = {
        "queries": _listed(dataset.queries, dataset.root),
        "database": _listed(dataset.database, dataset.root),
        "ground truth": truth,
        "groups": list(dataset.query_groups),
        "train": _labelled(dataset.train, dataset.root),
        "validation": _labelled(dataset.validation, dataset.root),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _texts(settings: RunSettings) -> Iterator[tuple[str, str]]:
    """The settings that may name a file, and what they say."""
    named: dict[str, Any] = {"weights": settings.weights, "whitening.path": settings.whitening.path}
    for section in ("backbone", "pooling", "loss", "rerank"):
        named[section] = getattr(settings, section).options
    yield from _leaves({**named, "model": settings.model})


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        key = f"{above}{name}"
        if isinstance(value, str | Path):
            yield key, str(value)
        elif isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        elif isinstance(value, list | tuple):
            yield from _leaves({str(number): one for number, one in enumerate(value)}, f"{key}.")


def _file_digest(path: Path) -> str:
    try:
        state = path.stat()
        return _content_digest(path.absolute(), state.st_ino, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


@cache
def _content_digest(path: Path, *state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(images: ImageList, root: Path) -> list[Any]:
    boxes = [None if box is None else [float(side) for side in box] for box in images.boxes]
    return [list(images.names), boxes, _files(images.paths, root)]


def _labelled(images: LabelledImages | None, root: Path) -> list[Any] | None:
    if images is None:
        return None
    return [_files(images.paths, root), list(map(int, images.labels)), list(map(str, images.classes))]


def _files(paths: Sequence[Path], root: Path) -> list[tuple[str, int]]:
    inside = f"{root.as_posix()}/"
    # Strings, for a million paths: pathlib parses each anew.
    return [(text.replace(os.sep, "/").removeprefix(inside), _size(text)) for text in map(os.fspath, paths)]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return -1
