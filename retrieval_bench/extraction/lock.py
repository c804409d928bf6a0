"""One process at a time on one unfinished store."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make `folder` and hold it while the block runs; wait for another process that does. Left empty, it goes.

    The hold is on the folder and not on a file beside it: nothing is left behind, and it ends with the process however
    that ends. Where the system has no such locks (Windows) two runs on one store must not overlap.
    """
    handle = _held(folder)
    try:
        yield
    finally:
        with suppress(OSError):  # not empty, or renamed
            folder.rmdir()
        if handle is not None and fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)


def _held(folder: Path) -> int | None:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            return None
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("another process extracts into %s; waiting for it", folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        if _is(handle, folder):
            return handle
        os.close(handle)  # the other one gave it its final name


def _is(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False
