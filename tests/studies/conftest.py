"""Studies whose runs are made by `make_run.py`: whole and quick."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from retrieval_bench.recording import run_folder
from retrieval_bench.studies import conduct, plan
from retrieval_bench.studies.definition import study_of
from retrieval_bench.studies.running import Asked

STAND_IN = Path(__file__).with_name("make_run.py")


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Signals interrupt: a test run in the background, or under ``nohup``, ignores some of them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def quick_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Runs by the stand-in, in a folder of their own; what the code of the parts is does not matter to it."""
    for module in (run_folder, plan):
        monkeypatch.setattr(module, "part_code_digest", lambda settings: "")
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


@pytest.fixture
def when() -> Callable[..., threading.Thread]:
    """Do something as soon as a condition holds."""

    def begun(condition: Callable[[], Any], then: Callable[[], None], timeout: float = 30.0) -> threading.Thread:
        def watch() -> None:
            end = time.monotonic() + timeout
            while time.monotonic() < end:
                if condition():
                    then()
                    return
                time.sleep(0.02)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        return thread

    return begun
