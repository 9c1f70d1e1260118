"""Interruption: a signal that ends the command becomes an exception in its main thread, so that everything is cleaned.

Only the command line calls `raised_by_signals`. Commands catch `Interrupted` where they hold results that are worth a
report, and raise it again. For users of the Python functions an interrupt remains a KeyboardInterrupt, which nothing
catches: what is running is ended on its way out.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from types import FrameType
from typing import Any, Self

EXIT_CODE = 130
"""Of an interrupted command, whichever signal it was."""
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupted(BaseException):
    """A signal asked the command to end; not an `Exception`, so that nothing mistakes it for a failure.

    Attributes:
        number: of the signal.
        kept: where the report of what was decided is, or "".
    """

    def __init__(self, number: int, kept: str = "") -> None:
        super().__init__(number)
        self.number, self.kept = number, kept

    def with_report(self, out: str | Path | None) -> Self:
        """Say that the report of what was decided is in the folder `out`; None: nowhere."""
        self.kept = "" if out is None else str(Path(out) / "index.html")
        return self

    def __str__(self) -> str:
        """What is said of it in one line."""
        kept = f"the report of what was decided is {self.kept}" if self.kept else "nothing was written"
        return f"interrupted by {signal.Signals(self.number).name}; {kept}"


_IMPORT_SECONDS, _PAUSE = 1.0, 0.02
"""How long a signal waits for the end of an import, and how often it looks."""
_AGAIN = 3.0
"""Seconds after which another signal is raised too: foreign code may have lost the first exception."""


class _State:
    """What signals have come, and whether one is to be raised now."""

    number: int | None = None
    since = 0.0
    raised = float("-inf")
    held = 0
    over = False


_STATE = _State()


def _handle(number: int, frame: FrameType | None) -> None:
    if _STATE.over:
        return
    now = time.monotonic()
    if _STATE.number is None:
        _STATE.number, _STATE.since = number, now
    if _imports(frame) and now < _STATE.since + _IMPORT_SECONDS and hasattr(signal, "setitimer"):
        # Compiled modules do not expect an exception there, and some abort. The alarm comes here again.
        signal.setitimer(signal.ITIMER_REAL, _PAUSE)
        return
    # Many send it twice, and the second must not end the cleaning.
    if not _STATE.held and now > _STATE.raised + _AGAIN:
        _STATE.raised = now
        raise Interrupted(_STATE.number)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported in `frame`."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextmanager
def raised_by_signals() -> Iterator[None]:
    """Raise `Interrupted` inside for SIGINT, SIGTERM and SIGHUP, unless the caller of the command ignores them."""
    _STATE.number, _STATE.held, _STATE.over, _STATE.raised = None, 0, False, float("-inf")
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        before = {number: held for number, held in before.items() if held not in {signal.SIG_IGN, None}}
        if before and hasattr(signal, "SIGALRM"):
            before[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
        for number in before:
            signal.signal(number, _handle)
    try:
        yield
    finally:
        _STATE.over = True
        if before and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, held in before.items():
            signal.signal(number, held)


@contextmanager
def held() -> Iterator[None]:
    """Put a signal off until what is inside, the writing of a report, has ended."""
    _STATE.held += 1
    try:
        yield
    finally:
        _STATE.held -= 1
    if _STATE.number is not None and not (_STATE.held or _STATE.over or isfinite(_STATE.raised)):
        _STATE.raised = time.monotonic()
        raise Interrupted(_STATE.number)


def came() -> int | None:
    """The number of the signal that has come, if any, also if the exception was lost in foreign code."""
    return _STATE.number


def ignored() -> None:
    """Take no more signals: what is left to do is to end."""
    _STATE.over = True
