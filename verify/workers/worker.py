"""The worker: compute the truth of a case once, then ask every target, which lives in a host, and judge its answers.

A worker runs no code of a target, so its end is never a target's doing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families import families
from kernelproof.verify.cases.inputs import inputs_of, resolve
from kernelproof.verify.checks import checks
from kernelproof.verify.hosts.process import ADOPTS, Fate
from kernelproof.verify.hosts.remote import LOAD_SECONDS, Remote, start_spare
from kernelproof.verify.hosts.respondent import Respondent, local_of
from kernelproof.verify.process.blame import Doing
from kernelproof.verify.process.journal import Journal
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.target import Target
from kernelproof.verify.truth.cache import CacheFile, store_of
from kernelproof.verify.truth.lookup import load_oracle, lookup, truth_for
from kernelproof.verify.workers.afterwards import repeated
from kernelproof.verify.workers.judge import History, judge_target
from kernelproof.verify.workers.tasks import Task

GRACE = 30.0
"""Seconds that a worker may take beyond the limits of its steps, before it is taken to hang."""
_KNOWN: dict[Target, tuple[Remote, History]] = {}


def folder_of(cache: CacheFile | None) -> str:
    """The folder of the cache of truths; "" without one."""
    return "" if cache is None else str(Path(cache.file).parent)


def remote_of(target: Target, limits: Limits, cache: CacheFile | None = None) -> tuple[Remote, History]:
    """Return `target` in its host, which belongs to this process, and what its failures have shown so far."""
    if target not in _KNOWN:
        _KNOWN[target] = Remote(target, limits, folder_of(cache)), History()
    remote, history = _KNOWN[target]
    remote.limits = limits
    return remote, history


def outcomes_of(target: Target, case: Case, calls: Sequence[Call], limits: Limits | None) -> list[Outcome] | str:
    """What `target` does with `calls`, or how its process ended, without times.

    Args:
        target: the target.
        case: the case.
        calls: of the case, or of the case at other orders.
        limits: of the calls together; None: the target is called in this process, for tests.
    """
    asked: Respondent = local_of(target) if limits is None else remote_of(target, limits)[0]
    outcomes = asked.answer(case, calls)
    if asked.fate is None:
        return outcomes
    return "no answer in the time allowed" if asked.fate is Fate.TIME else str(outcomes[-1].crash)


def prepare(_: Journal, spare: bool = False) -> None:
    """Prepare a new worker: import the oracle.

    Args:
        spare: start a host at once, which imports at the same time.
    """
    # `service.serve` has made this process the parent of what its hosts leave.
    ADOPTS.append(True)
    if spare:
        start_spare()
    with suppress(ImportError):
        load_oracle()


def run_task(journal: Journal, task: Task) -> None:
    """Do `task`, and write every result to the journal as soon as it is known.

    Records: ("truth", tally), ("done", case, target, CaseResult), ("modes", target, after loading, after its calls);
    cases and targets are given by their index. The place of a step begins with the case. The function returns early
    if the host of a target ended, so that the runner can count that before the next case.
    """
    # Our own imports come before the limits, so that they do not count as time of a case.
    checks()
    families()
    load_oracle()
    for number, case, indices in task.items:
        left = tuple(index for index in indices if not task.given_up(index).exists())
        with lookup(store_of(task.cache)):
            if left and not _run_case(journal, task, number, case, left):
                return


def run_afterwards(
    journal: Journal, target: Target, cases: Sequence[tuple[Case, str]], limits: Limits, further: int
) -> list[tuple[int, str]]:
    """Which of `cases`, each with the digest that it had in the run, gives other bits at its end, and in which way.

    `further` calls are made before.
    """
    remote, _ = remote_of(target, limits)
    journal.allow(None)
    remote.load()
    return repeated(remote, cases, limits.seconds + LOAD_SECONDS, further)


def _run_case(journal: Journal, task: Task, number: int, case: Case, indices: tuple[int, ...]) -> bool:
    """Judge the targets `indices` on a case; whether all hosts lived."""
    limits, store = task.limits, store_of(task.cache)
    journal.step(Doing.OWN, number, seconds=limits.own_seconds)
    built = inputs_of(case)
    meant = [resolve(built, task.targets[index].contract) for index in indices]
    held = [truth_for(case, each, task.targets[index].contract) for index, each in zip(indices, meant, strict=True)]
    if store is not None:
        journal.tell("truth", store.take())
    for index, inputs, (truth, undecided) in zip(indices, meant, held, strict=True):
        remote, history = remote_of(task.targets[index], limits, task.cache)
        # The imports of the target have a limit of their own.
        journal.step(Doing.OWN, number, index)
        journal.allow(None)
        remote.load()
        journal.allow(limits.own_seconds + limits.seconds + GRACE)
        result = judge_target(case, inputs, truth, remote, undecided=undecided, history=history)
        if store is not None:
            # Checks and hints look up truths too.
            journal.tell("truth", store.take())
        journal.tell("done", number, index, result)
        journal.tell("modes", index, *remote.modes)
        journal.step(Doing.BETWEEN, number, index)
        if result.fate is not None:
            return False
    return True
