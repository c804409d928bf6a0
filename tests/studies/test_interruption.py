"""Signals: which of them interrupt, and when."""

import os
import signal

import pytest

from retrieval_bench.studies.interruption import kills_interrupt, undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_polite_kill_is_an_interruption(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), kills_interrupt():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def interrupted(done: list[str]) -> None:
    with kills_interrupt():
        with undisturbed():
            with undisturbed():
                os.kill(os.getpid(), signal.SIGINT)
                done.append("inner")
            done.append("outer")
        done.append("after")


def test_what_must_not_be_disturbed_is_finished_first():
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(done)
    assert done == ["inner", "outer"]
    with kills_interrupt(), undisturbed():
        pass


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with kills_interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
