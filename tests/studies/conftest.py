"""Studies whose runs are made by `make_run.py`: whole and quick."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from retrieval_bench.recording import run_folder
from retrieval_bench.studies import conduct
from retrieval_bench.studies.definition import study_of
from retrieval_bench.studies.running import Asked

STAND_IN = Path(__file__).with_name("make_run.py")


@pytest.fixture
def quick_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Runs by the stand-in, in a folder of their own; what the code of the parts is does not matter to it."""
    monkeypatch.setattr(run_folder, "part_code_digest", lambda settings: "")
    monkeypatch.setattr(conduct, "command", lambda config: [sys.executable, str(STAND_IN), str(config)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(quick_runs: Path) -> Callable[..., Asked]:
    """A study of runs on the CPU, from its parts."""

    def made(*overrides: str, **parts: Any) -> Asked:
        return Asked(study_of({"name": "tried", **parts}), ("runtime.accelerator=cpu", *overrides))

    return made


@pytest.fixture
def console() -> Console:
    """What was shown, without colours: ``console.file.getvalue()``."""
    import io

    return Console(file=io.StringIO(), width=200)
