"""The journal of one piece of work: the file in which a child process announces each step before it takes it.

The file outlives the process, so nothing that was announced is lost. Every record has a frame with its length and
checksum, so that a record that was cut off is skipped.
The watchdog of the process writes its last words, ``Timeout``, to the same file.
"""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelproof.verify.process.blame import Doing, Step
from kernelproof.verify.process.descriptors import OwnFile
from kernelproof.verify.process.limits import start_watch, stop_watch

_MARK = b"\xf1kproof\n"
_FRAME = struct.Struct("<8sQI")
_TIMEOUT = b"Timeout ("
"""What `faulthandler` writes before it ends a process."""


@dataclass(frozen=True)
class Allowed:
    """The seconds that the process has from now on; None: no limit."""

    seconds: float | None


@dataclass(frozen=True)
class Told:
    """A record of the work itself, for the parent."""

    content: tuple[Any, ...]


class Journal:
    """The child's end: records appended to a file, each in the hands of the kernel before the next step."""

    def __init__(self, path: str) -> None:
        self._file = OwnFile(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, record: object) -> None:
        """Append `record`."""
        content = pickle.dumps(record)
        left = memoryview(_FRAME.pack(_MARK, len(content), zlib.crc32(content)) + content)
        descriptor = self._file.descriptor
        while left:
            left = left[os.write(descriptor, left) :]

    def step(self, doing: Doing, *place: Any, seconds: float | None = None) -> None:
        """Announce the next step; `seconds` limits it, None leaves the limit that holds."""
        self.add(Step(doing, place))
        if seconds is not None:
            self.allow(seconds)

    def allow(self, seconds: float | None) -> None:
        """Limit the time from now on, whatever step it is spent on; None ends the limit."""
        self.add(Allowed(seconds))
        if seconds is None:
            stop_watch()
        else:
            start_watch(seconds, self._file.descriptor)

    def tell(self, *content: Any) -> None:
        """Give the parent a record that is kept if the process ends now."""
        self.add(Told(content))

    def close(self) -> None:
        """Close the file, if a target has not."""
        self._file.close()


class Reader:
    """The parent's end: gives each record once, and takes a record that is not whole yet for the next time.

    Attributes:
        timed_out: whether the watchdog of the process has ended it.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._offset = 0
        self.timed_out = False

    def new(self) -> list[Any]:
        """The whole records since the last time; [] if there is no file."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        found, at, search = [], 0, 0
        while (start := data.find(_MARK, search)) >= 0 and start + _FRAME.size <= len(data):
            _, length, checksum = _FRAME.unpack_from(data, start)
            first = start + _FRAME.size
            content = data[first : first + length]
            if 0 < length == len(content) and zlib.crc32(content) == checksum:
                self.timed_out |= _TIMEOUT in data[at:start]
                found.append(pickle.loads(content))  # noqa: S301 (our own child wrote it, and the checksum is right)
                at = search = first + length
            else:
                search = start + 1
        self.timed_out |= _TIMEOUT in data[at:]
        self._offset += at
        return found
