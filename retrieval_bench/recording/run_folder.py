"""Where a run lives, and how an interrupted one is found again."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import retrieval_bench
from retrieval_bench.recording.part_code import part_code_digest
from retrieval_bench.settings.loading import dump
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.settings.whole_file import write_text

RECORD = "record.json"


def settings_digest(settings: RunSettings) -> str:
    """Eight hex digits of what decides the figures: the settings, and the code of the parts that they name.

    Where runs and plug-ins are kept and how many workers load do not.

    Raises:
        InputError: a plug-in file that fails to load.
    """
    unimportant: dict[str, Any] = {"runs": True, "title": True, "plugins": True, "runtime": {"workers"}}
    content = settings.model_dump(mode="json", exclude=unimportant)
    content["parts"] = part_code_digest(settings)
    content["version"] = retrieval_bench.__version__
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def runs_folder(settings: RunSettings) -> Path:
    """Where the runs of a method on a dataset go."""
    return settings.runs / str(settings.dataset.name) / settings.method


def open_run(settings: RunSettings, resolved: RunSettings) -> Path:
    """The folder of an interrupted run with the same settings, or a new one.

    Args:
        settings: as asked for; they name the folder.
        resolved: with nothing left to defaults; written as ``config.yaml``.
    """
    parent = runs_folder(settings)
    digest = settings_digest(settings)
    unfinished = [folder for folder in sorted(parent.glob(f"*-{digest}")) if not (folder / RECORD).is_file()]
    folder = unfinished[-1] if unfinished else parent / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
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
