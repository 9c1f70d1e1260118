"""Write files into a folder so that a reader never sees an incomplete one."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from kernelproof.reference.errors import DomainError, NotWritten
from kernelproof.reference.files import scratch_in, sync_folder, write_through

R = TypeVar("R")
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
"""Errors of a disk that is full, or of a folder that is read-only: the run goes on, and its findings are printed."""


def check_writable(out: Path, names: tuple[str, ...] = ()) -> None:
    """Check that files called `names` can be put into the folder `out`, which may not exist yet.

    A disk that is full or read-only is no reason to refuse a run before it has found anything: `put` reports that.

    Raises:
        DomainError: `out` is a file, cannot be a folder, or holds a folder with one of the names.
    """
    place = out
    try:
        while not place.exists() and not place.is_symlink() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise _refusal(out, f"{str(place)!r} is not a folder")
        for name in names:
            if (out / name).is_dir():
                raise _refusal(out, f"{name!r} in it is a folder")
        probe = scratch_in(place)
        probe.mkdir()
        probe.rmdir()
    except DomainError:
        raise
    except (OSError, ValueError) as error:
        if not (isinstance(error, OSError) and error.errno in _OF_THE_DISK):
            raise _refusal(out, _reason(error)) from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _refusal(out: Path, reason: str) -> DomainError:
    return DomainError(f"the output must be a folder that can be written; got {str(out)!r} ({reason}); choose another")


def keep(write: Callable[[R, Path], object], results: R, out: Path) -> None:
    """Have `write` put the reports of `results` into the folder `out`.

    Raises:
        NotWritten: `write` cannot; the results are in the exception.
    """
    try:
        write(results, out)
    except DomainError as error:
        raise NotWritten(str(error), results) from None


def put(files: Mapping[str, str] | Mapping[str, bytes], out: Path) -> None:
    """Write the contents of `files` (texts in UTF-8, or bytes) under their names into `out`; other files there stay.

    All files are written to a scratch folder on the same disk, and synced, before the first is moved. A new `out`
    appears in one rename; in an existing `out`, each file is replaced in one rename.

    Raises:
        DomainError: as `check_writable`, before anything is written; or the disk failed while writing, which leaves
            earlier files unharmed.
    """
    check_writable(out, tuple(files))
    fresh = not out.exists()
    try:
        if fresh:
            out.parent.mkdir(parents=True, exist_ok=True)
        scratch = scratch_in(out.parent if fresh else out)
        scratch.mkdir()
        try:
            for name, content in files.items():
                # Encoded here, because a text stream translates line endings to those of the system.
                write_through(scratch / name, content.encode("utf-8") if isinstance(content, str) else content)
            if fresh:
                scratch.rename(out)
            else:
                for name in files:
                    (scratch / name).replace(out / name)
            sync_folder(out.parent if fresh else out)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except (OSError, ValueError) as error:
        raise _refusal(out, _reason(error)) from None
