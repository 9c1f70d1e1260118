"""A call of a target with everything around it held: what it changes, prints, forks or leaves running.

The state of the process belongs to all targets and to the truth. So a call gets the state in which its target was
loaded, what it changes is noted and put back, and a child process that comes back from a call never reaches our code.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

from kernelproof.verify.calling import Calling
from kernelproof.verify.case import Case
from kernelproof.verify.environment import modes
from kernelproof.verify.executing import Program
from kernelproof.verify.loading import first_line
from kernelproof.verify.seams import Call, Outcome
from kernelproof.verify.state import State

WAIT = 2.0
"""Seconds that a child of a call may take to come back, before the next call is made."""
SHOWN = 120
"""Characters of what a target printed that are kept."""

_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 (the hook of the interpreter takes no argument)
    # A program that is a target is no child that comes back.
    _forks += not Program.starting


os.register_at_fork(after_in_parent=_count_fork)


class Sink:
    """Takes what is written to the standard streams of a worker, so that it reaches neither the user nor a protocol."""

    def __init__(self) -> None:
        folder = os.memfd_create("kernelproof") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
        self.descriptor = folder

    def attach(self) -> None:
        """Send the standard output and error of this process here, from now on."""
        for number in (1, 2):
            os.dup2(self.descriptor, number)

    def heard(self) -> str:
        """The first line of what came since the last time, "" if nothing did."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        try:
            size = os.lseek(self.descriptor, 0, os.SEEK_CUR)
            text = os.pread(self.descriptor, 4 * SHOWN, 0) if size else b""
            if size:
                os.ftruncate(self.descriptor, 0)
                os.lseek(self.descriptor, 0, os.SEEK_SET)
        except OSError:
            # The target closed it, or replaced it: there is nothing to hear any more.
            return ""
        lines = text.decode("utf-8", "replace").strip().splitlines()
        return (lines[0].strip()[:SHOWN] or "blank lines") if lines else ("blank lines" if size else "")


@dataclass
class Guard:
    """The calls of one loaded target.

    Attributes:
        caller: makes the calls.
        home: state in which the target was loaded, over that of the process: what its import changed.
        isolated: in a process of its own; else an interrupt is the user's and not the target's.
        loaded: the modes of arithmetic after loading it.
        after: the modes that its calls left, before they were put back; None: as they were.
        remarks: what is worth a line of the report.
    """

    caller: Calling
    home: tuple[State, tuple[str, ...]] | None = None
    isolated: bool = False
    after: dict[str, Any] | None = None
    remarks: dict[str, None] = field(default_factory=dict)
    loaded: dict[str, Any] = field(default_factory=dict)
    _before: State | None = None

    @classmethod
    def load(cls, make: Callable[[], Calling], *, isolated: bool) -> Guard:
        """Load a target; what its import changes of the process holds for its own calls only."""
        before = State.now()
        caller = make()
        after = State.now()
        changed = before.changed_by(after)
        guard = cls(caller, (after, changed) if changed else None, isolated, loaded=modes())
        if changed:
            guard.remarks[f"its import changes {', '.join(changed)}"] = None
        before.restore(changed)
        return guard

    def __enter__(self) -> Self:
        self._outer = State.now()
        if self.home is not None:
            state, names = self.home
            state.restore(names)
            self._before = State.now()
        else:
            self._before = self._outer
        self._threads = set(threading.enumerate())
        return self

    def __exit__(self, *_: object) -> None:
        if self.home is not None:
            self._outer.restore(self.home[1])
        left = [each.name for each in threading.enumerate() if each not in self._threads]
        if left:
            self.remarks[f"leaves threads running, such as {left[0]!r}"] = None

    def call(self, case: Case, call: Call, returned: Callable[[], None]) -> Outcome:
        """The outcome of one call, with what it changed.

        Args:
            case: the case.
            call: of it.
            returned: told in a child process that came back from the call; the child ends then.
        """
        process, forks = os.getpid(), _forks
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcome = self.caller(case, call)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and not self.isolated:
                raise
            outcome = Outcome(error=first_line(error))
        finally:
            if os.getpid() != process:
                try:
                    returned()
                finally:
                    os._exit(0)
        if _forks != forks:
            _await_children()
        assert self._before is not None  # set by __enter__
        now = State.now()
        changed = self._before.changed_by(now)
        if changed:
            self.after = modes()
            self._before.restore(changed)
            # Read again: what a call imported has parts of its own, and what cannot be put back is said once.
            now = State.now()
        self._before = now
        return replace(outcome, changed=changed)


def _await_children() -> None:
    """Give children that a call has forked the time to come back; those that end are left for the target to reap."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except (ChildProcessError, AttributeError):
            return
        if ended is not None:
            return
        time.sleep(0.01)
