"""A spawn context whose children do not run the parent's main module.

The workers need nothing of it: importing it would cost time, and a script that calls `kernelproof.verify`
without ``if __name__ == "__main__":`` would start itself again in every worker.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import context, popen_spawn_posix
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
CLEAN_EXIT = 256
"""Stands for exit code 0: to the pool that means a worker which has done its work, whose task it forgets."""
LOST_CONTEXT = 213
"""Exit code of a worker whose CUDA context a call has lost: every later call in that process would fail too."""


def how_ended(code: int | None) -> str:
    """How a process ended, of its exit code.

    >>> how_ended(-9), how_ended(3)
    ('killed by SIGKILL', 'exit code 3')
    """
    if code is None:
        return "it did not end by itself"
    if code < 0:
        names = {int(each): each.name for each in signal.Signals}
        return f"killed by {names.get(-code, f'signal {-code}')}"
    if code == LOST_CONTEXT:
        return f"exit code {code}, of a process whose CUDA context is lost, such as to an illegal memory access"
    return f"exit code {0 if code == CLEAN_EXIT else code}"


class _Process(context.SpawnProcess):
    @property
    def exitcode(self) -> int | None:
        code = super().exitcode
        return CLEAN_EXIT if code == 0 else code

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return popen_spawn_posix.Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


class Context(context.SpawnContext):
    """Spawns processes that import only what they are sent."""

    Process = _Process


@contextmanager
def threads_limited(count: int) -> Iterator[None]:
    """Processes spawned inside use `count` threads each in numeric libraries, unless the user said otherwise."""
    added = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, str(count)))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
