"""What a journal holds outlives its process, whatever happens to the file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kernelproof.verify.process.blame import Doing, Step
from kernelproof.verify.process.journal import Allowed, Journal, Reader, Told
from kernelproof.verify.workers.tasks import CaseResult


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal")


def written(path: str, content: bytes) -> None:
    with Path(path).open("ab") as stream:
        stream.write(content)


def test_a_journal_that_was_cut_off_gives_what_is_whole(path: str) -> None:
    journal = Journal(path)
    journal.add(("truth", 1))
    journal.add(("done", 1, 0, CaseResult(note="x")))
    journal.close()
    whole = Reader(path).new()
    assert len(whole) == 2
    raw = Path(path).read_bytes()
    Path(path).write_bytes(raw[:-3])
    assert Reader(path).new() == whole[:1]


def test_a_record_is_read_once_and_only_when_it_is_whole(path: str) -> None:
    journal, reader = Journal(path), Reader(path)
    assert reader.new() == []
    journal.add("first")
    journal.add("second")
    raw = Path(path).read_bytes()
    Path(path).write_bytes(raw[:-1])
    assert reader.new() == ["first"]
    Path(path).write_bytes(raw)
    assert reader.new() == ["second"]
    assert reader.new() == []


def test_a_journal_that_was_never_written_is_empty(path: str) -> None:
    assert Reader(path).new() == []


def test_every_kind_of_record_comes_back(path: str) -> None:
    journal = Journal(path)
    journal.step(Doing.OWN, 3, "accuracy")
    journal.allow(None)
    journal.tell("done", 3)
    call = Step(Doing.OWN, (3, "accuracy"))
    assert Reader(path).new() == [call, Allowed(None), Told(("done", 3))]


MARK = b"\xf1kproof\n"
WRONG = struct.pack("<8sQI", MARK, 5, 7) + b"hello"
"""A whole frame whose checksum is not that of its content."""


@pytest.mark.parametrize("damage", [b"floods\n" * 1000, MARK + bytes(12), MARK + b"\xff" * 30, WRONG])
def test_what_a_target_writes_into_it_is_skipped(path: str, damage: bytes) -> None:
    journal = Journal(path)
    journal.add("before")
    written(path, damage)
    journal.add("after")
    reader = Reader(path)
    assert reader.new() == ["before", "after"]
    assert not reader.timed_out


@pytest.mark.parametrize("later", [(), ("after",)])
def test_the_watchdog_is_heard_at_the_end_and_before_other_records(path: str, later: tuple[str, ...]) -> None:
    journal = Journal(path)
    journal.add("before")
    written(path, b"Timeout (0:00:01)!\nThread 0x1 (most recent call first):\n")
    for each in later:
        journal.add(each)
    reader = Reader(path)
    assert reader.new() == ["before", *later]
    assert reader.timed_out


def test_a_record_about_a_timeout_is_none(path: str) -> None:
    Journal(path).add("Timeout (0:00:01)!")
    reader = Reader(path)
    assert reader.new() == ["Timeout (0:00:01)!"]
    assert not reader.timed_out
