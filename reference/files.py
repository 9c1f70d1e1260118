"""Write files so that nobody finds half of one: under another name, onto the disk, and then renamed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def scratch_in(folder: Path) -> Path:
    """A name in `folder` that nothing has yet."""
    return folder / f".kernelproof-{uuid4().hex}.partial"


def write_through(path: Path, content: bytes) -> None:
    """Write `content` into the new file `path`; on return it is on the disk, and not only in memory.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Bring what was renamed in `folder` onto the disk, where the system can do that for folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    # The files themselves are on the disk by now; some file systems take no such request for a folder.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Replace the file `path` by `content`: whenever this ends, the file has its old content or all of the new.

    Raises:
        OSError: it cannot be written; then the file is as it was.
    """
    scratch = scratch_in(path.parent)
    try:
        write_through(scratch, content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    sync_folder(path.parent)
