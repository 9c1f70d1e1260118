"""Frames come whole whatever the pieces, and what is none is refused."""

from __future__ import annotations

import json
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelproof.verify.hosts.wire import LONGEST_TEXT, Reader, WireError, framed

TEXT = {"do": "call", "n": 3, "name": "bad \ud800"}


def whole(text: dict[str, object], content: bytes = b"") -> bytes:
    return b"".join(framed(text, [memoryview(content)]))


def read(pieces: list[bytes], longest: int = 1 << 20) -> list[tuple[object, bytes]]:
    reader = Reader(longest)
    found: list[tuple[object, bytes]] = []
    for piece in pieces:
        reader.take(piece)
        found += [(frame.text, bytes(frame.content)) for frame in reader.frames()]
    return found


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.integers(1, 60))
def test_frames_come_whole_whatever_the_pieces(contents: list[bytes], size: int) -> None:
    sent = b"".join(whole(TEXT, content) for content in contents)
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
    assert read(pieces) == [(TEXT, content) for content in contents]


def test_a_frame_that_is_not_complete_waits() -> None:
    reader = Reader()
    reader.take(whole(TEXT, b"abc")[:-1])
    assert list(reader.frames()) == []


def header(mark: bytes, checksum: int, length: int, size: int) -> bytes:
    return struct.pack("<8sIIQ", mark, checksum, length, size)


MARK = whole({})[:8]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"Traceback (most recent call last)", "no frame"),
        (b"k", ""),
        (b"kx", "no frame"),
        (whole(TEXT)[:30] + b"?" + whole(TEXT)[31:], "checksum"),
        (header(MARK, 0, LONGEST_TEXT + 1, 0), "too long"),
        (header(MARK, 0, 2, 1 << 30), "too long"),
        (header(MARK, zlib.crc32(b"nonsense"), 8, 0) + b"nonsense", "no JSON"),
        (header(MARK, zlib.crc32(b"[" * 200000), 200000, 0) + b"[" * 200000, "no JSON"),
        (header(MARK, zlib.crc32(b"[1]"), 3, 0) + b"[1]", "an object"),
    ],
)
def test_what_is_no_frame_is_refused(sent: bytes, words: str) -> None:
    if not words:
        assert read([sent]) == []
        return
    with pytest.raises(WireError, match=words):
        read([sent])


def test_text_is_json() -> None:
    sent = whole(TEXT)
    assert json.loads(sent[24:]) == TEXT
