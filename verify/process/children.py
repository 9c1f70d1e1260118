"""Children of the command: everything that was started below it ends with it, and its temporary folder goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from kernelproof.verify.process import tree


@contextmanager
def ended_at_exit() -> Iterator[None]:
    """End all processes below this one when what is inside has ended, also those that left their parents.

    For a process of which nobody else starts children: the command line.
    """
    tree.become_subreaper()
    try:
        yield
    finally:
        # Python waits for this one itself; it ends with this process.
        spared = getattr(resource_tracker._resource_tracker, "_pid", None)  # noqa: SLF001 (it has no public number)
        tree.end_all(pid for pid in tree.descendants(os.getpid()) if pid != spared)
        # Its errors bring everything heavy along, and --help needs none of it.
        folders = sys.modules.get("kernelproof.verify.process.folders")
        if folders is not None:
            folders.remove_all()
