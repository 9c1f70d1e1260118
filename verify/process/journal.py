"""The journal of a task: what a worker says, on disk before each next step, so that its death loses none of it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

JUDGING = "judge"
"""The step after the last call, where the target's time has ended."""
RETURNED = "returned"
"""The record of a child process that came back from a call."""


def given_up(folder: Path, target: int) -> Path:
    """The file whose existence in the folder of the journals says that the target of this index is asked no more."""
    return folder / f"{target}.given-up"


class Journal:
    """Pickled records appended to a file, each on the disk of the kernel before the next step."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor = self._open()
        self.place = os.fstat(self.descriptor)[:3]

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, *record: Any) -> None:
        """Append `record`; a target may have closed the file, or have got its number for another one."""
        try:
            same = os.fstat(self.descriptor)[:3] == self.place
        except OSError:
            same = False
        if not same:
            self.descriptor = self._open()
        os.write(self.descriptor, pickle.dumps(record))

    @staticmethod
    def read(path: str) -> Iterator[tuple[Any, ...]]:
        """The records of a journal; a last one that was cut off is left out."""
        with Path(path).open("rb") as stream:
            while True:
                try:
                    yield pickle.load(stream)  # noqa: S301 (our own worker wrote it)
                except (EOFError, pickle.UnpicklingError):
                    return
