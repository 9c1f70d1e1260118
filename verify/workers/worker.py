"""The worker: compute the truth of a case once, then run every target and check on it.

Whatever a target does to its process, the parent must know how far the worker got. So the worker announces each call in
the journal before it makes it, see `kernelproof.verify.process.child`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families import families
from kernelproof.verify.cases.inputs import inputs_of, resolve
from kernelproof.verify.checks import checks
from kernelproof.verify.process.blame import Doing
from kernelproof.verify.process.journal import Journal
from kernelproof.verify.process.limits import Limits, exhausted, limit_data
from kernelproof.verify.targets.target import Target
from kernelproof.verify.truth.cache import store_of
from kernelproof.verify.truth.lookup import load_oracle, lookup, truth_for
from kernelproof.verify.workers.guard import SINKS, Guard, Sink
from kernelproof.verify.workers.judge import JUDGING, judge_target
from kernelproof.verify.workers.tasks import Task

_GUARDS: dict[Target, Guard] = {}


def guard_of(target: Target) -> Guard:
    """Return the guard of `target` in this process; load the target if necessary."""
    if target not in _GUARDS:
        _GUARDS[target] = Guard.load(target, SINKS[0] if SINKS else None)
    return _GUARDS[target]


def prepare(_: Journal, modules: tuple[str, ...]) -> None:
    """Prepare a new worker: make a sink for what targets print, and import the oracle and `modules`.

    Args:
        modules: only our own and built-in ones; if one cannot be imported, the code that uses it reports that.
    """
    SINKS.append(Sink())
    with suppress(ImportError):
        load_oracle()
    for name in modules:
        with suppress(ImportError):
            import_module(name)


def limit_memory(limits: Limits, targets: Sequence[Target]) -> None:
    """Limit the memory of calls on Linux, unless a target uses CUDA, which maps far more memory than it uses."""
    if sys.platform == "linux" and all(target.device == "cpu" for target in targets):
        limit_data(limits.memory)


def run_task(journal: Journal, task: Task) -> None:
    """Do `task`, and write every result to the journal as soon as it is known.

    Records: ("truth", tally), ("done", case, target, CaseResult), ("modes", target, after loading, after its calls);
    cases and targets are given by their index. The place of a step begins with the case; that of a call is (case,
    target, check, call). The function returns early if targets hold so much memory that the process has to retire.
    """
    # Our own imports come before the limits, so that they do not count as time of the target.
    checks()
    families()
    load_oracle()
    fresh = False
    for index in sorted({index for _, _, indices in task.items for index in indices}):
        fresh |= task.targets[index] not in _GUARDS
        journal.step(Doing.LOADING, index)
        guard_of(task.targets[index])
    if fresh:
        limit_memory(task.limits, task.targets)
    for number, case, indices in task.items:
        left = tuple(index for index in indices if not task.given_up(index).exists())
        if left:
            with lookup(store_of(task.cache)):
                _run_case(journal, task, number, case, left)
        if exhausted():
            # Memory that one target does not free would be missing for the next.
            return


def _run_case(journal: Journal, task: Task, number: int, case: Case, indices: tuple[int, ...]) -> None:
    limits, store = task.limits, store_of(task.cache)
    journal.step(Doing.OWN, number, seconds=limits.own_seconds)
    built = inputs_of(case)
    meant = [resolve(built, task.targets[index].contract) for index in indices]
    # Find all truths before the first target runs, so that no target can be to blame if the process dies here.
    held = [truth_for(case, each, task.targets[index].contract) for index, each in zip(indices, meant, strict=True)]
    if store is not None:
        journal.tell("truth", store.take())
    for index, inputs, (truth, undecided) in zip(indices, meant, held, strict=True):

        def step(check: str, call: str, index: int = index) -> None:
            if call == JUDGING:
                journal.step(Doing.OWN, number, seconds=limits.own_seconds)
            else:
                journal.step(Doing.CALLING, number, index, check, call, call=call)

        # All calls of a target on a case share one limit.
        journal.allow(limits.seconds)
        guard = guard_of(task.targets[index])
        returned = partial(journal.returned, number, index)
        result = judge_target(case, inputs, truth, guard, step, undecided=undecided, returned=returned)
        if store is not None:
            # Checks and hints look up truths too.
            journal.tell("truth", store.take())
        journal.tell("done", number, index, result)
        journal.tell("modes", index, guard.loaded, guard.after or guard.loaded)
        journal.step(Doing.BETWEEN, number, index)
