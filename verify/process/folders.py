"""Temporary folders: one for each driver, the process that a user started, with a folder in it for each user of it.

Its name says which process made it, so that the next start removes what a killed one has left:
kernelproof-PID-START-PLACE-RANDOM, with the time of the start of the process and a number for the machine and its
numbering of processes, because several may share a disk.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import threading
import zlib
from contextlib import suppress
from pathlib import Path

from kernelproof.reference.errors import ResourceError
from kernelproof.verify.process import tree

_PREFIX = "kernelproof"
_lock = threading.Lock()
_held: list[tuple[int, Path]] = []
"""The process that made the folder, and the folder; empty if there is none."""


def mark() -> str:
    """The name of this process among all that run or ran on this machine."""
    return f"{os.getpid()}-{tree.started(os.getpid()) or 0}"


def new() -> Path:
    """Make a folder inside the one of this process, which is made if there is none.

    Raises:
        ResourceError: there is no place for temporary files, or none is left.
    """
    try:
        with _lock:
            if not _held or _held[0][0] != os.getpid() or not _held[0][1].is_dir():
                sweep()
                _held[:] = [(os.getpid(), Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{mark()}-{_place()}-")))]
            return Path(tempfile.mkdtemp(dir=_held[0][1]))
    except OSError as error:
        msg = f"no temporary folder can be made ({error.strerror or error}); set TMPDIR to one with free space"
        raise ResourceError(msg) from None


def remove(folder: Path) -> None:
    """Remove a folder that `new` made, and with the last one that of this process."""
    shutil.rmtree(folder, ignore_errors=True)
    with _lock, suppress(OSError):
        folder.parent.rmdir()


def remove_all() -> None:
    """Remove the folder of this process, whatever is in it."""
    with _lock, suppress(OSError):
        _held.clear()
        # By the name: an interrupt may come between the making of a folder and the note of it.
        for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}-{mark()}-{_place()}-*"):
            shutil.rmtree(path, ignore_errors=True)


def sweep() -> None:
    """Remove the folders that processes of this user have left which run no longer."""
    with suppress(OSError):
        for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}-*-*-{_place()}-*"):
            with suppress(OSError, ValueError):
                pid, began = map(int, path.name.split("-")[1:3])
                if not _runs(pid, began) and _is_ours(path):
                    shutil.rmtree(path, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    found = path.stat(follow_symlinks=False)
    return path.is_dir() and not path.is_symlink() and found.st_uid == getattr(os, "getuid", lambda: found.st_uid)()


def _runs(pid: int, began: int) -> bool:
    if began:
        return tree.started(pid) == began
    # Where processes have no time of their start, a folder stays as long as any process has the number.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _place() -> str:
    names = platform.node()
    with suppress(OSError):
        names += str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(names.encode('utf-8', 'surrogateescape')):08x}"
