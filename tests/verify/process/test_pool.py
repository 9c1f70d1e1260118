"""Jobs of a pool end in futures: an answer, what was raised, or how the process ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from tests.verify.process import working

from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.verify.process.blame import Doing, Ended
from kernelproof.verify.process.pool import Pool
from kernelproof.verify.process.service import Work, call


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    held = Pool(2, Work(working.nothing))
    yield held
    held.stop()


def test_every_job_gets_its_own_answer(pool: Pool) -> None:
    jobs = [pool.submit(Work(working.answers, (number,), 60.0)) for number in range(20)]
    assert [job.result(60) for job in jobs] == list(range(20))


def test_two_processes_work_at_once(pool: Pool, tmp_path: Path) -> None:
    first, second = [pool.submit(Work(working.waits_for_another, (str(tmp_path),), 60.0)) for _ in range(2)]
    assert first.result(60) != second.result(60)


def test_an_error_is_raised_and_the_next_job_has_an_answer(pool: Pool) -> None:
    job = pool.submit(Work(working.raises, ("ours",), 60.0))
    with pytest.raises(DomainError, match="because"):
        job.result(60)
    assert "in raises" in job.trace
    assert job.step.place == (5,)
    assert pool.submit(Work(working.answers, (1,), 60.0)).result(60) == 1


def test_an_end_keeps_what_was_told(pool: Pool) -> None:
    job = pool.submit(Work(working.dies, ("7",), 60.0))
    with pytest.raises(Ended, match="the process ended: exit code 7") as caught:
        job.result(60)
    assert caught.value.end.step.doing is Doing.OWN
    assert job.told == [("before",)]
    assert pool.submit(Work(working.answers, (1,), 60.0)).result(60) == 1


def test_a_function_without_steps_is_called_by_name(pool: Pool) -> None:
    assert pool.submit(Work(call, (divmod_of, {"number": 7, "by": 2}), 60.0)).result(60) == (3, 1)


def divmod_of(number: int, by: int) -> tuple[int, int]:
    return divmod(number, by)


def test_work_that_cannot_be_sent_is_an_error_of_its_job(pool: Pool) -> None:
    job = pool.submit(Work(working.answers, (lambda: None,), 60.0))
    assert "pickle" in str(job.exception(60))
    assert pool.submit(Work(working.answers, (1,), 60.0)).result(60) == 1


@pytest.mark.parametrize(
    ("preparation", "error"), [(Work(working.refuses, (), 60.0), TargetError), (Work(working.dies_at_once), Ended)]
)
def test_a_preparation_that_fails_is_the_answer_to_who_waits(preparation: Work, error: type[Exception]) -> None:
    failing = Pool(1, preparation)
    try:
        jobs = [failing.submit(Work(working.answers, (1,), 60.0)) for _ in range(2)]
        for job in jobs:
            with pytest.raises(error):
                job.result(60)
    finally:
        failing.stop()


def test_stopping_kills_the_processes_and_cancels_what_waits() -> None:
    stopped = Pool(1, Work(working.nothing))
    pid = stopped.submit(Work(working.pid, (), 60.0)).result(60)
    jobs: list[Any] = [stopped.submit(Work(working.hangs, ("asleep", 60.0), 60.0)) for _ in range(2)]
    stopped.stop()
    for job in jobs:
        with pytest.raises(CancelledError):
            job.result(1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_fault_of_the_pool_reaches_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Pool(1, Work(working.nothing))
    monkeypatch.setattr(type(broken), "_deal", lambda _: 1 / 0)
    try:
        assert isinstance(broken.submit(Work(working.pid)).exception(60), ZeroDivisionError)
        assert isinstance(broken.submit(Work(working.pid)).exception(60), ZeroDivisionError)
    finally:
        broken.stop()
