"""One process at a time on one run or study, on every machine that shares the files."""

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


def take(file: Path) -> int | None:
    """Hold `file` without waiting; returns a descriptor that holds it until closed, None where another process does.

    A process that inherits the descriptor holds the file, too: a run whose study was killed is still protected from the
    same run in the next one. Where the system has no such locks (Windows) studies must not overlap.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
    return handle


def give_up(handle: int) -> None:
    """Close a descriptor of `take`."""
    os.close(handle)
