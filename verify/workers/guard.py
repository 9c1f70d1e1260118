"""Call a target, then restore the process state that it changed; note what it prints, forks or leaves running.

All targets and the truth share the state of the process. So every call starts in the state in which its target was
loaded, its changes are noted and undone, and a process that a call forked never goes on in our code.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

from kernelproof.verify.cases.case import Case
from kernelproof.verify.importing import answer_of, first_line
from kernelproof.verify.judging.diagnosis import Assumption
from kernelproof.verify.process.descriptors import moved_high
from kernelproof.verify.process.environment import modes
from kernelproof.verify.process.limits import data_limited
from kernelproof.verify.process.spawning import LOST_CONTEXT
from kernelproof.verify.process.state import State
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.caller import Calling
from kernelproof.verify.targets.caller import caller as load_caller
from kernelproof.verify.targets.loading import PROGRAM
from kernelproof.verify.targets.program import Program
from kernelproof.verify.targets.target import Place, Target, describe, load

WAIT = 2.0
"""Seconds to wait, before the next call, for a process that a call forked to return from that call."""
SHOWN = 120
"""Characters kept of what a target printed."""

_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 (the hook of the interpreter takes no argument)
    # Starting a target that is a program also forks, but that process never comes back into our code.
    _forks += not Program.starting


os.register_at_fork(after_in_parent=_count_fork)


class Sink:
    """Takes what targets write to the standard streams of a worker, so that it does not reach the user."""

    def __init__(self) -> None:
        held = os.memfd_create("kernelproof") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
        # High numbers, because a target may close the lowest ones.
        self.descriptor = moved_high(held)
        self.own = tuple(moved_high(os.dup(number)) for number in (1, 2))

    def attach(self) -> None:
        """Redirect the standard output and error of this process to this sink."""
        _flush()
        with _ours():
            for number in (1, 2):
                os.dup2(self.descriptor, number)

    def detach(self) -> str:
        """Undo `attach`; return the first line that was written, "" if nothing was."""
        _flush()
        with _ours():
            for number, own in zip((1, 2), self.own, strict=True):
                os.dup2(own, number)
            if not (size := os.lseek(self.descriptor, 0, os.SEEK_CUR)):
                return ""
            text = os.pread(self.descriptor, 4 * SHOWN, 0)
            os.ftruncate(self.descriptor, 0)
            os.lseek(self.descriptor, 0, os.SEEK_SET)
        lines = text.decode("utf-8", "replace").strip().splitlines()
        return lines[0].strip()[:SHOWN] if lines else f"{size} bytes without text"


@contextmanager
def _ours() -> Iterator[None]:
    """End the process if our descriptors do not work: only a target can have closed them, and its call ended here."""
    try:
        yield
    except OSError:
        os._exit(1)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A target may have closed or replaced the stream.
        with suppress(Exception):
            stream.flush()


SINKS: list[Sink] = []
"""The sink of this process, if it is a worker."""


@contextmanager
def sunk() -> Iterator[None]:
    """Discard what is written to the standard streams inside, if this process has a sink."""
    if not SINKS:
        yield
        return
    SINKS[0].attach()
    try:
        yield
    finally:
        SINKS[0].detach()


Home = tuple[State, tuple[str, ...]]
"""The state in which a target was loaded, and the names of the parts that its import changed."""
_HOMES: dict[Place, tuple[Home | None, dict[str, Any]]] = {}


def at_home(place: Place) -> tuple[Home | None, dict[str, Any]]:
    """Load what is at `place`, once; return the state that its import changed, and the modes that it left.

    The changes are undone here, and made again only around the calls of this target.

    Raises:
        TargetError: it cannot be loaded.
    """
    if place not in _HOMES:
        before = State.now()
        try:
            with sunk():
                _load(place)
            after, left = State.now(), modes()
        finally:
            changed = before.changed_by(State.now())
            before.restore(changed)
        _HOMES[place] = ((after, changed) if changed else None, left)
    return _HOMES[place]


def _load(place: Place) -> None:
    """Import what is at `place`, and ask whether it is available, which may import more."""
    if not place.name.startswith(PROGRAM):
        answer_of(load(place)[0], "available")


def described(place: Place, **options: Any) -> list[Target] | str:
    """Return what `targets.describe` gives for `place`; undo its changes to the state of this process."""
    at_home(place)
    before, process = State.now(), os.getpid()
    try:
        with sunk():
            return describe(place, **options)
    except Exception:
        raise
    except BaseException:
        # A probing call raised an exit or an interrupt. Describe without calls; the cases will show the fault.
        if options.get("seconds") is None:
            raise
        return describe(place, **{**options, "probe": False})
    finally:
        if os.getpid() != process:
            os._exit(0)
        before.restore(before.changed_by(State.now()))


@dataclass
class Guard:
    """The calls of one loaded target.

    Attributes:
        caller: makes the calls.
        home: what the import of the target changed of the process state; None if nothing.
        sink: takes the output of a worker; None in the user's own process, where an interrupt comes from the user.
        loaded: the modes of arithmetic after loading the target.
        other_layout_fails: whether a failure of the target was seen that another layout of its arrays does not explain.
        after: the modes that its calls left before they were restored; None if they changed none.
        remarks: lines for the report.
        assumed: the assumptions that explain every failure so far; None before the first.
    """

    caller: Calling
    home: Home | None = None
    sink: Sink | None = None
    after: dict[str, Any] | None = None
    remarks: dict[str, None] = field(default_factory=dict)
    assumed: tuple[Assumption, ...] | None = None
    loaded: dict[str, Any] = field(default_factory=dict)
    other_layout_fails: bool = False
    _before: State | None = None

    @classmethod
    def load(cls, target: Target, sink: Sink | None) -> Guard:
        """Load `target`; return its guard."""
        home, loaded = at_home(target.place)
        guard = cls(load_caller(target), home, sink, loaded=loaded)
        if home is not None:
            guard.remarks[f"its import changes {', '.join(home[1])}"] = None
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
        if self.sink is not None:
            self.sink.attach()
        return self

    def __exit__(self, *_: object) -> None:
        if self.home is not None:
            self._outer.restore(self.home[1])
        text = "" if self.sink is None else self.sink.detach()
        if text:
            self.remarks[f"prints, such as {text!r}"] = None
        left = [each.name for each in threading.enumerate() if each not in self._threads]
        if left:
            self.remarks[f"leaves threads running, such as {left[0]!r}"] = None

    def call(self, case: Case, call: Call, returned: Callable[[], None]) -> Outcome:
        """Make one call; its outcome names the parts of the state that it changed.

        Args:
            case: the case.
            call: one of its calls.
            returned: called in a process that the target forked and that returned from the call; it then ends.
        """
        process, forks = os.getpid(), _forks
        try:
            with warnings.catch_warnings(), data_limited():
                warnings.simplefilter("ignore")
                outcome = self.caller(case, call)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self.sink is None:
                raise
            outcome = Outcome(error=first_line(error))
        finally:
            if os.getpid() != process:
                try:
                    returned()
                finally:
                    os._exit(0)
        if outcome.error is not None and self.sink is not None and _context_is_lost():
            os._exit(LOST_CONTEXT)
        if _forks != forks:
            _await_children()
        assert self._before is not None  # set by __enter__
        now = State.now()
        changed = self._before.changed_by(now)
        if changed:
            self.after = modes()
            self._before.restore(changed)
            # Read again: a call may import a package with state of its own, and a change that stays is reported once.
            now = State.now()
        self._before = now
        return replace(outcome, changed=changed)


def _context_is_lost() -> bool:
    """Whether this process can no longer use CUDA, so that it cannot judge later calls."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return False
    try:
        cuda.synchronize()
    except Exception:  # noqa: BLE001 (any exception means that the work it waited for is lost)
        return True
    return False


def _await_children() -> None:
    """Wait for processes that a call forked to return from it; leave those that end for the target to reap."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except (ChildProcessError, AttributeError):
            return
        if ended is not None:
            return
        time.sleep(0.01)
