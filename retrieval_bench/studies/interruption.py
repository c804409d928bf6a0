"""Ctrl-C, and a polite kill like it: what runs is ended in order before the process goes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class _Interruptions:
    """Signals belong to the process, and so does this state."""

    held = 0
    pending = False


@contextmanager
def handlers_kept() -> Iterator[None]:
    """What happens inside the block may set handlers of signals; after it those of before are in force."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _numbers()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def kills_interrupt() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP raise `KeyboardInterrupt` as SIGINT does, unless ignored (``nohup``)."""
    with handlers_kept():
        if threading.current_thread() is threading.main_thread():
            for number in _numbers():
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, _interrupt)
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside the block an interruption waits for its end: a process that was just started must not be lost.

    It waits only where `kills_interrupt` is in force.
    """
    _Interruptions.held += 1
    try:
        yield
    finally:
        _Interruptions.held -= 1
    if _Interruptions.pending and not _Interruptions.held:
        _Interruptions.pending = False
        raise KeyboardInterrupt


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _Interruptions.held:
        _Interruptions.pending = True
    else:
        raise KeyboardInterrupt
