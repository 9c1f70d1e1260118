"""What a run makes of a task that ended: whose result it is, and how often that may happen."""

from __future__ import annotations

from pathlib import Path

import pytest

import kernelproof.verify.workers.runner as runner_module
from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.process.blame import Doing, Ended, InternalError, Step, blame
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.process.pool import Job
from kernelproof.verify.process.service import Work
from kernelproof.verify.records import ACCURACY
from kernelproof.verify.targets.target import Target, describe, find
from kernelproof.verify.workers.runner import Found, Runner
from kernelproof.verify.workers.tasks import CaseResult, Task
from kernelproof.verify.workers.worker import run_task

TEXTS = [
    f"entmax order=inf rule=adaptive:1 dtype=float64 family=ties shape=2x{keys} feature=1 seed=0" for keys in (7, 8)
]
ITEMS = tuple((number, Case.parse(text), (0, 1)) for number, text in enumerate(TEXTS))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    found = describe(find("numpy"))
    assert not isinstance(found, str)
    targets: tuple[Target, ...] = (found[0], found[0])
    return Task(ITEMS, targets, str(tmp_path), Limits(seconds=2.0, patience=3.0))


@pytest.fixture
def work(task: Task) -> Runner:
    return Runner(None, task.folder, task.limits)


def job(task: Task, error: BaseException | None = None, *, step: Step | None = None) -> Job:
    made = Job(Work(run_task, (task,)))
    made.step = step or made.step
    made.set_exception(error) if error else made.set_result(None)
    return made


def ended(task: Task, doing: Doing, *place: object, call: str = "", timed_out: bool = False) -> Job:
    step = Step(doing, place, call)
    return job(task, Ended(blame(step, 1, timed_out=timed_out, seconds=2.0)), step=step)


def left(items: tuple[tuple[int, Case, tuple[int, ...]], ...]) -> list[tuple[int, tuple[int, ...]]]:
    return [(number, indices) for number, _, indices in items]


@pytest.mark.parametrize(("timed_out", "words"), [(True, "no answer in 2 s"), (False, "the process ended: exit code")])
def test_an_end_in_a_call_is_a_crash_of_its_case_and_target(
    work: Runner, task: Task, timed_out: bool, words: str
) -> None:
    found: Found = {}
    made = ended(task, Doing.CALLING, 1, 0, "simplex", "forward", call="forward", timed_out=timed_out)
    assert left(work._collect(task, made, found)) == [(0, (0, 1)), (1, (1,))]
    crash = found[1, 0].checks["simplex"].crash
    assert crash is not None
    assert crash.startswith(f"the forward call: {words}")
    assert (work.hangs[0], work.deaths[0], work.lost) == (timed_out, not timed_out, 0)


def test_a_target_is_given_up_in_time(work: Runner, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "HANGS", 1)
    made = ended(task, Doing.CALLING, 1, 0, "simplex", "forward", call="forward", timed_out=True)
    assert left(work._collect(task, made, {})) == [(0, (1,)), (1, (1,))]
    assert task.given_up(0).exists()
    assert not task.given_up(1).exists()
    assert "not asked: 1 cases before" in work.unasked[0, 0]


def test_truth_without_end_leaves_its_case_undecided(work: Runner, task: Task) -> None:
    found: Found = {(0, 0): CaseResult(note="before")}
    assert left(work._collect(task, ended(task, Doing.OWN, 0, timed_out=True), found)) == [(1, (0, 1))]
    assert found[0, 0].note == "before"
    assert "took more than 6 s" in found[0, 1].note
    assert found[0, 1].checks[ACCURACY].judgement.undecided == 1


def test_a_few_workers_may_be_lost_and_no_more(work: Runner, task: Task) -> None:
    for _ in range(runner_module.SPARE_WORKERS):
        assert left(work._collect(task, ended(task, Doing.OWN, 1), {})) == [(0, (0, 1)), (1, (0, 1))]
    with pytest.raises(InternalError, match="outside of any target: exit code 1") as caught:
        work._collect(task, ended(task, Doing.OWN, 1), {})
    assert TEXTS[1] in str(caught.value)


def test_workers_lost_time_and_again_after_a_target_are_its_fault(work: Runner, task: Task) -> None:
    work.lost = runner_module.SPARE_WORKERS
    found: Found = {(0, 1): CaseResult(calls=4)}
    work._collect(task, ended(task, Doing.BETWEEN, 0, 1), found)
    assert found[0, 1].checks[ACCURACY].crash == "after its calls the process ended: exit code 1"
    assert found[0, 1].calls == 4


def test_a_target_that_cannot_be_loaded_any_more_is_an_error(work: Runner, task: Task) -> None:
    with pytest.raises(TargetError, match="'numpy' cannot be loaded: loading it ended the process"):
        work._collect(task, ended(task, Doing.LOADING, 0), {})
    raised = job(task, TargetError("it is gone"), step=Step(Doing.LOADING, (0,)))
    with pytest.raises(TargetError, match="it is gone"):
        work._collect(task, raised, {})


def test_an_exception_of_ours_names_its_case(work: Runner, task: Task) -> None:
    raised = job(task, DomainError("a bug in a family"), step=Step(Doing.OWN, (1,)))
    raised.trace = "Traceback of the worker"
    with pytest.raises(InternalError) as caught:
        work._collect(task, raised, {})
    assert str(caught.value) == f"in the case {TEXTS[1]!r}:\nTraceback of the worker"


def test_a_call_that_came_back_twice_is_a_crash_beside_the_other_results(work: Runner, task: Task) -> None:
    made, found = job(task), dict[tuple[int, int], CaseResult]()
    made.told = [("done", 0, 0, CaseResult(calls=2)), ("modes", 0, {"mode": 1}, {"mode": 2})]
    made.returned = [(0, 0, "simplex", "forward"), ()]
    assert left(work._collect(task, made, found)) == [(0, (1,)), (1, (0, 1))]
    crash = found[0, 0].checks["simplex"].crash
    assert crash == "the forward call: it forked, and the child came back as well"
    assert found[0, 0].calls == 2
    assert work.modes == {"numpy on cpu": {"after loading": {"mode": 1}, "after its calls": {"mode": 2}}}
