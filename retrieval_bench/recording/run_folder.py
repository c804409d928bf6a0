"""Where a run lives, and how an interrupted one is found again."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import retrieval_bench
from retrieval_bench.settings.loading import dump
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.settings.whole_file import write_text

RECORD = "record.json"


def settings_digest(settings: RunSettings) -> str:
    """Eight hex digits of what decides the figures; where runs are kept and how many workers load do not."""
    content = settings.model_dump(mode="json", exclude={"runs": True, "title": True, "runtime": {"workers"}})
    content["version"] = retrieval_bench.__version__
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def open_run(settings: RunSettings, resolved: RunSettings) -> Path:
    """The folder of an interrupted run with the same settings, or a new one.

    Args:
        settings: as asked for; they name the folder.
        resolved: with nothing left to defaults; written as ``config.yaml``.
    """
    parent = settings.runs / str(settings.dataset.name) / settings.method
    digest = settings_digest(settings)
    unfinished = [folder for folder in sorted(parent.glob(f"*-{digest}")) if not (folder / RECORD).is_file()]
    folder = unfinished[-1] if unfinished else parent / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "config.yaml").is_file():
        write_text(folder / "config.yaml", dump(resolved))
    return folder


def finished_run(settings: RunSettings) -> Path | None:
    """The latest finished run with these settings, or None."""
    parent = settings.runs / str(settings.dataset.name) / settings.method
    finished = [f for f in sorted(parent.glob(f"*-{settings_digest(settings)}")) if (f / RECORD).is_file()]
    return finished[-1] if finished else None
