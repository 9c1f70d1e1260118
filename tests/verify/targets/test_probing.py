"""The first calls of a target: what they may leave behind, and what they tell."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from kernelproof.api import verify
from kernelproof.verify.process.limits import watchdog
from kernelproof.verify.targets.target import Target, describe, find

SOURCE = """
import numpy as np

def attends(q, k, v, scale):
    s = (q.shape[-1] ** -0.5 if scale is None else scale) * (q @ np.swapaxes(k, -1, -2))
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)) @ v

def plain(q, k, v, scale=None):
    return attends(q, k, v, scale)

def grouped(q, k, v, scale=None):
    count = q.shape[-3] // k.shape[-3]
    return attends(q, np.repeat(k, count, axis=-3), np.repeat(v, count, axis=-3), scale)

def tiled(q, k, v, scale=None):
    # Head 1 reads key head 1, where it shares key head 0 with head 0.
    turn = np.arange(q.shape[-3]) % k.shape[-3]
    return attends(q, k[..., turn, :, :], v[..., turn, :, :], scale)

def equal(q, k, v, scale=None):
    assert v.shape[-1] == k.shape[-1], "as wide"
    return grouped(q, k, v, scale)

def broken(q, k, v, scale=None):
    raise ValueError("no")
"""


def described(folder: Path, name: str, **contract: object) -> Target:
    path = folder / "heads.py"
    lines = f"{name}.KERNELPROOF = {contract!r}\n"
    path.write_text(SOURCE + (lines if contract else ""), encoding="utf-8")
    found = describe(find(f"{path}:{name}"))
    assert not isinstance(found, str)
    return found[0]


@pytest.mark.parametrize(("name", "takes"), [("plain", False), ("grouped", True), ("tiled", True), ("broken", True)])
def test_grouped_heads_are_not_given_where_they_alone_raise(name: str, takes: bool, tmp_path: Path) -> None:
    target = described(tmp_path, name)
    scope = target.scope("attention")
    assert scope is not None
    assert scope.shapes.grouped_heads is takes
    assert ("fewer key heads than heads, for which it raises ValueError" in target.note) is not takes


def test_narrower_values_are_not_given_where_they_alone_raise(tmp_path: Path) -> None:
    for name in ("equal", "grouped"):
        target = described(tmp_path, name)
        scope = target.scope("attention")
        assert scope is not None
        assert scope.shapes.grouped_heads
        assert scope.shapes.equal_widths is (name == "equal")
        assert ("another width than the keys, for which it raises AssertionError: as wide" in target.note) is (
            name == "equal"
        )


@pytest.mark.parametrize(("name", "takes"), [("plain", True), ("grouped", False)])
def test_what_is_declared_of_heads_stands(name: str, takes: bool, tmp_path: Path) -> None:
    scope = described(tmp_path, name, grouped_heads=takes).scope("attention")
    assert scope is not None
    assert scope.shapes.grouped_heads is takes


@pytest.mark.parametrize(
    ("name", "passes"), [("plain", True), ("grouped", True), ("equal", True), ("tiled", False), ("broken", False)]
)
def test_heads_are_judged_as_they_are_taken(name: str, passes: bool, tmp_path: Path) -> None:
    path = tmp_path / "heads.py"
    path.write_text(SOURCE, encoding="utf-8")
    found = verify(f"{path}:{name}", op="attention", order="inf", dtype="float64", suite="quick", serial=True)
    assert found.passed is passes


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX systems fork")
def test_a_child_that_comes_back_leaves_the_watchdog() -> None:
    # The thread of the watchdog is not in the child; one that cancels it waits for ever and outlives the run.
    process = os.getpid()
    try:
        with watchdog(30.0, 2**32):
            child = os.fork()
    finally:
        if os.getpid() != process:
            os._exit(7)
    end = time.monotonic() + 10
    ended = (0, 0)
    while ended[0] == 0 and time.monotonic() < end:
        ended = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 7
