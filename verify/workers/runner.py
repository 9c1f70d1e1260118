"""The runner: deals the cases of a run to worker processes and collects their results, in the order of the cases.

The parent only coordinates. A target lives in a host of a worker (`kernelproof.verify.hosts`), and the worker says how
its host ended. If a worker itself dies, the runner gives the rest of its task to another. After a number of hangs or
deaths that is set here, the runner gives up a target. Results do not depend on scheduling.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from kernelproof.reference.errors import ResourceError, TargetError
from kernelproof.reference.progress import Progress
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of, resolve
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.hosts.guard import described
from kernelproof.verify.hosts.process import Fate
from kernelproof.verify.hosts.remote import LOAD_SECONDS, describe_in_host
from kernelproof.verify.hosts.respondent import local_of
from kernelproof.verify.process import folders
from kernelproof.verify.process.blame import Doing, End, Ended, InternalError
from kernelproof.verify.process.child import START_SECONDS
from kernelproof.verify.process.environment import environment
from kernelproof.verify.process.interruption import Interrupted
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.process.pool import Job, Pool
from kernelproof.verify.process.refusals import refusal
from kernelproof.verify.process.service import Work, call
from kernelproof.verify.process.spawning import threads_limited
from kernelproof.verify.records import ACCURACY, Judgement
from kernelproof.verify.targets.target import BUILT_IN, Place, Target
from kernelproof.verify.truth.cache import CacheFile, Tally, store_of
from kernelproof.verify.truth.lookup import lookup, truth_for
from kernelproof.verify.workers.afterwards import CALLS, chosen, with_failure
from kernelproof.verify.workers.judge import judge_target
from kernelproof.verify.workers.tasks import CaseResult, CheckResult, Task
from kernelproof.verify.workers.worker import folder_of, prepare, run_afterwards, run_task

SPARE_WORKERS = 3
"""Workers that may be lost outside of any call before the run gives up."""
HANGS = 5
"""Cases without an answer in time, after which a target is given up; each costs the whole time limit."""
DEATHS = 20
"""Calls that ended the process after which a target is given up; each costs a new process."""
ASKING = 2
"""Words in the place of a worker that asks a target: its case and its index."""
CHUNK = 12
"""Cases in a task; few enough that the workers end at about the same time."""
MOST_WORKERS = 8
"""Limit of the number of workers: each holds every target, which with PyTorch and CUDA takes a gigabyte."""
COLD_SECONDS = 300.0
"""Time limit of a case while something compiles for the first time."""

Found = dict[tuple[int, int], CaseResult]
"""Results by index of case and of target."""
Items = tuple[tuple[int, Case, tuple[int, ...]], ...]
"""Cases with their index and the indices of the targets to try on them."""


@dataclass(frozen=True)
class Workers:
    """The number of worker processes."""

    count: int = field(default_factory=lambda: max(1, min(os.cpu_count() or 1, MOST_WORKERS)))

    @property
    def threads(self) -> int:
        """The threads of each worker: its share of the cores, because more threads than cores slow every small call.

        A run of one case has one worker with as many threads as in a whole run, because sums may depend on that number.
        """
        cores = os.cpu_count() or 1
        return max(1, cores // min(cores, MOST_WORKERS))


class Runner:
    """Runs cases and other work in worker processes, where a target does no harm; for tests, in this process.

    Args:
        pool: the worker processes; None means this process.
        folder: holds notes to the workers.
        limits: of every case.
        cache: where truths are kept; None: nowhere.

    Attributes:
        found: the results so far, also if the run was interrupted.
        unasked: why a case was not tried on a target that was given up, by index of both.
    """

    def __init__(self, pool: Pool | None, folder: str, limits: Limits, cache: CacheFile | None = None) -> None:
        self.pool, self.folder, self.limits, self.cache = pool, folder, limits, cache
        self.tally = Tally()
        self.lost = 0
        self.hangs: Counter[int] = Counter()
        self.deaths: Counter[int] = Counter()
        self.losses: Counter[tuple[Any, ...]] = Counter()
        self.unasked: dict[tuple[int, int], str] = {}
        self.found: Found = {}
        self.modes: dict[str, dict[str, Any]] = {}

    def stop(self) -> None:
        """End the workers, before what they have done is reported."""
        if self.pool is not None:
            self.pool.stop()

    def describe(self, places: Sequence[Place], asked: Selection | None = None) -> list[list[Target] | str]:
        """Return what `targets.describe` gives for every place; calls that probe a target keep to what is `asked`.

        Raises:
            TargetError: one cannot be loaded, or its import ends the process.
        """
        if self.pool is None:
            return [described(place, asked=asked) for place in places]
        wanted = asked or Selection()
        told = {
            "limits": self.limits,
            "asked": {"orders": wanted.orders, "alphas": wanted.alphas, "dtypes": wanted.dtypes},
            "cache": folder_of(self.cache),
        }
        # The host keeps to the limits; the worker gets what two attempts and two starts may take.
        seconds = 2 * (self.limits.seconds * max(self.limits.patience, 1.0) + LOAD_SECONDS)
        futures = [self.limited(seconds, describe_in_host, place=place, **told) for place in places]
        return [future.result() for future in futures]

    def environment(self, *, with_torch: bool, seed: int) -> Any:
        """Return a future of the environment of a worker."""
        return self.submit(environment, with_torch=with_torch, seed=seed)

    def _note_modes(self, target: Target, loaded: dict[str, Any], after: dict[str, Any]) -> None:
        """Keep the modes of arithmetic of a target, preferably from a process in which its calls changed them."""
        name = f"{target.name} on {target.device}"
        held = self.modes.get(name)
        if held is None or held["after its calls"] == held["after loading"]:
            self.modes[name] = {"after loading": loaded, "after its calls": after}

    def submit(self, function: Callable[..., Any], /, **arguments: Any) -> Future[Any]:
        """Return a future of ``function(**arguments)``."""
        return self.limited(None, function, **arguments)

    def limited(self, seconds: float | None, function: Callable[..., Any], /, **arguments: Any) -> Future[Any]:
        """Return a future of ``function(**arguments)``, which raises `Ended` if that takes more than `seconds`.

        In this process, for tests, there is no limit.
        """
        if self.pool is not None:
            return self.pool.submit(Work(call, (function, arguments), seconds))
        done: Future[Any] = Future()
        done.set_result(function(**arguments))
        return done

    def run(
        self, items: Sequence[tuple[Case, tuple[int, ...]]], targets: Sequence[Target], progress: Progress
    ) -> Found:
        """Return the result of every case on each of its targets.

        Args:
            items: cases, each with the indices of the targets to try on it.
            targets: all of them.
            progress: advanced by one for every case.

        Raises:
            InternalError: our own fault; the message holds the case.
            Interrupted: a signal ended the run; `found` has the results so far, and `unasked` the rest.
            ResourceError: the system refused a worker what it needs; the results are as after an interruption.
            TargetError: a target can no longer be loaded.
        """
        numbered = [(number, case, indices) for number, (case, indices) in enumerate(items) if indices]
        if self.pool is None:
            return self._serial(numbered, targets, progress)
        # Neighbours in the plan cost about the same, so dealing in strides makes chunks of equal cost. If there are
        # only a few cases, they may be large, and are spread over all workers.
        strides = max(1, -(-len(numbered) // CHUNK), min(len(numbered), MOST_WORKERS))
        chunks = [tuple(numbered[at::strides]) for at in range(strides)] if numbered else []
        found = self.found = {}
        pending: dict[Job, Task] = dict(self._schedule(self.pool, chunk, targets) for chunk in chunks)
        try:
            self._gather(self.pool, pending, targets, found, progress)
        except (Interrupted, InternalError) as error:
            refused = refusal(error)
            if refused is None and isinstance(error, InternalError):
                raise
            self.pool.stop()
            for job, task in pending.items():
                self._take(task, job, found)
            left = ((number, index) for number, _, indices in numbered for index in indices)
            self.unasked |= {each: "not asked: the run was interrupted" for each in left if each not in found}
            if refused is not None:
                raise ResourceError(refused) from None
            raise
        return dict(sorted(found.items()))

    def _gather(
        self, pool: Pool, pending: dict[Job, Task], targets: Sequence[Target], found: Found, progress: Progress
    ) -> None:
        """Collect the results of `pending` jobs, and schedule again what they leave."""
        while pending:
            wait(pending, return_when=FIRST_COMPLETED)
            for job in [each for each in pending if each.done()]:
                task = pending.pop(job)
                rest = self._collect(task, job, found)
                progress.advance(len(task.items) - len(rest))
                if rest:
                    again, task = self._schedule(pool, rest, targets)
                    pending[again] = task

    def afterwards(self, cases: Sequence[Case], targets: Sequence[Target]) -> None:
        """Repeat some calls of every target, see `workers.afterwards`; add what that shows to `found`.

        Raises:
            InternalError: our own fault.
            Interrupted: a signal ended the run.
        """
        pool, found = self.pool, self.found
        if pool is None:
            return
        asked: list[tuple[int, list[int], Job]] = []
        for index, target in enumerate(targets):
            numbers = chosen(target, cases, {number: each for (number, at), each in found.items() if at == index})
            if numbers and not self._given_up(index):
                told = [(cases[number], found[number, index].digest) for number in numbers]
                asked.append((index, numbers, pool.submit(Work(run_afterwards, (target, told, self.limits, CALLS)))))
        for index, numbers, job in asked:
            error = job.exception()
            if isinstance(error, TargetError | Ended):
                # It was loaded in the run; or a worker was ended from outside, which decides nothing.
                said = [(0, f"after the run, {error}")] if isinstance(error, TargetError) else []
            elif error is not None:
                msg = f"{job.trace or error}"
                raise InternalError(msg) from error
            else:
                said = job.result()
            for at, message in said:
                found[numbers[at], index] = with_failure(found[numbers[at], index], message)

    def _schedule(self, pool: Pool, items: Items, targets: Sequence[Target]) -> tuple[Job, Task]:
        task = Task(items, tuple(targets), self.folder, self.limits, self.cache)
        return pool.submit(Work(run_task, (task,), START_SECONDS)), task

    def _collect(self, task: Task, job: Job, found: Found) -> Items:
        """Add the results of an ended task to `found`; return the part of it that is left to do."""
        error = job.exception()
        self._take(task, job, found)
        if isinstance(error, Ended):
            self._blame(error.end, task, found)
        elif isinstance(error, TargetError):
            raise error
        elif error is not None:
            msg = f"{_where(job.step.place, task)}{job.trace or error}"
            raise InternalError(msg) from error
        left = (
            (number, case, tuple(index for index in indices if self._to_ask(number, index, found)))
            for number, case, indices in task.items
        )
        return tuple(item for item in left if item[2])

    def _take(self, task: Task, job: Job, found: Found) -> None:
        """Add what a job has told to `found`, whatever became of the job."""
        for word, *content in job.told:
            if word == "done":
                number, index, result = content
                found[number, index] = result
                self._count(result.fate, index, task)
            elif word == "modes":
                self._note_modes(task.targets[content[0]], content[1], content[2])
            else:
                self.tally += content[0]

    def _to_ask(self, number: int, index: int, found: Found) -> bool:
        """Whether a case is still to be tried on a target; if the target was given up, note the reason."""
        if (number, index) in found:
            return False
        reason = self._given_up(index)
        if reason:
            self.unasked[number, index] = f"not asked: {reason}, and it was given up"
        return not reason

    def _given_up(self, index: int) -> str:
        """Why a target is given up; "" if it is not."""
        if self.hangs[index] >= HANGS:
            return f"{HANGS} cases before had no answer in {self.limits.seconds:g} s each"
        return f"{DEATHS} calls before ended the process" if self.deaths[index] >= DEATHS else ""

    def _count(self, fate: Fate | None, index: int, task: Task) -> None:
        """Count how the host of a target ended, and give the target up if that was too often."""
        self.hangs[index] += fate is Fate.TIME
        self.deaths[index] += fate not in {None, Fate.TIME}
        if fate is not None and self._given_up(index):
            task.given_up(index).touch()

    def _blame(self, end: End, task: Task, found: Found) -> None:
        """Record the end of a worker at the case that it was working on.

        Raises:
            InternalError: too many workers were lost.
        """
        place = end.step.place
        self.losses[place] += 1
        if end.step.doing is Doing.OWN and end.timed_out:
            # The target is not to blame for a slow truth or judgement: the case stays undecided.
            note = f"the truth of the case, or judging it, took more than {self.limits.own_seconds:g} s"
            undecided = CaseResult({ACCURACY: CheckResult(Judgement(undecided=1))}, note=note)
            indices = next(indices for at, _, indices in task.items if at == place[0])
            found.update({(place[0], index): undecided for index in indices if (place[0], index) not in found})
        elif len(place) == ASKING and self.losses[place] > 1:
            # Once may be chance. Twice at the same case of a target, when only its host is asked, is its doing.
            crash = CheckResult(crash=f"the process that asked it ended twice: {end.how}")
            found[place[0], place[1]] = CaseResult({ACCURACY: crash}, fate=Fate.DEATH)
            self._count(Fate.DEATH, place[1], task)
        elif self.lost < SPARE_WORKERS:
            # The system, or somebody, may end a worker.
            self.lost += 1
        else:
            msg = f"{_where(place, task)}a worker process ended: {end.how}"
            raise InternalError(msg)

    def _serial(
        self, items: list[tuple[int, Case, tuple[int, ...]]], targets: Sequence[Target], progress: Progress
    ) -> Found:
        found = self.found = {}
        store = store_of(self.cache)
        for number, case, indices in items:
            inputs = inputs_of(case)
            with lookup(store):
                for index in indices:
                    local, contract = local_of(targets[index]), targets[index].contract
                    meant = resolve(inputs, contract)
                    truth, undecided = truth_for(case, meant, contract)
                    found[number, index] = judge_target(case, meant, truth, local, undecided=undecided)
                    self._note_modes(targets[index], *local.modes)
            progress.advance(1)
        self.tally += Tally() if store is None else store.take()
        return found


def _where(place: tuple[Any, ...], task: Task) -> str:
    """Return the beginning of a message about a step at `place`: its case, if the task has it."""
    case = next((case for number, case, _ in task.items if place and number == place[0]), None)
    return "" if case is None else f"in the case {case.text!r}:\n"


@contextmanager
def runner(
    *,
    serial: bool = False,
    limits: Limits | None = None,
    workers: Workers | None = None,
    cache: CacheFile | None = None,
    spare: bool = False,
) -> Iterator[Runner]:
    """Provide a runner with its worker processes, and kill them at the end.

    Args:
        serial: run everything in this process, without time limits: for tests.
        limits: of every case.
        workers: the number of processes.
        cache: where truths are kept; None: nowhere.
        spare: every worker starts a host at once, because it will need one.
    """
    chosen = limits or Limits()
    if serial:
        yield Runner(None, "", chosen, cache)
        return
    with ExitStack() as stack:
        folder = folders.new()
        stack.callback(folders.remove, folder)
        size = workers or Workers()
        with threads_limited(size.threads):
            pool = Pool(size.count, Work(prepare, (spare,), START_SECONDS))
            try:
                yield Runner(pool, str(folder), chosen, cache)
            finally:
                pool.stop()


def with_patience(limits: Limits, seconds: float = COLD_SECONDS) -> Limits:
    """Return `limits` with at least `seconds` for a case, for a first run, which compiles."""
    return replace(limits, seconds=max(limits.seconds, seconds))


def compiles(target: Target) -> bool:
    """Whether calls of `target` may take minutes because they compile.

    The first calls of foreign kernels for a GPU compile and tune them. The numba backend caches compiled functions on
    disk, but the cache may lack some, and on a busy machine each takes a while to compile.
    """
    module = target.place.module
    return module == f"{BUILT_IN}numba" or (target.device == "cuda" and not module.startswith(BUILT_IN))
