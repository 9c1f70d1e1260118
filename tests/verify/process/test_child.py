"""A child process is watched from inside and outside: whatever it does, the parent learns it, and why."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.verify.process import working

import kernelproof.verify.process.child as child_module
from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.verify.process.blame import Doing, End, InternalError, Step
from kernelproof.verify.process.child import Child
from kernelproof.verify.process.service import Done, Raised, Work

posix = pytest.mark.skipif(sys.platform == "win32", reason="only POSIX systems fork and stop processes")


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    held = Child(Work(working.nothing))
    yield held
    held.stop()


def said(child: Child, function: Any, *arguments: Any, seconds: float | None = 60.0) -> Done | Raised | End:
    """What comes of the work, in a process that is there already if possible."""
    if not child.alive:
        child.start()
        assert isinstance(child.wait(), Done)
    child.give(Work(function, arguments, seconds))
    found = child.wait()
    assert found is not None
    assert not child.busy
    return found


def answer(child: Child, function: Any, *arguments: Any) -> Any:
    found = said(child, function, *arguments)
    assert isinstance(found, Done), found
    return found.answer


def end(child: Child, function: Any, *arguments: Any, seconds: float | None = 60.0) -> End:
    found = said(child, function, *arguments, seconds=seconds)
    assert isinstance(found, End), found
    assert not child.alive
    return found


def test_one_process_does_one_piece_of_work_after_another(child: Child) -> None:
    first = answer(child, working.pid)
    assert first == child.pid != os.getpid()
    assert answer(child, working.answers, list(range(10**5))) == list(range(10**5))
    assert answer(child, working.pid) == first


def test_records_come_in_order_and_belong_to_their_work(child: Child) -> None:
    assert answer(child, working.tells, 3) == 3
    assert child.told == [("record", 0), ("record", 1), ("record", 2)]
    assert answer(child, working.tells, 1) == 1
    assert child.told == [("record", 0)]


@pytest.mark.parametrize(("kind", "error"), [("ours", DomainError), ("built-in", ValueError), ("exit", SystemExit)])
def test_an_exception_comes_back_with_its_traceback(child: Child, kind: str, error: type[BaseException]) -> None:
    found = said(child, working.raises, kind)
    assert isinstance(found, Raised)
    assert type(found.exception) is error
    assert "in raises" in found.trace
    assert child.step == Step(Doing.OWN, (5,))
    assert child.alive


def test_an_exception_of_someone_else_comes_back_as_text(child: Child) -> None:
    found = said(child, working.raises, "foreign")
    assert isinstance(found, Raised)
    assert type(found.exception) is InternalError
    assert "Foreign: because" in str(found.exception)


def test_an_answer_that_cannot_be_sent_is_an_exception(child: Child) -> None:
    found = said(child, working.cannot_be_sent)
    assert isinstance(found, Raised)
    assert "pickle" in found.trace


def test_what_is_raised_while_it_starts_is_what_its_start_comes_to() -> None:
    refusing = Child(Work(working.refuses, (), 60.0))
    try:
        refusing.start()
        found = refusing.wait()
        assert isinstance(found, Raised)
        assert isinstance(found.exception, TargetError)
    finally:
        refusing.stop()


@pytest.mark.parametrize(("how", "words"), [("7", "exit code 7"), ("0", "exit code 0"), ("killed", "SIGKILL")])
def test_a_death_is_told_with_its_step(child: Child, how: str, words: str) -> None:
    found = end(child, working.dies, how)
    assert found.step == Step(Doing.OWN, (1, 2))
    assert words in found.reason
    assert not found.timed_out
    assert child.told == [("before",)]


def test_the_watchdog_inside_ends_a_call_that_hangs(child: Child) -> None:
    started = time.monotonic()
    found = end(child, working.hangs, "asleep", 0.5)
    assert found.reason == "no answer in 0.5 s"
    assert found.how == "exit code 1"
    assert time.monotonic() - started < child_module.GRACE


@posix
@pytest.mark.parametrize("how", ["stopped", "unwatched"])
def test_the_parent_ends_what_the_watchdog_cannot(child: Child, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "GRACE", 0.5)
    found = end(child, working.hangs, how, 0.5)
    assert found.reason == "no answer in 0.5 s"
    assert found.how == "it did not end by itself"


@posix
def test_a_forked_process_that_holds_the_files_hides_no_death(child: Child) -> None:
    started = time.monotonic()
    assert end(child, working.hangs_with_a_child, 0.5).timed_out
    assert time.monotonic() - started < child_module.GRACE


def test_the_limit_of_the_work_holds_before_its_first_step(child: Child) -> None:
    found = end(child, working.hangs, "asleep", None, seconds=0.5)
    assert found.timed_out
    assert found.seconds == 0.5


def test_the_work_sets_its_own_limits(child: Child) -> None:
    found = said(child, working.in_time_after, 0.4, seconds=0.8)
    assert isinstance(found, Done)
    assert found.answer == "in time"


def test_waiting_ends_in_time(child: Child) -> None:
    if not child.alive:
        child.start()
        child.wait()
    child.give(Work(working.hangs, ("asleep", 60.0), 60.0))
    started = time.monotonic()
    assert child.wait(started + 0.3) is None
    assert time.monotonic() - started < 5
    assert child.busy
    child.stop()


@pytest.mark.parametrize("spoil", [Work(working.closes, (400,)), Work(working.floods)])
def test_files_that_a_target_spoils_are_no_reason_to_replace_the_process(child: Child, spoil: Work) -> None:
    pid = answer(child, spoil.function, *spoil.arguments)
    # By then it waits for work, with the connection as the target left it.
    time.sleep(0.3)
    assert answer(child, working.pid) == pid


def test_a_target_that_closes_every_file_loses_no_answer(child: Child) -> None:
    assert answer(child, working.closes, 4096) == child.pid
    assert answer(child, working.answers, 1) == 1


@posix
def test_a_process_that_came_back_reaches_nothing_of_ours(child: Child) -> None:
    assert answer(child, working.forks) == "once"
    assert child.told == [("from the other one",)]


def test_a_process_that_dies_idle_is_not_alive(child: Child, tmp_path: Path) -> None:
    answer(child, working.leaves_a_killer, str(tmp_path / "marker"))
    first = time.monotonic()
    while child.alive and time.monotonic() < first + 20:
        time.sleep(0.05)
    assert (tmp_path / "marker").exists()
    assert not child.alive
    assert answer(child, working.answers, 1) == 1


def test_a_child_that_nobody_stops_does_not_keep_the_parent() -> None:
    text = (
        "from tests.verify.process import working\nfrom kernelproof.verify.process.child import Child\n"
        "from kernelproof.verify.process.service import Work\n"
        "child = Child(Work(working.nothing))\nchild.start()\nchild.wait()\nprint(child.alive)"
    )
    root = Path(__file__).parents[3]
    found = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False, cwd=root, timeout=100
    )
    assert found.stdout == "True\n", found.stderr


def test_a_new_process_replaces_the_old_one_and_its_folder(child: Child) -> None:
    first = answer(child, working.pid)
    child.start()
    child.wait()
    assert answer(child, working.pid) != first
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
