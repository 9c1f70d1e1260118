"""A file of ours stays open and ours, whatever a target does to descriptors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernelproof.verify.process.descriptors import OwnFile, moved_high

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def test_descriptors_move_out_of_the_way() -> None:
    pytest.importorskip("fcntl", reason="only POSIX systems number their descriptors")
    before = os.open(os.devnull, os.O_RDONLY)
    moved = moved_high(before)
    assert moved >= 512
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(before)
    os.close(moved)


def test_a_file_that_a_target_closed_is_opened_again(tmp_path: Path) -> None:
    own = OwnFile(str(tmp_path / "own"), FLAGS)
    os.write(own.descriptor, b"before ")
    os.close(own.descriptor)
    os.write(own.descriptor, b"after")
    assert (tmp_path / "own").read_bytes() == b"before after"
    own.close()


def test_a_file_that_took_the_number_is_left_alone(tmp_path: Path) -> None:
    own = OwnFile(str(tmp_path / "own"), FLAGS)
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    os.dup2(other, own.descriptor)
    os.write(own.descriptor, b"ours")
    assert (tmp_path / "own").read_bytes() == b"ours"
    assert (tmp_path / "other").read_bytes() == b""
    os.dup2(other, taken := own.descriptor)
    own.close()
    os.fstat(taken)
    os.close(taken)
    os.close(other)


def test_closing_twice_is_no_error() -> None:
    own = OwnFile(os.devnull, os.O_WRONLY)
    own.close()
    own.close()
