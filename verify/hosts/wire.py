"""Frames: a fixed header, a JSON text, and raw bytes; the only form in which anything enters or leaves a host."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernelproof.reference.errors import KernelproofError

_HEADER = struct.Struct("<8sIIQ")
"""A mark; the checksum and the length of the text; the length of the bytes."""
_MARK = b"kproof\x01\n"
LONGEST_TEXT = 1 << 28
"""Bytes of the text of a frame; more than any request or answer has."""


class WireError(KernelproofError):
    """What came is no frame."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        text: what JSON can hold.
        content: raw bytes, to which `text` refers.
    """

    text: Mapping[str, Any]
    content: memoryview


def framed(text: Mapping[str, Any], parts: Sequence[memoryview] = ()) -> list[memoryview]:
    """The bytes of a frame, in pieces that need not be copied together.

    >>> read = Reader()
    >>> for piece in framed({"a": 1}, [memoryview(b"xy")]):
    ...     read.take(piece)
    >>> [(frame.text, bytes(frame.content)) for frame in read.frames()]
    [({'a': 1}, b'xy')]
    """
    held = json.dumps(text).encode("ascii")
    size = sum(part.nbytes for part in parts)
    head = _HEADER.pack(_MARK, zlib.crc32(held), len(held), size) + held
    return [memoryview(head), *(part for part in parts if part.nbytes)]


@dataclass
class Reader:
    """Puts frames together from bytes that come in pieces.

    Attributes:
        longest: the most raw bytes that a frame may have.
    """

    longest: int = 1 << 40
    _held: bytearray = field(default_factory=bytearray)

    def take(self, piece: memoryview | bytes) -> None:
        """Take the next piece."""
        self._held += piece

    @property
    def empty(self) -> bool:
        """Whether nothing is left of what came."""
        return not self._held

    def frames(self) -> Iterator[Frame]:
        """Yield the frames that are complete.

        Raises:
            WireError: what came is no frame.
        """
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        held = self._held
        if not _MARK.startswith(bytes(held[: len(_MARK)])):
            msg = "what came is no frame"
            raise WireError(msg)
        if len(held) < _HEADER.size:
            return None
        _, checksum, length, size = _HEADER.unpack_from(held)
        if length > LONGEST_TEXT or size > self.longest:
            msg = f"a frame of {length} and {size} bytes is too long"
            raise WireError(msg)
        first, end = _HEADER.size + length, _HEADER.size + length + size
        if len(held) < end:
            return None
        text = bytes(held[_HEADER.size : first])
        if zlib.crc32(text) != checksum:
            msg = "the text of a frame has another checksum"
            raise WireError(msg)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            msg = "the text of a frame is no JSON"
            raise WireError(msg) from None
        if not isinstance(found, dict):
            msg = f"the text of a frame must be an object; got {type(found).__name__}"
            raise WireError(msg)
        # The rest is copied, so that what the frame holds stays as it is.
        content = memoryview(bytes(held[first:end])) if len(held) > end else memoryview(held)[first:end]
        self._held = bytearray(held[end:]) if len(held) > end else bytearray()
        return Frame(found, content)
