"""The runner: deals the cases of a run to worker processes and collects what they say, in the order of the cases.

The parent only coordinates. A worker that dies takes one case of one target with it: the journal says which,
the runner records a crash for it and gives the rest to another worker. Results do not depend on scheduling.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from kernelproof.reference.errors import KernelproofError, TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of, resolve
from kernelproof.verify.process.environment import environment
from kernelproof.verify.process.journal import JUDGING, RETURNED, Journal, given_up
from kernelproof.verify.process.spawning import Context, how_ended, threads_limited
from kernelproof.verify.progress import Progress
from kernelproof.verify.records import ACCURACY, Judgement
from kernelproof.verify.targets.target import BUILT_IN, Place, Target
from kernelproof.verify.truth.cache import Place as CachePlace
from kernelproof.verify.truth.cache import Tally, store_of
from kernelproof.verify.truth.lookup import lookup, truth_for
from kernelproof.verify.workers.guard import described
from kernelproof.verify.workers.judge import judge_target
from kernelproof.verify.workers.tasks import CaseResult, CheckResult, Limits, Task
from kernelproof.verify.workers.worker import guard_of, prepare, run_task

PATIENCE = 3
"""Workers that may be lost outside of any call before the run gives up."""
HANGS = 5
"""Calls of a target without an answer before it is asked no more: each costs the whole time limit."""
DEATHS = 20
"""Ends of a target's process before it is asked no more: each costs a new process."""
CHUNK = 12
"""Cases a task; few enough that the workers end together."""
MOST_WORKERS = 8
"""Each worker holds every target: with PyTorch and CUDA that is a gigabyte."""

WATCH = 1.0
"""Seconds between two looks at whether workers still say something."""
GRACE = 10.0
"""Seconds of silence that are allowed beyond the time limits, which a worker minds itself."""
COLD_SECONDS = 300.0
"""Time limit of a case while something compiles for the first time."""

Found = dict[tuple[int, int], CaseResult]
"""Results by index of case and of target."""


class InternalError(KernelproofError):
    """Our own fault: an oracle or a check raised, or a worker died outside the target."""


@dataclass(frozen=True)
class Workers:
    """How many processes, of how many threads each."""

    count: int = field(default_factory=lambda: max(1, min(os.cpu_count() or 1, MOST_WORKERS)))

    @property
    def threads(self) -> int:
        """What is left of the cores for each; more threads than cores wait for each other in every small call."""
        return max(1, (os.cpu_count() or 1) // self.count)


class Runner:
    """Runs things where a target cannot hurt: in a pool of processes, or for tests in this one.

    Args:
        pool: the processes; None means this one.
        folder: for journals.
        limits: of every case.
        cache: where truths are kept; None: nowhere.

    Attributes:
        unasked: why a case was not asked of a target, by index of both, where a target was given up.
    """

    def __init__(self, pool: Any, folder: str, limits: Limits, cache: CachePlace | None = None) -> None:
        self.pool, self.folder, self.limits, self.cache = pool, Path(folder), limits, cache
        self.tally = Tally()
        self.tasks = 0
        self.lost = 0
        self.hangs: Counter[int] = Counter()
        self.ends: Counter[int] = Counter()
        self.unasked: dict[tuple[int, int], str] = {}
        self.modes: dict[str, dict[str, Any]] = {}

    def describe(self, places: Sequence[Place]) -> list[list[Target] | str]:
        """What `described` says of every place.

        Raises:
            TargetError: one cannot be loaded, or its import ends the process.
        """
        if self.pool is None:
            return [described(place) for place in places]
        asked = {"seconds": self.limits.seconds, "memory": self.limits.memory}
        longest = self._longest
        futures = [
            (place, self.pool.schedule(described, args=[place], kwargs=asked, timeout=longest)) for place in places
        ]
        return [self._described(place, future) for place, future in futures]

    def _described(self, place: Place, future: Future[list[Target] | str]) -> list[Target] | str:
        try:
            return future.result()
        except (ProcessExpired, TimeoutError):
            # A call that ends the process is for the cases to show; an import that does so leaves nothing to ask.
            again = self.pool.schedule(described, args=[place], kwargs={"probe": False}, timeout=self._longest)
        try:
            found: list[Target] | str = again.result()
        except ProcessExpired as error:
            how = how_ended(error.exitcode)
            msg = f"the target {place.name!r} cannot be loaded: importing it ended the process ({how})"
            raise TargetError(msg) from None
        except TimeoutError:
            msg = f"the target {place.name!r} cannot be loaded: importing it took more than {self._longest:g} s"
            raise TargetError(msg) from None
        return found

    @property
    def _longest(self) -> float:
        """Seconds after which a worker that says nothing is ended from outside."""
        return self.limits.seconds * max(self.limits.patience, 1.0) + GRACE

    def environment(self, *, with_torch: bool, seed: int) -> Any:
        """A future of the environment of a worker."""
        return self.submit(environment, with_torch=with_torch, seed=seed)

    def _note_modes(self, target: Target, loaded: dict[str, Any], after: dict[str, Any]) -> None:
        """Keep the modes of arithmetic of a target: of all its processes, what its calls changed if they did."""
        name = f"{target.name} on {target.device}"
        held = self.modes.get(name)
        if held is None or held["after its calls"] == held["after loading"]:
            self.modes[name] = {"after loading": loaded, "after its calls": after}

    def submit(self, function: Any, **arguments: Any) -> Future[Any]:
        """A future of ``function(**arguments)``."""
        if self.pool is not None:
            scheduled: Future[Any] = self.pool.schedule(function, kwargs=arguments)
            return scheduled
        done: Future[Any] = Future()
        done.set_result(function(**arguments))
        return done

    def run(
        self, items: Sequence[tuple[Case, tuple[int, ...]]], targets: Sequence[Target], progress: Progress
    ) -> Found:
        """The result of every case on each of its targets.

        Args:
            items: cases, each with the indices of the targets to try on it.
            targets: all of them.
            progress: is told of every case.

        Raises:
            InternalError: our own fault; the message holds the case.
        """
        numbered = [(number, case, indices) for number, (case, indices) in enumerate(items) if indices]
        if self.pool is None:
            return self._serial(numbered, targets, progress)
        # Neighbours in the plan cost about the same: dealing in strides makes chunks of equal cost. A few cases may be
        # large ones, and are spread over all workers.
        strides = max(1, -(-len(numbered) // CHUNK), min(len(numbered), MOST_WORKERS))
        waiting = (
            {self._schedule(tuple(numbered[at::strides]), targets) for at in range(strides)} if numbered else set()
        )
        found: Found = {}
        pending = dict(waiting)
        while pending:
            ready, _ = wait(pending, timeout=WATCH, return_when=FIRST_COMPLETED)
            if not ready:
                self._end_silent(pending)
            for future in ready:
                task = pending.pop(future)
                rest = self._collect(task, future, found)
                progress.advance(len(task.items) - len(rest))
                if rest:
                    again, task = self._schedule(rest, targets)
                    pending[again] = task
        return dict(sorted(found.items()))

    def _end_silent(self, pending: Mapping[Future[None], Task]) -> None:
        """End workers whose own watchdog is silent: stopped, or switched off by a target."""
        for future, task in pending.items():
            journal = Path(task.journal)
            with suppress(FileNotFoundError):
                if time.time() - journal.stat().st_mtime > self._longest:
                    future.cancel()

    def _schedule(
        self, items: tuple[tuple[int, Case, tuple[int, ...]], ...], targets: Sequence[Target]
    ) -> tuple[Future[None], Task]:
        self.tasks += 1
        path = str(self.folder / f"{self.tasks}.journal")
        task = Task(items, tuple(targets), path, self.limits, self.cache)
        return self.pool.schedule(run_task, args=[task]), task

    def _collect(self, task: Task, future: Future[None], found: Found) -> tuple[tuple[int, Case, tuple[int, ...]], ...]:
        """Take the results of an ended task into `found`; what is left to do, if its worker died."""
        ended = future.cancelled()
        error = None if ended else future.exception()
        journal = Path(task.journal)
        records = list(Journal.read(task.journal)) if journal.exists() else []
        cases = {number: case for number, case, _ in task.items}
        for record in records:
            if record[0] == "done":
                found[record[1], record[2]] = record[3]
            elif record[0] == "modes":
                self._note_modes(task.targets[record[1]], record[2], record[3])
            elif record[0] == "truth":
                self.tally += record[2]
            elif record[0] == "fault":
                msg = f"in the case {cases[record[1]].text!r}:\n{record[2]}"
                raise InternalError(msg)
        trace = Path(task.journal + ".trace")
        timed_out = trace.exists() and "Timeout" in trace.read_text(encoding="utf-8", errors="replace")
        for path in (journal, trace):
            path.unlink(missing_ok=True)
        self._note_returned(records, found)
        if error is not None and not isinstance(error, ProcessExpired):
            raise InternalError(str(error)) from error
        if error is not None or ended:
            how = "it answered nothing" if error is None else how_ended(error.exitcode)
            if not records or records[-1][0] != "retired":
                self._blame(records, cases, found, timed_out=timed_out or ended, how=how, task=task)
        left = (
            (number, case, tuple(index for index in indices if self._to_ask(number, index, found)))
            for number, case, indices in task.items
        )
        return tuple(item for item in left if item[2])

    def _to_ask(self, number: int, index: int, found: Found) -> bool:
        """Whether a case is still to be asked of a target; if that was given up, why it is not is kept."""
        if (number, index) in found:
            return False
        reason = self._given_up(index)
        if reason:
            self.unasked[number, index] = f"not asked: {reason}, and it was given up"
        return not reason

    def _given_up(self, index: int) -> str:
        """Why a target is asked no more; "" if it is."""
        if self.hangs[index] >= HANGS:
            return f"{HANGS} calls before gave no answer in {self.limits.seconds:g} s each"
        return f"{DEATHS} calls before ended the process" if self.ends[index] >= DEATHS else ""

    def _note_returned(self, records: list[tuple[Any, ...]], found: Found) -> None:
        """A call that forked and let its child come back is a crash of that case, whatever its own process answered."""
        for record in records:
            if record[0] == RETURNED:
                _, number, index, check, call = record
                result = found.get((number, index), CaseResult(calls=1))
                crash = CheckResult(crash=f"the {call} call: it forked, and the child came back as well")
                found[number, index] = replace(result, checks={**result.checks, check: crash})

    def _blame(
        self,
        records: list[tuple[Any, ...]],
        cases: dict[int, Case],
        found: Found,
        *,
        timed_out: bool,
        how: str,
        task: Task,
    ) -> None:
        """Record what ended a worker for the case and target it was at."""
        # What a child wrote is not where its parent was.
        own = [record for record in records if record[0] not in {RETURNED, "modes"}]
        last = own[-1] if own else ("start",)
        if last[0] == "step" and last[4] != JUDGING:
            _, number, index, check, call = last
            reason = f"no answer in {self.limits.seconds:g} s" if timed_out else f"the process ended: {how}"
            crash = CheckResult(crash=f"the {call} call: {reason}")
            found[number, index] = CaseResult({check: crash}, calls=1)
            self.hangs[index] += timed_out
            self.ends[index] += not timed_out
            if self._given_up(index):
                given_up(self.folder, index).touch()
        elif last[0] in {"truth", "step"} and timed_out:
            # Neither the truth nor a judgement is the target's to answer for: the case stays undecided.
            number = last[1]
            note = (
                f"the truth of the case, or judging it, took more than {self.limits.seconds * self.limits.patience:g} s"
            )
            undecided = CaseResult({ACCURACY: CheckResult(Judgement(undecided=1))}, note=note)
            indices = next(indices for at, _, indices in task.items if at == number)
            found.update({(number, index): undecided for index in indices if (number, index) not in found})
        elif last[0] == "load":
            msg = f"the target {task.targets[last[1]].name!r} cannot be loaded: loading it ended the process ({how})"
            raise TargetError(msg)
        elif self.lost < PATIENCE:
            # Between two calls a worker may be lost to a thread that a target left behind, or to the system.
            self.lost += 1
        elif last[0] == "done":
            # Time and again, and always after the calls of a target: it is that target's.
            number, index = last[1], last[2]
            crash = CheckResult(crash=f"after its calls the process ended: {how}")
            found[number, index] = replace(
                found[number, index], checks={**found[number, index].checks, ACCURACY: crash}
            )
        else:
            where = f" in the case {cases[last[1]].text!r}" if len(last) > 1 and last[1] in cases else ""
            msg = f"a worker process ended{where} outside of any target: {how}"
            raise InternalError(msg)

    def _serial(
        self, items: list[tuple[int, Case, tuple[int, ...]]], targets: Sequence[Target], progress: Progress
    ) -> Found:
        found: Found = {}
        store = store_of(self.cache)
        for number, case, indices in items:
            inputs = inputs_of(case)
            with lookup(store):
                for index in indices:
                    guard, contract = guard_of(targets[index]), targets[index].contract
                    meant = resolve(inputs, contract)
                    truth, undecided = truth_for(case, meant, contract)
                    found[number, index] = judge_target(case, meant, truth, guard, lambda *_: None, undecided=undecided)
                    self._note_modes(targets[index], guard.loaded, guard.after or guard.loaded)
            progress.advance(1)
        self.tally += Tally() if store is None else store.take()
        return found


@contextmanager
def runner(
    *,
    preload: tuple[str, ...] = (),
    serial: bool = False,
    limits: Limits | None = None,
    workers: Workers | None = None,
    cache: CachePlace | None = None,
) -> Iterator[Runner]:
    """A runner with its worker processes, which end with it.

    Args:
        preload: modules that every worker imports at once, so that they do not do it one after the other.
        serial: in this process, without time limits: for tests.
        limits: of every case.
        workers: how many processes.
        cache: where truths are kept; None: nowhere.
    """
    chosen = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="kernelproof-") as folder:
        if serial:
            yield Runner(None, folder, chosen, cache)
            return
        size = workers or Workers()
        with threads_limited(size.threads):
            pool = ProcessPool(max_workers=size.count, initializer=prepare, initargs=[preload], context=Context())
            try:
                yield Runner(pool, folder, chosen, cache)
            finally:
                pool.stop()  # type: ignore[no-untyped-call]
                pool.join()


def with_patience(limits: Limits, seconds: float = COLD_SECONDS) -> Limits:
    """`limits` with at least `seconds` a case: for a first run that compiles."""
    return replace(limits, seconds=max(limits.seconds, seconds))


def compiles(target: Target) -> bool:
    """Whether first calls of `target` may take minutes: foreign kernels for a GPU compile, and tune themselves."""
    return target.device == "cuda" and not target.place.module.startswith(BUILT_IN)
