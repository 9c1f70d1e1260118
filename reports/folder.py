"""Write files into a folder so that a reader never sees an incomplete one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from kernelproof.reference.errors import DomainError


def check_writable(out: Path, names: tuple[str, ...] = ()) -> None:
    """Check that files called `names` can be put into the folder `out`, which may not exist yet.

    The test creates a folder there and removes it, because permissions do not reveal a full or a read-only disk.

    Raises:
        DomainError: `out` is a file, cannot be written, or holds a folder with one of the names.
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
        probe = _scratch(place)
        probe.mkdir()
        probe.rmdir()
    except DomainError:
        raise
    except (OSError, ValueError) as error:
        raise _refusal(out, _reason(error)) from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _refusal(out: Path, reason: str) -> DomainError:
    return DomainError(f"the output must be a folder that can be written; got {str(out)!r} ({reason}); choose another")


def _scratch(place: Path) -> Path:
    return place / f".kernelproof-{uuid4().hex}.partial"


def put(files: Mapping[str, str] | Mapping[str, bytes], out: Path) -> None:
    """Write the contents of `files` (texts in UTF-8, or bytes) under their names into `out`; other files there stay.

    All files are written to a scratch folder on the same disk before the first is moved. A new `out` appears in one
    rename; in an existing `out`, each file is replaced in one rename.

    Raises:
        DomainError: as `check_writable`, before anything is written; or the disk failed while writing, which leaves
            earlier files unharmed.
    """
    check_writable(out, tuple(files))
    fresh = not out.exists()
    try:
        if fresh:
            out.parent.mkdir(parents=True, exist_ok=True)
        scratch = _scratch(out.parent if fresh else out)
        scratch.mkdir()
        try:
            for name, content in files.items():
                # Not write_text, which translates line endings to those of the system.
                (scratch / name).write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
            if fresh:
                scratch.rename(out)
            else:
                for name in files:
                    (scratch / name).replace(out / name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except (OSError, ValueError) as error:
        raise _refusal(out, _reason(error)) from None
