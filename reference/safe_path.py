"""Start Python processes to which no file of the working folder is a module of Python, or an installed package."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE, OURS = "PYTHONSAFEPATH", "kernelproof"


@contextmanager
def working_folder_last() -> Iterator[None]:
    """Spawn what is spawned inside with the working folder at the end of its path, where this process has it first.

    A process would begin with that folder, and take a file ``locale.py`` there for the module of Python.
    """
    folder, before, path = str(Path.cwd()), os.environ.get(VARIABLE), sys.path
    rest = [each for each in path if each not in {"", folder}]
    if not before:
        os.environ[VARIABLE] = OURS
    sys.path = rest if len(rest) == len(path) else [*rest, folder]
    try:
        yield
    finally:
        sys.path = path
        if not before:
            forget()


def forget() -> None:
    """Leave no trace in the environment, unless the variable is the user's own: other programs are started from it."""
    if os.environ.get(VARIABLE) == OURS:
        del os.environ[VARIABLE]
