"""A child process whose parent was killed ends by itself, with everything below it and the folder of the run."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from kernelproof.verify.process import tree
from kernelproof.verify.process.spawning import MARK

LOOK = 0.25
"""Seconds between two looks at the parent."""
_CLEANING = "cleaning"


@dataclass(frozen=True)
class Origin:
    """Where a child process comes from.

    Attributes:
        parent: the number of the process that started it.
        folder: the temporary folder of that process.
        mark: the value of `MARK` that the child was started with.
    """

    parent: int
    folder: str
    mark: str


def end_with(origin: Origin) -> None:
    """Have a thread of this process end it when its parent has ended.

    The thread runs while other threads compute in C, unless they hold the interpreter's lock; then it waits for that.
    """
    threading.Thread(target=_follow, args=(origin,), name="kernelproof orphan", daemon=True).start()


def _follow(origin: Origin) -> None:
    while os.getppid() == origin.parent:
        time.sleep(LOOK)
    try:
        tree.end_all(tree.descendants(os.getpid()))
        if _is_first(origin.folder):
            # Its siblings do as this one does; if one of them cannot, this one ends it and all that bears the mark.
            run = origin.mark.partition(".")[0] + "."
            tree.end_all(tree.marked(MARK, run))
            shutil.rmtree(origin.folder, ignore_errors=True)
    finally:
        os._exit(1)


def _is_first(folder: str) -> bool:
    """Whether none of the other children of the same parent cleans up already."""
    with suppress(ImportError, OSError):
        fcntl = import_module("fcntl")
        # Open until the process ends.
        descriptor = os.open(Path(folder) / _CLEANING, os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
