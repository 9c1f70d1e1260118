"""The tree of processes below one: who lives there, what they hold, and how all of them are ended.

A process that somebody forked and left is a child of the nearest living ancestor that called `become_subreaper`, so
nothing leaves the tree of such an ancestor but by its death. All of this is done through /proc and works on Linux;
elsewhere `descendants` finds nothing, `resident` is 0, and `end` kills the process alone.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = "/proc"
_DEATH_SIGNAL, _SUBREAPER = 1, 36
"""PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of Linux."""
_STOP_SECONDS = 0.5
"""How long `end_all` stops processes before it kills them, if ever new ones appear."""
_END_SECONDS = 1.5
"""How long `end_all` waits for processes that were killed; more than a kernel needs to take gigabytes back."""
_QUIET = 3
"""How often `end_all` must have looked without finding anything: a process may hide from one look behind its death."""
_PAUSE = 0.002
_KINDS = {"RssAnon", "RssShmem", "VmSwap", "HugetlbPages"}


@dataclass(frozen=True)
class _Process:
    """What /proc says of a process; the time of its start distinguishes it from a later one of the same number."""

    pid: int
    parent: int
    started: int
    state: str
    threads: int

    @property
    def alive(self) -> bool:
        """Whether any of its threads runs: the first one may have ended alone."""
        return self.state not in "ZX" or self.threads > 1

    @property
    def stopped(self) -> bool:
        """Whether it makes no new processes; one in a wait that nothing interrupts (D) makes none either, for now."""
        return self.state in "TtDZX"


def _read(pid: int) -> _Process | None:
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as stream:  # noqa: PTH123 (of hundreds of processes at a time)
            text = stream.read()
    except OSError:
        return None
    # The name of the program stands in parentheses and may have any character.
    fields = text[text.rindex(b")") + 2 :].split()
    return _Process(pid, int(fields[1]), int(fields[19]), chr(fields[0][0]), int(fields[17]))


def _children(pid: int) -> list[int]:
    """The children of a process, dead ones included; the kernel misses none that is there all the time."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"{_PROC}/{pid}/task"):  # noqa: PTH208 (as above)
            with suppress(OSError), open(f"{_PROC}/{pid}/task/{thread}/children", "rb") as stream:  # noqa: PTH123
                found += map(int, stream.read().split())
    return found


def _parents() -> dict[int, list[int]]:
    """Parent -> children, of all processes: where the kernel does not list the children of each."""
    found: dict[int, list[int]] = {}
    for name in os.listdir(_PROC):  # noqa: PTH208 (as above)
        each = _read(int(name)) if name.isdigit() else None
        if each is not None:
            found.setdefault(each.parent, []).append(each.pid)
    return found


def _below(
    roots: Iterable[int], met: Callable[[_Process], object] = lambda _each: None, ends: float = math.inf
) -> tuple[list[_Process], bool]:
    """The descendants of `roots`, parents before their children, and whether none came or went meanwhile.

    Args:
        roots: the processes to look below.
        met: called with each as soon as it is found. The youngest children of a process come first: if it collects
            no exit codes and its children fork all the time, thousands of dead ones stand before those that run.
        ends: the look is given up, unquiet, when `time.monotonic` gets there.
    """
    if sys.platform != "linux":
        return [], True
    children_of = _children
    if not os.path.exists(f"{_PROC}/self/task/{os.getpid()}/children"):  # noqa: PTH110 (as above)
        listed = _parents()
        children_of = lambda pid: listed.get(pid, [])  # noqa: E731 (one of two functions)
    found: dict[int, _Process] = {}
    waiting, quiet = deque(roots), True
    while waiting:
        for pid in reversed(children_of(waiting.popleft())):
            each = None if pid in found else _read(pid)
            if each is not None:
                met(each)
                found[pid] = each
                if each.alive:  # the dead have no children
                    waiting.append(pid)
            quiet &= each is not None or pid in found
            if time.monotonic() > ends:
                return list(found.values()), False
    return list(found.values()), quiet


def descendants(pid: int) -> list[int]:
    """All living processes below the process `pid`, parents before their children; [] but on Linux."""
    return [each.pid for each in _below([pid])[0] if each.alive]


def started(pid: int) -> int | None:
    """When the process started, in clock ticks since the system did; None if there is none, or no /proc."""
    found = _read(pid) if sys.platform == "linux" else None
    return None if found is None or not found.alive else found.started


def marked(name: str, value: str) -> list[int]:
    """The living processes that were started with the environment variable `name` equal to `value`; [] but on Linux.

    Unlike `descendants`, this also finds those below a process that has ended, unless they were started with other
    variables. This process is not among them.

    Args:
        name: of the variable.
        value: its whole value, or the beginning of it if that ends with a dot.
    """
    if sys.platform != "linux":
        return []
    wanted = f"{name}={value}".encode() + (b"" if value.endswith(".") else b"\0")
    found = []
    for pid in os.listdir(_PROC):  # noqa: PTH208 (as above)
        if pid.isdigit() and int(pid) != os.getpid():
            with suppress(OSError), open(f"{_PROC}/{pid}/environ", "rb") as stream:  # noqa: PTH123 (as above)
                text = b"\0" + stream.read()
                if b"\0" + wanted in text and started(int(pid)) is not None:
                    found.append(int(pid))
    return found


def end(pid: int, *, reap: bool = True) -> None:
    """Kill the process `pid` and everything below it: see `end_all`."""
    end_all([pid], reap=reap)


def end_all(pids: Iterable[int], *, reap: bool = True) -> None:
    """Kill the processes `pids` and everything below them, until nothing is left.

    All of them are stopped first, so that none forks while another is killed: the child of a killed process would be
    below it no longer. The exit codes of children of this process are collected, so that no zombies stay.

    Args:
        pids: the processes; never this one.
        reap: whether to collect the exit codes of `pids` too; False: another object of this process waits for them.
    """
    roots = [pid for pid in pids if pid != os.getpid()]
    if sys.platform != "linux":
        for pid in roots:
            _signal(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        return
    held = {pid: found for pid in roots if (found := _read(pid)) is not None}
    # Below the roots first: what a process leaves behind is looked for below its roots, as long as they are there.
    known = {pid: each.started for pid, each in held.items()}

    def collects(each: _Process) -> bool:
        return each.parent == os.getpid() and (reap or each.pid not in held)

    _stop(known)
    for whole in (False, True):
        ends, quiet = time.monotonic() + _END_SECONDS, 0
        while quiet < _QUIET and time.monotonic() < ends:
            left, still = _left(known, ends=ends)
            left = [each for each in left if (whole or each.pid not in held) and (each.alive or collects(each))]
            for each in left:
                if each.alive:
                    _signal(each.pid, signal.SIGKILL)
                else:
                    with suppress(ChildProcessError):
                        os.waitpid(each.pid, os.WNOHANG)
            quiet = quiet + 1 if still and not left else 0
            time.sleep(_PAUSE if left else 0)


def _stop(known: dict[int, int]) -> None:
    """Stop the processes in `known` and all below them, and add those to it."""
    ends, quiet = time.monotonic() + _STOP_SECONDS, 0

    def stop(each: _Process) -> None:
        if not each.stopped and each.pid != os.getpid():
            _signal(each.pid, signal.SIGSTOP)

    while quiet < _QUIET and time.monotonic() < ends:
        here, still = _left(known, stop, ends)
        quiet = quiet + 1 if still and all(each.stopped for each in here) else 0


def _left(
    known: dict[int, int], met: Callable[[_Process], object] = lambda _each: None, ends: float = math.inf
) -> tuple[list[_Process], bool]:
    """Those of `known` that exist still, and all below them, which it adds to `known`; whether none came or went."""
    found = {pid: each for pid in known if (each := _read(pid)) is not None and each.started == known[pid]}
    for each in found.values():
        met(each)
    below, quiet = _below([pid for pid, each in found.items() if each.alive], met, ends)
    found |= {each.pid: each for each in below if each.pid != os.getpid()}
    known |= {each.pid: each.started for each in found.values()}
    return list(found.values()), quiet


def _signal(pid: int, number: int) -> None:
    # It may have ended since, or belong to another user by now.
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def become_subreaper() -> bool:
    """Make this process the parent of every process below it whose own parent ends; whether the system can do that."""
    return _prctl(_SUBREAPER, 1)


def die_with_parent(number: int, parent: int) -> None:
    """Have the system send this process the signal `number` when its parent ends, where it can do that.

    To be called in the new process; the signal also comes when the thread of the parent that started it ends.

    Args:
        number: of the signal.
        parent: the process that the parent should be: if it has ended before this call, the signal comes at once.
    """
    if _prctl(_DEATH_SIGNAL, number) and os.getppid() != parent:
        os.kill(os.getpid(), number)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)


def resident(pids: Iterable[int]) -> int:
    """The bytes of memory that the processes `pids` hold together; 0 but on Linux.

    Anonymous memory counts for each process, also what is in swap; pages that a process and its fork still have in
    common count once for each of the two, because either keeps them alive. A memory file (a memfd, or one of a tmpfs
    that is deleted or lies in /dev/shm) that any of them has open counts once with all of its blocks, mapped or not.
    Shared memory of no open file counts once for each process that has touched it.
    """
    if sys.platform != "linux":
        return 0
    total, files, memory = 0, dict[tuple[int, int], int](), _memory_devices()
    held = {}
    for pid in set(pids):
        try:
            held[pid] = _status(pid)
            files |= dict(_memory_files(pid, memory))
        except OSError:
            continue
    for pid, sizes in held.items():
        shared = sizes.pop("RssShmem", 0)
        if shared and files:
            shared = max(0, shared - _touched(pid, files))
        total += shared + sum(sizes.values())
    return total + sum(files.values())


def _status(pid: int) -> dict[str, int]:
    """Bytes of each kind of memory."""
    text = Path(f"{_PROC}/{pid}/status").read_text(encoding="ascii", errors="replace")
    parts = (line.partition(":") for line in text.splitlines())
    return {name: int(value.split()[0]) * 1024 for name, _, value in parts if name in _KINDS}


def _memory_devices() -> set[int]:
    """The devices of file systems that live in memory."""
    found = set()
    with suppress(OSError):
        for line in Path(f"{_PROC}/self/mountinfo").read_text("utf-8", errors="replace").splitlines():
            before, _, after = line.partition(" - ")
            if after.split(" ", 1)[0] == "tmpfs":
                major, minor = before.split()[2].split(":")
                found.add(os.makedev(int(major), int(minor)))
    return found


def _memory_files(pid: int, memory: set[int]) -> Iterator[tuple[tuple[int, int], int]]:
    """The memory files that a process has open: device and inode, and their bytes."""
    folder = f"{_PROC}/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 (a target may have thousands)
            with suppress(OSError):
                link = os.readlink(f"{folder}/{name}")  # noqa: PTH115 (as above)
                named = link.startswith("/memfd:")
                if not (named or link.startswith("/dev/shm/") or link.endswith(" (deleted)")):  # noqa: S108 (a name)
                    continue
                found = os.stat(f"{folder}/{name}")  # noqa: PTH116 (as above)
                if stat.S_ISREG(found.st_mode) and (named or found.st_dev in memory):
                    yield (found.st_dev, found.st_ino), found.st_blocks * 512


def _touched(pid: int, files: dict[tuple[int, int], int]) -> int:
    """The bytes of `files` that the process has mapped and touched, which its shared memory counts too."""
    total, counts = 0, False
    with suppress(OSError):
        for line in Path(f"{_PROC}/{pid}/smaps").read_text("utf-8", errors="replace").splitlines():
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                major, minor = (int(part, 16) for part in words[3].split(":"))
                counts = (os.makedev(major, minor), int(words[4])) in files
            elif counts and words[0] == "Rss:":
                total += int(words[1]) * 1024
    return total
