"""Limits of time and memory that a process sets for itself."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


@contextmanager
def watchdog(seconds: float | None, memory: int) -> Iterator[None]:
    """End the process if what is inside takes longer, whatever it holds; None: no limit.

    It may take `memory` bytes of data more than the process holds, where the system can limit that.
    """
    if seconds is None:
        yield
        return
    with _memory(memory), _time(seconds):
        yield


@contextmanager
def _time(seconds: float) -> Iterator[None]:
    with open(os.devnull, "w", encoding="ascii") as sink:  # noqa: PTH123 (os.devnull is no place of the file system)
        faulthandler.dump_traceback_later(seconds, exit=True, file=sink)
        process = os.getpid()
        try:
            yield
        finally:
            # A child that the call forked has no such thread: cancelling would wait for it without end.
            if os.getpid() == process:
                faulthandler.cancel_dump_traceback_later()


@contextmanager
def _memory(more: int) -> Iterator[None]:
    if sys.platform != "linux":
        yield
        return
    resource = import_module("resource")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held_bytes() + more
    # Only the soft limit: the process is limited anew when it takes its first case.
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
    """The limits of the data segment of a worker: `wanted` in calls, `most` for truth and judgements as well."""

    wanted: int = 0
    most: int = 0
    base: int = 0


_DATA = _Data()
RESERVE = 2 * 2**30
"""Bytes that our own code may take beyond what targets may, so that what they hold is no fault of ours."""


def limit_data(more: int) -> None:
    """From now on calls may hold `more` bytes of data beyond what this process holds."""
    resource = import_module("resource")
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    _DATA.base = held_bytes()
    wanted, most = _DATA.base + more, _DATA.base + more + RESERVE
    _DATA.wanted, _DATA.most = (wanted, most) if hard < 0 else (min(wanted, hard), min(most, hard))
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA.most, _DATA.most))


@contextmanager
def data_limited() -> Iterator[None]:
    """What is inside may hold what `limit_data` allows; nothing where that was not called."""
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
