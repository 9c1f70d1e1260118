"""Read a TOML file that a user wrote."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from kernelproof.reference.errors import DomainError


def table_of(path: Path, noun: str) -> dict[str, Any]:
    """The table in the file at `path`.

    Args:
        path: of the file.
        noun: what messages call the file, with its article.

    Raises:
        DomainError: the file cannot be read, is not TOML, is nested too deeply, or has an integer of thousands of
            digits; the message is one line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        reason = "it is nested too deeply"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        # What is no UTF-8, what is no TOML, and integers that are too long for Python.
        reason = " ".join(str(error).split())[:200]
    msg = f"{noun} {str(path)!r} cannot be read: {reason}"
    raise DomainError(msg)
