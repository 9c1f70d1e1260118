"""Spawning of processes that do not run the parent's main module.

A child process needs nothing of that module: importing it would cost time, and a script that calls `kernelproof.verify`
without ``if __name__ == "__main__":`` would start itself again in every child. Nor does it take a file of the working
folder, such as ``locale.py``, for a module of Python: see `kernelproof.reference.safe_path`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import context, popen_spawn_posix, resource_tracker
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

from kernelproof.reference.safe_path import forget, working_folder_last

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
MARK = "KERNELPROOF_RUN"
"""Environment variable of worker processes: the process that started them, and their number there."""


class _Process(context.SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            with working_folder_last():
                return popen_spawn_posix.Popen(process_obj)
        finally:
            sys.modules["__main__"] = main

    def run(self) -> None:
        """Run, in the child; what a target starts has the environment of the user."""
        forget()
        super().run()


class Context(context.SpawnContext):
    """Spawns processes that import only what they are sent to run."""

    Process = _Process


@contextmanager
def marked(value: str) -> Iterator[None]:
    """Give each process spawned inside the variable `MARK`, by which it and all below it are found."""
    # It serves this process and all later children: it must not bear the mark of the first, and end with that.
    with working_folder_last():
        resource_tracker.ensure_running()
    before = os.environ.get(MARK)
    os.environ[MARK] = value
    try:
        yield
    finally:
        del os.environ[MARK]
        if before is not None:
            os.environ[MARK] = before


@contextmanager
def threads_limited(count: int) -> Iterator[None]:
    """Let numeric libraries use `count` threads in each process spawned inside, unless the user chose a number."""
    added = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, str(count)))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
