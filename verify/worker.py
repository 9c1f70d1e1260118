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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.errors import DomainError, UndecidedError
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.building import bulky, spared
from kernelproof.verify.cache import Place as CachePlace
from kernelproof.verify.cache import Store, Tally, store_of
from kernelproof.verify.calling import Calling
from kernelproof.verify.case import Case
from kernelproof.verify.causal import aligned
from kernelproof.verify.discovery import checks, families
from kernelproof.verify.guarding import SINKS, Guard, Sink
from kernelproof.verify.hints import hints
from kernelproof.verify.journal import JUDGING, RETURNED, Journal, given_up
from kernelproof.verify.probing import exhausted, limit_data
from kernelproof.verify.seams import Call, Contract, Errors, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.targets import Target

GIBIBYTE = 2**30
TRUTH = "kernelproof.verify.truth"
"""Loaded by name: it is slow to import, and the parent process does without."""


@dataclass(frozen=True)
class Limits:
    """What a case may use.

    Attributes:
        seconds: of the calls of one target on one case; its truth, and judging it, may take `patience` times as long.
        memory: bytes of data beyond what the worker holds after loading, where the system can limit it.
    """

    seconds: float = 60.0
    memory: int = 4 * GIBIBYTE
    patience: float = 5.0


@dataclass(frozen=True)
class Task:
    """Cases, each with the indices of the targets to try on it.

    Attributes:
        items: (index of the case, case, indices of targets).
        targets: all targets of the run.
        journal: path of the journal.
        limits: of every case.
        cache: where truths are kept; None: nowhere.
    """

    items: tuple[tuple[int, Case, tuple[int, ...]], ...]
    targets: tuple[Target, ...]
    journal: str
    limits: Limits = field(default_factory=Limits)
    cache: CachePlace | None = None


@dataclass(frozen=True)
class Summary:
    """The errors of one output of one case, ready to be merged."""

    compared: int
    ulp_sum: float
    ulp_signed_sum: float
    absolute_max: float
    kappa_max: float
    ulps: NDArray[np.float32]

    @classmethod
    def of(cls, errors: Errors) -> Summary:
        """The summary of `errors`; ulps are signed there and absolute here."""
        ulps = np.abs(errors.ulp)
        with np.errstate(invalid="ignore", over="ignore"):
            return cls(
                compared=int(ulps.size),
                ulp_sum=float(ulps.sum()),
                ulp_signed_sum=float(errors.ulp.sum()),
                absolute_max=float(errors.absolute.max(initial=0.0)),
                kappa_max=float(errors.kappa.max(initial=0.0)),
                ulps=ulps.astype(np.float32).reshape(-1),
            )


@dataclass(frozen=True)
class CheckResult:
    """What one check said of one case and target.

    Attributes:
        judgement: without its errors.
        summaries: its errors, by output.
        crash: what ended the call, or None.
    """

    judgement: Judgement = field(default_factory=Judgement)
    summaries: dict[str, Summary] = field(default_factory=dict)
    crash: str | None = None


@dataclass(frozen=True)
class CaseResult:
    """What all checks said of one case and target.

    Attributes:
        checks: by id; only those that apply and that the target can answer.
        unsupported: ids of checks that apply and that the target cannot answer.
        calls: how many calls the target got.
        note: why nothing was decided, or "".
        remarks: what the target did beside answering: printed, left threads running.
    """

    checks: dict[str, CheckResult] = field(default_factory=dict)
    unsupported: tuple[str, ...] = ()
    calls: int = 0
    note: str = ""
    remarks: tuple[str, ...] = ()


Step = Callable[[str, str], None]


def _nobody(check: str, call: str) -> None:
    """Nobody is told."""


def judge_target(
    case: Case,
    inputs: Inputs,
    truth: Truth | None,
    caller: Calling | Guard,
    step: Step,
    *,
    undecided: str = "",
    returned: Step = _nobody,
    only: frozenset[str] | None = None,
) -> CaseResult:
    """Every check on one target; a call that several checks ask for is made once.

    Args:
        case: the case.
        inputs: of the case.
        truth: of the case.
        caller: the loaded target, with or without a guard around it.
        step: told (check, call) before each call, and ("", JUDGING) after the last.
        undecided: why there is no truth although the inputs are ordinary; then nothing is called.
        returned: told (check, call) in a child process that came back from a call.
        only: ids of the checks to make; None means all.
    """
    guard = caller if isinstance(caller, Guard) else Guard(caller)
    target = guard.caller.target
    scope = target.scope(case.op)
    assert scope is not None  # `Target.refuses` has seen to it
    inputs = aligned(inputs, target.contract)
    if truth is not None:
        inputs = spared(inputs, truth.empty, target.contract)
    if truth is not None and truth.gradients is not None and scope.gradients is not None:
        kept = {name: value for name, value in truth.gradients.items() if name in scope.gradients}
        truth = replace(truth, gradients=kept)
    asked = _asked(case, inputs, only)
    wanted = {
        name: {key: call for key, call in calls.items() if target.answers(case, call)} for name, calls in asked.items()
    }
    for name, calls in asked.items():
        # A check that is about another order or axis has nothing to say of a target that knows but one.
        special = any(map(_special, calls.values())) and not any(map(_special, wanted[name].values()))
        # And none can compare what the target gives with what it gives for inputs that it does not take.
        plain = {key for key, call in calls.items() if call.mode == "forward" and not _special(call)}
        if special or not (plain <= wanted[name].keys() or getattr(checks()[name], "apart", False)):
            wanted[name] = {}
    unsupported = tuple(name for name, calls in asked.items() if calls and not wanted[name])
    wanted = {name: calls for name, calls in wanted.items() if calls}
    if undecided:
        return CaseResult({name: CheckResult(Judgement(undecided=1)) for name in wanted}, unsupported, 0, undecided)
    made = _make(guard, case, wanted, step, returned)
    step("", JUDGING)
    found: dict[str, CheckResult] = {}
    for name, calls in wanted.items():
        outcomes = {key: made[_place(call)] for key, call in calls.items()}
        crash = next((each.crash for each in outcomes.values() if each.crash is not None), None)
        if crash is not None:
            found[name] = CheckResult(crash=crash)
            continue
        judgement = checks()[name].judge(case, inputs, truth, outcomes, target.contract)
        summaries = {output: Summary.of(errors) for output, errors in judgement.errors.items() if errors.ulp.size}
        found[name] = CheckResult(replace(judgement, errors={}), summaries)
    failed = tuple(name for name, said in found.items() if said.judgement.failed)

    def rejudge(name: str, meant: Inputs, contract: Contract) -> Judgement:
        outcomes = {key: made[_place(call)] for key, call in wanted[name].items()}
        meant = aligned(meant, contract)
        known = truth if meant is inputs else truths_for(case, meant)(contract)[0]
        return checks()[name].judge(case, meant, known, outcomes, contract)

    if failed and only is None:
        forward = made.get(_place(Call(inputs)))
        guard.remarks |= dict.fromkeys(hints(case, inputs, forward, failed, target.contract, rejudge))
    return CaseResult(found, unsupported, len(made), undecided, tuple(guard.remarks))


def _asked(case: Case, inputs: Inputs, only: frozenset[str] | None) -> dict[str, dict[str, Call]]:
    """The calls that each check needs; of bulky inputs only the checks that need the plain call alone have theirs."""
    chosen = {name: check for name, check in checks().items() if only is None or name in only}
    asked = {name: check.calls(case, inputs) for name, check in chosen.items()}
    if not bulky(inputs):
        return asked
    plain = _place(Call(inputs))
    return {name: calls for name, calls in asked.items() if all(_place(call) == plain for call in calls.values())}


def _make(
    guard: Guard, case: Case, wanted: dict[str, dict[str, Call]], step: Step, returned: Step
) -> dict[_Place, Outcome]:
    """The outcome of every call, each made once."""
    made: dict[_Place, Outcome] = {}
    with guard:
        for name, calls in wanted.items():
            for key, call in calls.items():
                if _place(call) not in made:
                    step(name, key)
                    made[_place(call)] = guard.call(case, call, partial(returned, name, key))
    return made


_Place = tuple[int, str, str | None, int]


def _place(call: Call) -> _Place:
    """What makes two calls the same: the very same inputs, in the same mode, at the same order and axis."""
    return id(call.inputs), call.mode, call.order, call.axis


def _special(call: Call) -> bool:
    return call.order is not None or call.axis != -1


def truths_for(
    case: Case, inputs: Inputs, store: Store | None = None
) -> Callable[[Contract], tuple[Truth | None, str]]:
    """Contract -> the truth of a case as it means it and in its units, computed once for each kind of both.

    The truth is None, with the reason, where it is undecided, and with "" where there is none by its nature.
    With a `store`, a truth that was computed before is read from it; not of a variant, whose definition may change.
    """
    module = import_module(TRUTH)
    kept = None if isinstance(case.parsed_rule, Variant) else store

    def computed(meant: Inputs, scores: str) -> tuple[Truth | None, str]:
        try:
            return module.truth_of(case, meant, scores), ""
        except UndecidedError as error:
            return None, f"the truth is undecided: {error}"
        except DomainError as error:
            # Functions of the user's own may raise; whatever else is outside of its domain is ours.
            if not isinstance(case.parsed_rule, Variant):
                raise
            return None, f"the truth is undecided: {error}"

    @cache
    def held(scores: str, causal: str) -> tuple[Truth | None, str]:
        meant = aligned(inputs, Contract(causal=causal))
        if kept is None:
            return computed(meant, scores)
        return kept.find(case, meant, scores, lambda: computed(meant, scores))

    def of(contract: Contract) -> tuple[Truth | None, str]:
        scores = contract.scores if module.has_two_units(case, inputs) else "differences"
        return held(scores, contract.causal if "causal" in inputs.options else Contract().causal)

    return of


_GUARDS: dict[Target, Guard] = {}


def guard_of(target: Target) -> Guard:
    """The loaded target of this process."""
    if target not in _GUARDS:
        _GUARDS[target] = Guard.load(target, SINKS[0] if SINKS else None)
    return _GUARDS[target]


def prepare(modules: tuple[str, ...]) -> None:
    """What a new worker does first: make a sink for what targets print, and import what it will need.

    Args:
        modules: our own and built-in ones only; what does not import is left for its user to report.
    """
    SINKS.append(Sink())
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
        import_module(TRUTH)
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
        journal.add("truth", number, Tally())
        seconds = task.limits.seconds
        faulthandler.dump_traceback_later(seconds * task.limits.patience, exit=True, file=trace)
        inputs = case.inputs()
        store = store_of(task.cache)
        truths = truths_for(case, inputs, store)
        # All of it before the first target runs, so that a death here is told from one of a target.
        held = [truths(task.targets[index].contract) for index in indices]
        if store is not None:
            journal.add("truth", number, store.take())
        for index, (truth, undecided) in zip(indices, held, strict=True):

            def step(check: str, call: str, index: int = index) -> None:
                journal.add("step", number, index, check, call)
                if call == JUDGING:
                    faulthandler.dump_traceback_later(seconds * task.limits.patience, exit=True, file=trace)

            faulthandler.dump_traceback_later(seconds, exit=True, file=trace)
            guard = guard_of(task.targets[index])
            returned = partial(journal.add, RETURNED, number, index)
            result = judge_target(case, inputs, truth, guard, step, undecided=undecided, returned=returned)
            journal.add("done", number, index, result)
            journal.add("modes", index, guard.loaded, guard.after or guard.loaded)
    except Exception:  # noqa: BLE001 (an exception of ours is reported as such, not as the target's)
        journal.add("fault", number, traceback.format_exc())
    finally:
        faulthandler.cancel_dump_traceback_later()
