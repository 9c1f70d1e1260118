"""What a run makes of a task that ended: whose result it is, and how often that may happen."""

from __future__ import annotations

from pathlib import Path

import pytest

import kernelproof.verify.workers.runner as runner_module
from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.hosts.process import Fate
from kernelproof.verify.process.blame import Doing, Ended, InternalError, Step, blame
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.process.pool import Job
from kernelproof.verify.process.service import Work
from kernelproof.verify.records import ACCURACY
from kernelproof.verify.targets.target import Target, describe, find
from kernelproof.verify.workers.runner import Found, Runner
from kernelproof.verify.workers.tasks import CaseResult, CheckResult, Task
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


def ended(task: Task, doing: Doing, *place: object, timed_out: bool = False) -> Job:
    step = Step(doing, place)
    return job(task, Ended(blame(step, 1, timed_out=timed_out, seconds=2.0)), step=step)


def left(items: tuple[tuple[int, Case, tuple[int, ...]], ...]) -> list[tuple[int, tuple[int, ...]]]:
    return [(number, indices) for number, _, indices in items]


def told(task: Task, number: int, index: int, fate: Fate | None) -> Job:
    made = job(task)
    crash = {"simplex": CheckResult(crash="the forward call: it is gone")} if fate is not None else {}
    made.told = [("done", number, index, CaseResult(crash, calls=2, fate=fate))]
    return made


@pytest.mark.parametrize("fate", [Fate.TIME, Fate.DEATH, Fate.MEMORY, Fate.WORDS])
def test_how_a_host_ended_is_counted_against_its_target(work: Runner, task: Task, fate: Fate) -> None:
    found: Found = {}
    assert left(work._collect(task, told(task, 1, 0, fate), found)) == [(0, (0, 1)), (1, (1,))]
    assert found[1, 0].checks["simplex"].crash == "the forward call: it is gone"
    late = fate is Fate.TIME
    assert (work.hangs[0], work.deaths[0], work.lost) == (late, not late, 0)
    work._collect(task, told(task, 1, 1, None), found)
    assert (work.hangs[1], work.deaths[1]) == (0, 0)


def test_a_target_is_given_up_in_time(work: Runner, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "HANGS", 1)
    assert left(work._collect(task, told(task, 1, 0, Fate.TIME), {})) == [(0, (1,)), (1, (1,))]
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
    with pytest.raises(InternalError, match="a worker process ended: exit code 1") as caught:
        work._collect(task, ended(task, Doing.OWN, 1), {})
    assert TEXTS[1] in str(caught.value)


def test_workers_lost_twice_where_a_target_is_asked_are_its_doing(work: Runner, task: Task) -> None:
    found: Found = {}
    assert left(work._collect(task, ended(task, Doing.OWN, 1, 0), found)) == [(0, (0, 1)), (1, (0, 1))]
    assert left(work._collect(task, ended(task, Doing.OWN, 1, 0), found)) == [(0, (0, 1)), (1, (1,))]
    crash = found[1, 0].checks[ACCURACY].crash
    assert crash == "the process that asked it ended twice: exit code 1"
    assert work.deaths[0] == 1


def test_a_target_that_cannot_be_loaded_any_more_is_an_error(work: Runner, task: Task) -> None:
    with pytest.raises(TargetError, match="it is gone"):
        work._collect(task, job(task, TargetError("it is gone"), step=Step(Doing.OWN, (0,))), {})


def test_an_exception_of_ours_names_its_case(work: Runner, task: Task) -> None:
    raised = job(task, DomainError("a bug in a family"), step=Step(Doing.OWN, (1,)))
    raised.trace = "Traceback of the worker"
    with pytest.raises(InternalError) as caught:
        work._collect(task, raised, {})
    assert str(caught.value) == f"in the case {TEXTS[1]!r}:\nTraceback of the worker"


def test_the_modes_of_a_target_are_kept(work: Runner, task: Task) -> None:
    made = told(task, 0, 0, None)
    made.told.append(("modes", 0, {"mode": 1}, {"mode": 2}))
    work._collect(task, made, {})
    assert work.modes == {"numpy on cpu": {"after loading": {"mode": 1}, "after its calls": {"mode": 2}}}
