"""Call a target in its host, then restore the process state that it changed; note what it prints, forks or leaves.

The targets of a file share the state of their host. So every call starts in the state in which its target was loaded,
its changes are noted and undone, and a process that a call forked never goes on in our code.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Self

from kernelproof.verify.cases.case import Case
from kernelproof.verify.hosts import isolation
from kernelproof.verify.hosts.sink import Sink, sunk
from kernelproof.verify.importing import answer_of, first_line
from kernelproof.verify.process import tree
from kernelproof.verify.process.descriptors import moved_high
from kernelproof.verify.process.endings import LOST_CONTEXT
from kernelproof.verify.process.environment import modes
from kernelproof.verify.process.limits import data_limited
from kernelproof.verify.process.state import LIBRARIES, State, functions_of_libraries, replaced_since
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.caller import Calling
from kernelproof.verify.targets.caller import caller as load_caller
from kernelproof.verify.targets.loading import BUILT_IN, PROGRAM, libraries_of
from kernelproof.verify.targets.program import Program, ProgramCaller
from kernelproof.verify.targets.target import Place, Target, describe, load

WAIT = 2.0
"""Seconds to wait, before the next call, for a process that a call forked to return from that call."""

_SERVANTS = (
    ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
    ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
    ("joblib.externals.loky.backend.resource_tracker", "_resource_tracker", "_pid"),
    ("loky.backend.resource_tracker", "_resource_tracker", "_pid"),
)
"""Module, object and attribute that hold the number of a process which serves all pools of this one."""

CAME_BACK = "it forked, and the child came back as well"
LIMIT = "the recursion limit"
_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 (the hook of the interpreter takes no argument)
    # Starting a target that is a program also forks, but that process never comes back into our code.
    _forks += not Program.starting


os.register_at_fork(after_in_parent=_count_fork)


class _Returns:
    """A pipe to which a process writes that a call forked and that came back from the call."""

    def __init__(self) -> None:
        self._ends: tuple[int, int] | None = None

    def open(self) -> None:
        """Make the pipe, so that a process that is forked from now on has it."""
        if self._ends is None:
            read, write = (moved_high(end) for end in os.pipe())
            os.set_blocking(read, False)
            self._ends = read, write

    def tell(self) -> None:
        """Say that this process came back, and end it."""
        try:
            if self._ends is not None:
                os.write(self._ends[1], b"\0")
        finally:
            os._exit(0)

    def told(self) -> bool:
        """Whether a process came back since the last time."""
        if self._ends is None:
            return False
        with suppress(BlockingIOError):
            return bool(os.read(self._ends[0], 1 << 16))
        return False


_RETURNS = _Returns()


@dataclass(frozen=True)
class Home:
    """How the process was after a target was loaded.

    Attributes:
        state: the state; None if the import changed nothing of it.
        changed: the names of the parts that the import changed.
        modes: the modes of arithmetic.
        replaced: the functions of libraries that the import replaced.
    """

    state: State | None
    changed: tuple[str, ...]
    modes: dict[str, Any]
    replaced: tuple[str, ...]


LATE = {BUILT_IN + "torch": ("torch", "torch._dynamo"), BUILT_IN + "numba": ("numba",)}
"""Built-in backend -> what it imports late: the time for that is no time of a call."""
_HOMES: dict[Place, Home] = {}


def at_home(place: Place) -> Home:
    """Load what is at `place`, once; return how it left the process.

    The changes are undone here, and made again only around the calls of this target.

    Raises:
        TargetError: it cannot be loaded.
    """
    if place not in _HOMES:
        _load_libraries(place)
        before, functions = State.now(), functions_of_libraries()
        try:
            with sunk():
                _load(place)
            after, left, replaced = State.now(), modes(), replaced_since(functions)
        finally:
            changed = before.changed_by(State.now())
            before.restore(changed)
        _HOMES[place] = Home(after if changed else None, changed, left, replaced)
    return _HOMES[place]


def _load_libraries(place: Place) -> None:
    """Import the libraries that the source of a target names, so that what it replaces in them can be seen."""
    for name in LATE.get(place.module, ()) or sorted(libraries_of(place) & LIBRARIES.keys()):
        if find_spec(name.partition(".")[0]) is not None:
            import_module(name)


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
        home: how the import of the target left the process.
        sink: takes the output of a host; None in the user's own process, where an interrupt comes from the user.
        loaded: the modes of arithmetic after loading the target.
        after: the modes that its calls left before they were restored; None if they changed none.
        remarks: lines for the report.
    """

    caller: Calling
    home: Home | None = None
    sink: Sink | None = None
    after: dict[str, Any] | None = None
    remarks: dict[str, None] = field(default_factory=dict)
    loaded: dict[str, Any] = field(default_factory=dict)
    _before: State | None = None

    @classmethod
    def load(cls, target: Target, sink: Sink | None) -> Guard:
        """Load `target`; return its guard."""
        home = at_home(target.place)
        guard = cls(load_caller(target), home, sink, loaded=home.modes)
        if home.changed:
            guard.remarks[f"its import changes {', '.join(home.changed)}"] = None
        return guard

    def __enter__(self) -> Self:
        self._outer = State.now()
        if self.home is not None and self.home.state is not None:
            self.home.state.restore(self.home.changed)
            self._before = State.now()
        else:
            self._before = self._outer
        self._threads = set(threading.enumerate())
        _RETURNS.open()
        _RETURNS.told()  # of what a probe or an earlier case forked, nobody is told here
        self.caller.keep(together=True)
        if self.sink is not None:
            self.sink.attach()
        return self

    def __exit__(self, *_: object) -> None:
        self.caller.keep(together=False)
        if self.home is not None:
            self._outer.restore(self.home.changed)
        if self.sink is not None and self._left_processes():
            self.remarks["leaves processes running, which were ended"] = None
        text = "" if self.sink is None else self.sink.detach()
        if text:
            self.remarks[f"prints, such as {text!r}"] = None
        left = [each.name for each in threading.enumerate() if each not in self._threads]
        if left:
            self.remarks[f"leaves threads running, such as {left[0]!r}"] = None

    def repeat(self, case: Case, call: Call, count: int) -> None:
        """Make a call `count` times, whatever comes of it."""
        process = os.getpid()
        with self, warnings.catch_warnings(), self._held(ours=True):
            warnings.simplefilter("ignore")
            for _ in range(count):
                with suppress(Exception, SystemExit):
                    self.caller(case, call)
                if os.getpid() != process:
                    os._exit(0)
        assert self._before is not None  # set by __enter__
        self._before.restore(self._before.changed_by(State.now()))

    @contextmanager
    def _held(self, *, ours: bool) -> Iterator[None]:
        """Limit the memory of a call in a host, and watch what it looks at; neither in the user's own process."""
        if self.sink is None:
            yield
            return
        with data_limited(), isolation.asking(allowed=ours):
            yield

    def _left_processes(self) -> bool:
        """End the processes that the calls have left; whether there were any."""
        if not _has_children():
            return False
        program = self.caller.program.process if isinstance(self.caller, ProgramCaller) else None
        own = set() if program is None else {program.pid, *tree.descendants(program.pid)}
        own |= _servants()
        left = [pid for pid in tree.descendants(os.getpid()) if pid not in own]
        tree.end_all(left)
        return bool(left)

    def call(self, case: Case, call: Call) -> Outcome:
        """Make one call; its outcome names the parts of the state that it changed, and processes that came back."""
        process, forks, depth = os.getpid(), _forks, sys.getrecursionlimit()
        try:
            ours = self.caller.target.place.module.startswith(BUILT_IN)
            with warnings.catch_warnings(), self._held(ours=ours):
                warnings.simplefilter("ignore")
                outcome = self.caller(case, call)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self.sink is None:
                raise
            outcome = Outcome(error=first_line(error))
        finally:
            if os.getpid() != process:
                # The target forked, and this is the process that came back.
                _RETURNS.tell()
            if (left := sys.getrecursionlimit()) != depth:
                # What follows may need more than a target has left.
                sys.setrecursionlimit(max(left, depth))
        if outcome.error is not None and self.sink is not None and _context_is_lost():
            os._exit(LOST_CONTEXT)
        if _forks != forks and _came_back():
            return replace(outcome, crash=CAME_BACK)
        assert self._before is not None  # set by __enter__
        now = State.now()
        changed = self._before.changed_by(now)
        if left != depth:
            changed = (*changed, LIMIT)
        if changed:
            self.after = modes()
            self._before.restore(changed)
            # Read again: a call may import a package with state of its own, and a change that stays is reported once.
            now = State.now()
        self._before = now
        if self.sink is not None and not ours and (why := isolation.seen()):
            # An answer that was looked up is none.
            outcome = Outcome(error=f"{why}, which a target must not do")
        return replace(outcome, changed=changed, replaced=self.home.replaced if self.home is not None else ())


def _has_children() -> bool:
    """Whether this process has a child, on Linux; a look that costs less than one at all processes."""
    try:
        tasks = os.listdir("/proc/self/task")  # noqa: PTH208 (it is read for every case)
    except OSError:
        return False
    for task in tasks:
        with suppress(OSError), open(f"/proc/self/task/{task}/children", "rb") as stream:  # noqa: PTH123 (as above)
            if stream.read(1):
                return True
    return False


def _servants() -> set[int]:
    """The processes that multiprocessing keeps for its next pool, which fails if somebody else ends them."""
    found = set()
    for module, name, number in _SERVANTS:
        pid = getattr(getattr(sys.modules.get(module), name, None), number, None)
        if isinstance(pid, int):
            found.add(pid)
    return found


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


def _came_back() -> bool:
    """Whether a process that the last call forked came back from it; wait until one does, or until none is left."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        left = tree.descendants(os.getpid())
        # Read after this, so that what a process wrote before it ended is not missed.
        if _RETURNS.told():
            return True
        if not left:
            return False
        time.sleep(0.01)
    return False
