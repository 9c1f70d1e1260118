"""Interruption: a signal becomes one exception, at a time when nothing is being written."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from kernelproof.verify.process import interruption
from kernelproof.verify.process.interruption import Interrupted, held, raised_by_signals

posix = pytest.mark.skipif(sys.platform == "win32", reason="only POSIX systems send a process these signals")


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_is_raised_once_and_handlers_come_back(name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)

    def cleans() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)
            assert interruption.came() == number

    with pytest.raises(Interrupted, match=f"interrupted by {name}; nothing was written"), raised_by_signals():
        cleans()
    assert signal.getsignal(number) == before


@posix
def test_what_is_being_written_is_written_first() -> None:
    done = []

    def writes() -> None:
        with held():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("written")

    with pytest.raises(Interrupted), raised_by_signals():
        writes()
    assert done == ["written"]


@posix
def test_a_report_that_is_written_after_the_signal_ends_in_peace() -> None:
    with raised_by_signals():
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        with held():
            os.kill(os.getpid(), signal.SIGTERM)


@posix
def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_it_says_where_the_report_is() -> None:
    error = Interrupted(signal.SIGTERM).with_report("out")
    assert str(error) == f"interrupted by SIGTERM; the report of what was decided is {Path('out') / 'index.html'}"
