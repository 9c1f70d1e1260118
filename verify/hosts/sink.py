"""The sink of a host: takes what targets write to the standard streams, so that it reaches no terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kernelproof.verify.process.descriptors import moved_high

SHOWN = 120
"""Characters kept of what a target printed."""


class Sink:
    """Takes what targets write to the standard streams of a host, so that it does not reach the user."""

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
"""The sink of this process, if it is a host."""


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
