"""Where a run lives, and how an interrupted one is found again."""

import hashlib
import json
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import retrieval_bench
from retrieval_bench.recording.content import Content, content_of
from retrieval_bench.recording.part_code import part_code_digest
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import dump
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.settings.whole_file import write_text

RECORD = "record.json"


def settings_digest(settings: RunSettings, content: Content | None = None, code: str | None = None) -> str:
    """Eight hex digits of what decides the figures: the settings, the code of the parts that they name, and the content
    of the files and the dataset.

    Where runs, plug-ins and weights are kept and how many workers load do not: weights that were moved or copied make
    no other run, and others under the same path do. Of other files that options name, place and content count. A run
    that names no file, on a dataset that its options say all of, is known by its settings and code alone.

    Args:
        settings: of the run.
        content: of its files and dataset; None: as they are now.
        code: `part_code_digest` of these settings, where it is known; None: as it is now.

    Raises:
        InputError: a plug-in file that fails to load, or a file that cannot be read.
    """
    content = content or content_of(settings)
    unimportant: dict[str, Any] = {"runs": True, "title": True, "plugins": True, "runtime": {"workers"}}
    known = {key for key in content.files if key == "whitening.path" or key.rpartition(".")[2] == "weights"}
    decisive = _without(settings.model_dump(mode="json", exclude=unimportant), known)
    if content.files:
        decisive["files"] = dict(content.files)
    if content.dataset is not None:
        decisive["dataset content"] = content.dataset
    decisive["parts"] = part_code_digest(settings) if code is None else code
    decisive["version"] = retrieval_bench.__version__
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]


def runs_folder(settings: RunSettings) -> Path:
    """Where the runs of a method on a dataset go."""
    return settings.runs / str(settings.dataset.name) / settings.method


def open_run(settings: RunSettings, resolved: RunSettings, content: Content | None = None) -> Path:
    """The folder of an interrupted run with the same settings and content, or a new one.

    Args:
        settings: as asked for; they name the folder.
        resolved: with nothing left to defaults; written as ``config.yaml``.
        content: as in `settings_digest`.

    Raises:
        InputError: the folder cannot be made.
    """
    parent = runs_folder(settings)
    digest = settings_digest(settings, content)
    unfinished = [folder for folder in sorted(parent.glob(f"*-{digest}")) if not (folder / RECORD).is_file()]
    folder = unfinished[-1] if unfinished else parent / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}); set runs= to a writable place") from error
    if not (folder / "config.yaml").is_file():
        write_text(folder / "config.yaml", dump(resolved))
    return folder


def finished_run(settings: RunSettings) -> Path | None:
    """The latest finished run with these settings, or None."""
    return finished_in(runs_folder(settings), settings_digest(settings))


def finished_in(parent: Path, digest: str) -> Path | None:
    """The latest finished run below `parent` whose settings have this digest, or None."""
    finished = [folder for folder in sorted(parent.glob(f"*-{digest}")) if (folder / RECORD).is_file()]
    return finished[-1] if finished else None


def _without(value: Any, known: Collection[str], key: str = "") -> Any:
    """Settings in which those that are known otherwise say nothing."""
    if key in known:
        return None
    below = f"{key}." if key else ""
    if isinstance(value, dict):
        return {name: _without(inner, known, f"{below}{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, known, f"{below}{number}") for number, inner in enumerate(value)]
    return value
