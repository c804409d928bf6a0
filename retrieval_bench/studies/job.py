"""One run of a study as a process of its own: a crash, a leak or a kill stays with that run."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from retrieval_bench.recording.run_folder import finished_in
from retrieval_bench.studies.interruption import kills_interrupt, undisturbed
from retrieval_bench.studies.lock import give_up, take

LOG = "log.txt"
"""What a run said, in its folder."""

PATIENCE = 5.0
"""Seconds between asking a run to stop and killing it."""

POLL = 0.2
"""Seconds between two looks at what runs."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Job:
    """A run to be made. Paths are absolute: it may start in another folder or on another machine with the same files.

    Attributes:
        name: for people.
        digest: of its settings.
        command: that makes the run.
        parent: folder of its run folder.
        log: where it writes until it has ended.
        lock: held while it runs.
        folder: where it starts.
        gpu: whether it may use one.
        environment: variables beside those of the process that starts it.
    """

    name: str
    digest: str
    command: Sequence[str]
    parent: Path
    log: Path
    lock: Path
    folder: Path
    gpu: bool
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: "done", or "failed".
        reason: why it failed, in one line.
        seconds: that it took.
    """

    state: Literal["done", "failed"]
    reason: str = ""
    seconds: float = 0.0


class Running:
    """A job that has been started, or waits because another process makes the same run.

    Args:
        job: to be run.
        environment: variables beside the job's own.
    """

    def __init__(self, job: Job, environment: Mapping[str, str]):
        self.job = job
        self.environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._begin = 0
        self._started = time.monotonic()

    def poll(self) -> Outcome | None:
        """Start it if it can be; returns how it ended, None while it has not."""
        if self._process is None:
            return self._start()
        code = self._process.poll()
        return None if code is None else self._ended(code)

    def ask_to_stop(self) -> None:
        """Tell the process and all that it started to end."""
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the process, with force where it does not end by itself. The run goes on from its files next time."""
        if self._process is None:
            return
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self._signal(signal.SIGKILL)  # what it started may outlive it
        self._process.wait()
        self._release()

    def _start(self) -> Outcome | None:
        self._lock = take(self.job.lock)
        if self._lock is None:
            return None
        if finished_in(self.job.parent, self.job.digest) is not None:
            self._release()
            return Outcome("done")
        self._started = time.monotonic()
        self.job.log.parent.mkdir(parents=True, exist_ok=True)
        with self.job.log.open("ab") as log, undisturbed():
            self._begin = log.tell()
            self._process = subprocess.Popen(
                self.job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.job.folder,
                env={**os.environ, **self.job.environment, **self.environment, "COLUMNS": "120"},
                pass_fds=(self._lock,),
                start_new_session=True,
            )
        return None

    def _ended(self, code: int) -> Outcome:
        seconds = time.monotonic() - self._started
        finished = finished_in(self.job.parent, self.job.digest)
        if code == 0 and finished is not None:
            self.job.log.replace(finished / LOG)
            outcome = Outcome("done", seconds=seconds)
        else:
            outcome = Outcome("failed", _reason(code, said(self.job.log, self._begin)), seconds)
        self._release()
        return outcome

    def _signal(self, which: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, which)

    def _release(self) -> None:
        if self._lock is not None:
            give_up(self._lock)
            self._lock = None


def execute(job: Job, environment: Mapping[str, str]) -> Outcome:
    """Run a job to its end: what engines call on another machine."""
    running = Running(job, environment)
    with kills_interrupt():
        try:
            while (outcome := running.poll()) is None:
                time.sleep(POLL)
        except BaseException:
            with undisturbed():
                running.stop()
            raise
    return outcome


def said(log: Path, begin: int = 0) -> list[str]:
    """The lines of a log from a byte on, without colours and empty lines; of a bar that redraws itself the last state.

    Of a long log only the end is read.
    """
    if not log.is_file():
        return []
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(begin, size - 65536))
        text = file.read().decode("utf-8", errors="replace")
    lines = [_ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]).strip() for line in text.split("\n")]
    return [line for line in lines if line]


def _reason(code: int, lines: list[str]) -> str:
    told = [line for line in lines if line.startswith(("error: ", "failed: "))]
    if code in (1, 2) and told:
        return told[-1].partition(": ")[2].removesuffix(" (--debug shows the traceback)")
    last = f"; its last line: {lines[-1]}" if lines else ""
    if code == 0:
        return f"it left no record of these settings; was a file of its parts, weights or data changed meanwhile?{last}"
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}{' (out of memory?)' if code == -signal.SIGKILL else ''}{last}"
    return f"it ended with code {code}{last}"
