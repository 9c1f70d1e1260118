"""The worker process: truth once per case, then every target and check on it, with a journal and a watchdog.

Whatever a target does to its process, the parent must know how far it came. So a worker appends to a journal
before each call and after each result; the parent reads it when the task ends, in whichever way. The watchdog
of `faulthandler` is a thread of C code: it ends the process also if the target holds the interpreter's lock.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TextIO

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families import families
from kernelproof.verify.cases.inputs import inputs_of, resolve
from kernelproof.verify.checks import checks
from kernelproof.verify.process.journal import JUDGING, RETURNED, Journal, given_up
from kernelproof.verify.process.limits import exhausted, limit_data
from kernelproof.verify.targets.target import Target
from kernelproof.verify.truth.cache import Tally, store_of
from kernelproof.verify.truth.lookup import load_oracle, lookup, truth_for
from kernelproof.verify.workers.guard import SINKS, Guard, Sink
from kernelproof.verify.workers.judge import judge_target
from kernelproof.verify.workers.tasks import Limits, Task

_GUARDS: dict[Target, Guard] = {}


def guard_of(target: Target) -> Guard:
    """The loaded target of this process."""
    if target not in _GUARDS:
        _GUARDS[target] = Guard.load(target, SINKS[0] if SINKS else None)
    return _GUARDS[target]


def prepare(modules: tuple[str, ...]) -> None:
    """What a new worker does first: make a sink for what targets print, and import the oracle and what it will need.

    Args:
        modules: our own and built-in ones only; what does not import is left for its user to report.
    """
    SINKS.append(Sink())
    with suppress(ImportError):
        load_oracle()
    for name in modules:
        with suppress(ImportError):
            import_module(name)


def limit_memory(limits: Limits, targets: Sequence[Target]) -> None:
    """Limit the data of calls; not with CUDA, which maps far more than it uses, and not where the system cannot."""
    if sys.platform == "linux" and all(target.device == "cpu" for target in targets):
        limit_data(limits.memory)


def run_task(task: Task) -> None:
    """Do `task`; results go to its journal.

    Records: ("load", target), ("truth", case, tally), ("step", case, target, check, call), (RETURNED, case, target,
    check, call) by a child, ("done", case, target, CaseResult), ("modes", target, after loading, after its calls),
    ("retired",) by a worker whose memory targets hold, ("fault", case, traceback) for an error of ours.
    """
    journal = Journal(task.journal)
    with Path(task.journal + ".trace").open("w", encoding="utf-8") as trace:
        _run_items(task, journal, trace)


def _run_items(task: Task, journal: Journal, trace: TextIO) -> None:
    try:
        # Imports of ours come before the watchdog: they are not the target's time.
        checks()
        families()
        load_oracle()
        fresh = False
        for index in sorted({index for _, _, indices in task.items for index in indices}):
            fresh |= task.targets[index] not in _GUARDS
            journal.add("load", index)
            guard_of(task.targets[index])
        if fresh:
            limit_memory(task.limits, task.targets)
        for number, case, indices in task.items:
            left = tuple(index for index in indices if not given_up(Path(task.journal).parent, index).exists())
            if left:
                _run_case(task, number, case, left, journal, trace)
            if exhausted():
                # What one target does not give back, another one would lack.
                journal.add("retired")
                os._exit(0)
    finally:
        faulthandler.cancel_dump_traceback_later()
        os.close(journal.descriptor)


def _run_case(task: Task, number: int, case: Case, indices: tuple[int, ...], journal: Journal, trace: TextIO) -> None:
    try:
        with lookup(store_of(task.cache)):
            _judge_targets(task, number, case, indices, journal, trace)
    except Exception:  # noqa: BLE001 (an exception of ours is reported as such, not as the target's)
        journal.add("fault", number, traceback.format_exc())
    finally:
        faulthandler.cancel_dump_traceback_later()


def _judge_targets(
    task: Task, number: int, case: Case, indices: tuple[int, ...], journal: Journal, trace: TextIO
) -> None:
    journal.add("truth", number, Tally())
    seconds, store = task.limits.seconds, store_of(task.cache)
    faulthandler.dump_traceback_later(seconds * task.limits.patience, exit=True, file=trace)
    built = inputs_of(case)
    meant = [resolve(built, task.targets[index].contract) for index in indices]
    # All of it before the first target runs, so that a death here is told from one of a target.
    held = [truth_for(case, each, task.targets[index].contract) for index, each in zip(indices, meant, strict=True)]
    if store is not None:
        journal.add("truth", number, store.take())
    for index, inputs, (truth, undecided) in zip(indices, meant, held, strict=True):

        def step(check: str, call: str, index: int = index) -> None:
            journal.add("step", number, index, check, call)
            if call == JUDGING:
                faulthandler.dump_traceback_later(seconds * task.limits.patience, exit=True, file=trace)

        faulthandler.dump_traceback_later(seconds, exit=True, file=trace)
        guard = guard_of(task.targets[index])
        returned = partial(journal.add, RETURNED, number, index)
        result = judge_target(case, inputs, truth, guard, step, undecided=undecided, returned=returned)
        if store is not None:
            # Checks and remarks look for truths too.
            journal.add("truth", number, store.take())
        journal.add("done", number, index, result)
        journal.add("modes", index, guard.loaded, guard.after or guard.loaded)
