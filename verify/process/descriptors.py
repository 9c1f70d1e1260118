"""File descriptors of our own in a process that a target shares: it may close them, or get their numbers."""

from __future__ import annotations

import importlib
import os

_LEAST = 512
"""Above the numbers that a target closes which means to close its own files."""


def moved_high(descriptor: int) -> int:
    """Return a duplicate of `descriptor` with a high number and close the original, where the system can do that."""
    try:
        fcntl = importlib.import_module("fcntl")
        found: int = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _LEAST)
    except (ImportError, OSError):
        return descriptor
    os.close(descriptor)
    return found


class OwnFile:
    """A file that is opened again whenever its descriptor has been closed or stands for another file.

    Args:
        path: of the file.
        flags: of `os.open`.
    """

    def __init__(self, path: str, flags: int) -> None:
        self._path, self._flags = path, flags
        self._descriptor = self._open()
        self._identity = os.fstat(self._descriptor)[:3]

    def _open(self) -> int:
        return moved_high(os.open(self._path, self._flags, 0o600))

    def _is_ours(self) -> bool:
        try:
            return os.fstat(self._descriptor)[:3] == self._identity
        except OSError:
            return False

    @property
    def descriptor(self) -> int:
        """The number of the open file."""
        if not self._is_ours():
            self._descriptor = self._open()
        return self._descriptor

    def close(self) -> None:
        """Close the file, unless somebody else has."""
        if self._is_ours():
            os.close(self._descriptor)
