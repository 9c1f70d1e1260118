"""Limits of time and memory, and how a process holds itself to them.

The watchdog is `faulthandler`, a thread of C code: it ends the process even if a target holds the interpreter's lock.
There is one a process, so limits that nest share it.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from kernelproof.reference.errors import DomainError, shown
from kernelproof.verify.process.descriptors import OwnFile

GIBIBYTE = 2**30
LONGEST = 366 * 86400.0
"""The longest time limit, in seconds: clocks of the system overflow at some hundred years."""


@dataclass(frozen=True)
class Limits:
    """What a case may use.

    Attributes:
        seconds: of the calls of one target on one case; its truth, and judging it, may take `patience` times as long.
        memory: bytes of data beyond what the process holds after loading, where the system can limit it.
    """

    seconds: float = 60.0
    memory: int = 4 * GIBIBYTE
    patience: float = 5.0

    @classmethod
    def of(cls, timeout: float | Limits | None, seconds: float = 60.0) -> Limits:
        """Return the limits that `timeout` sets: None means `seconds`, and `Limits` are returned unchanged.

        Raises:
            DomainError: it is no positive number of seconds, or more than a year.

        >>> Limits.of(2.5).seconds
        2.5
        """
        if isinstance(timeout, Limits):
            return timeout
        if timeout is None:
            return cls(seconds=seconds)
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST:
            msg = f"timeout must be a positive number of seconds, at most a year; got {shown(timeout)}"
            raise DomainError(msg)
        return cls(seconds=float(timeout))

    @property
    def own_seconds(self) -> float:
        """The time that our own code, truth or judging, may take."""
        return self.seconds * self.patience


@dataclass
class _Watch:
    """The watchdog of a process: when it bites, and the file that it tells."""

    process: int = 0
    deadline: float = 0.0
    descriptor: int = -1


_watch: list[_Watch] = []
"""One entry while the watchdog of this process is armed."""


def start_watch(seconds: float, descriptor: int) -> None:
    """End this process in `seconds`, unless `stop_watch` or another `start_watch` comes first.

    Args:
        seconds: from now.
        descriptor: of a file, which then gets a line that begins with ``Timeout``.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=descriptor)
    _watch[:] = [_Watch(os.getpid(), time.monotonic() + seconds, descriptor)]


def stop_watch() -> None:
    """Call the watchdog off."""
    # A process that a call forked has no such thread: cancelling would wait for it without end.
    if _watch and _watch[0].process == os.getpid():
        faulthandler.cancel_dump_traceback_later()
    _watch.clear()


@contextmanager
def watchdog(seconds: float | None, memory: int) -> Iterator[None]:
    """End the process if what is inside takes longer than `seconds`; None: no limit.

    It may take `memory` bytes of data more than the process holds, where the system can limit that.
    """
    if seconds is None:
        yield
        return
    with memory_limited(memory), _time_limited(seconds):
        yield


@contextmanager
def _time_limited(seconds: float) -> Iterator[None]:
    outer, process = list(_watch), os.getpid()
    sink = OwnFile(os.devnull, os.O_WRONLY)
    start_watch(seconds, outer[0].descriptor if outer else sink.descriptor)
    try:
        yield
    finally:
        stop_watch()
        if outer and os.getpid() == process:
            start_watch(max(outer[0].deadline - time.monotonic(), 0.001), outer[0].descriptor)
        sink.close()


@contextmanager
def memory_limited(more: int) -> Iterator[None]:
    """Let what is inside take `more` bytes of data beyond what the process holds, where the system can limit that."""
    if sys.platform != "linux":
        yield
        return
    resource = import_module("resource")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held_bytes() + more
    # Only the soft limit: a worker is limited anew when it takes its first case.
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if before[1] < 0 else min(wanted, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def held_bytes() -> int:
    """The bytes of data that this process holds, on Linux."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmData")), 0)


@dataclass
class _Data:
    """The limits of the data segment of a host: `wanted` in calls, `most` around them."""

    wanted: int = 0
    most: int = 0
    base: int = 0


_DATA = _Data()
RESERVE = 2 * GIBIBYTE
"""Bytes that the caller in a host may take beyond what a target may, so that it can still say what became of a call."""


def limit_data(more: int) -> None:
    """Limit the data of this process for good: calls may hold `more` bytes beyond what it holds now."""
    resource = import_module("resource")
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    _DATA.base = held_bytes()
    wanted, most = _DATA.base + more, _DATA.base + more + RESERVE
    _DATA.wanted, _DATA.most = (wanted, most) if hard < 0 else (min(wanted, hard), min(most, hard))
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA.most, _DATA.most))


@contextmanager
def data_limited() -> Iterator[None]:
    """Hold what is inside, a call, to the limit of `limit_data`; without that there is none."""
    if not _DATA.wanted:
        yield
        return
    resource = import_module("resource")
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA.wanted, _DATA.most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (_DATA.most, _DATA.most))


def exhausted() -> bool:
    """Whether targets hold more than half of the data that calls of this process may hold."""
    return bool(_DATA.wanted) and held_bytes() - _DATA.base > (_DATA.wanted - _DATA.base) / 2
