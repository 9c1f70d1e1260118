"""One case on one target: make the calls that the checks ask for, and let them judge the outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import bulky, zero_empty_cotangents
from kernelproof.verify.checks import Check, checks
from kernelproof.verify.judging.errors import NO_OUTPUT
from kernelproof.verify.judging.hints import BTHD_HINT, NO_HINT, hints
from kernelproof.verify.records import Call, Contract, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.targets.caller import Bthd, Calling
from kernelproof.verify.targets.declaration import BHTD
from kernelproof.verify.truth.lookup import truth_for
from kernelproof.verify.workers.guard import Guard
from kernelproof.verify.workers.tasks import CaseResult, CheckResult, Summary

Step = Callable[[str, str], None]
"""Called with (check, call) before each call, and with ("", JUDGING) after the last."""
JUDGING = "judge"
"""The name of the step after the last call, where the target's time ends and judging begins."""


def _nobody(check: str, call: str) -> None:
    """Ignore the call."""


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
    """Make every check on one target; a call that several checks ask for is made once.

    Args:
        case: the case.
        inputs: of the case, resolved by the contract of the target.
        truth: of the case.
        caller: the loaded target, with or without a guard around it.
        step: called with (check, call) before each call, and with ("", JUDGING) after the last.
        undecided: why there is no truth although the inputs are ordinary; then the target is not called.
        returned: called with (check, call) in a child process that returned from a call.
        only: ids of the checks to make; None means all.
    """
    guard = caller if isinstance(caller, Guard) else Guard(caller)
    target = guard.caller.target
    scope = target.scope(case.op)
    assert scope is not None  # `Target.refuses` has seen to it
    if truth is not None:
        inputs = zero_empty_cotangents(inputs, truth.empty, target.contract)
    if truth is not None:
        truth = scope.of_gradients(truth)
    asked = _asked(case, inputs, target.contract, only)
    wanted = {
        name: {key: call for key, call in calls.items() if target.answers(case, call)} for name, calls in asked.items()
    }
    for name, calls in asked.items():
        # A check of another order or axis does not apply to a target that takes only one.
        special = any(map(_special, calls.values())) and not any(map(_special, wanted[name].values()))
        # Nor can a check compare outputs if the target does not take the inputs of one of its plain calls.
        plain = {key for key, call in calls.items() if _plain(call)}
        if special or not (plain <= wanted[name].keys() or checks()[name].independent):
            wanted[name] = {}
    unsupported = tuple(name for name, calls in asked.items() if calls and not wanted[name])
    wanted = {name: calls for name, calls in wanted.items() if calls}
    if undecided:
        return CaseResult({name: CheckResult(Judgement(undecided=1)) for name in wanted}, unsupported, 0, undecided)
    made = _make(guard, case, wanted, step, returned)
    step("", JUDGING)
    if truth is not None:
        truth = scope.of_gradients(truth, made.get(_place(Call(inputs, "vjp"))))
    found: dict[str, CheckResult] = {}
    for name, calls in wanted.items():
        outcomes = {key: made[_place(call)] for key, call in calls.items()}
        crash = next((each.crash for each in outcomes.values() if each.crash is not None), None)
        if crash is not None:
            found[name] = CheckResult(crash=crash)
            continue
        judgement = checks()[name].judge(case, inputs, truth, outcomes, target.contract)
        summaries = {output: Summary.of(errors) for output, errors in judgement.errors.items() if errors.ulp.size}
        guard.remarks |= dict.fromkeys(judgement.remarks)
        found[name] = CheckResult(replace(judgement, errors={}, remarks=()), summaries)
        if judgement == Judgement() and any(_plain(call) and key not in calls for key, call in asked[name].items()):
            # Nothing was judged, but a plain call, which the target does not take, might have decided this
            # independent check.
            unsupported = (*unsupported, name)
            del found[name]
    told = () if only is not None else _hints(case, inputs, truth, guard, step, returned, wanted, made, found)
    return CaseResult(found, unsupported, len(made), undecided, tuple(guard.remarks), told)


def _hints(
    case: Case,
    inputs: Inputs,
    truth: Truth | None,
    guard: Guard,
    step: Step,
    returned: Step,
    wanted: Mapping[str, Mapping[str, Call]],
    made: Mapping[_Place, Outcome],
    found: Mapping[str, CheckResult],
) -> tuple[str, ...]:
    """Return the hints on the checks that failed; see `kernelproof.verify.judging.hints`."""
    failed = {name: said for name, said in found.items() if said.judgement.failed}
    target = guard.caller.target
    scope = target.scope(case.op)
    assert scope is not None  # the target was called

    def rejudge(name: str, meant: Inputs, contract: Contract) -> Judgement:
        if meant is not inputs and not wanted[name].keys() <= checks()[name].calls(case, meant).keys():
            # It is about something that there is not under the other reading, such as a key that no query sees.
            return Judgement()
        outcomes = {key: made[_place(call)] for key, call in wanted[name].items()}
        known = truth if meant is inputs else truth_for(case, meant, contract)[0]
        if known is not None and known is not truth:
            known = scope.of_gradients(known, made.get(_place(Call(inputs, "vjp"))))
        return checks()[name].judge(case, meant, known, outcomes, contract)

    if not failed:
        return ()
    forward = made.get(_place(Call(inputs)))
    told = tuple(hints(case, inputs, forward, tuple(failed), target.contract, rejudge))
    if told or case.op != "attention":
        return told
    return _as_bthd(case, inputs, truth, guard, step, returned, failed)


def _as_bthd(
    case: Case,
    inputs: Inputs,
    truth: Truth | None,
    guard: Guard,
    step: Step,
    returned: Step,
    failed: Mapping[str, CheckResult],
) -> tuple[str, ...]:
    """Return the hint, if the checks that `failed` pass on arrays of (batch, tokens, heads, width).

    A case for which the target raises in both layouts, such as one of fewer key heads than heads, is neither for nor
    against the hint. Once a failure of the target has another reason, its later ones are not tried.
    """
    if guard.caller.target.layout(case.op) != BHTD or guard.other_layout_fails:
        return ()
    other = replace(guard, caller=Bthd(guard.caller), remarks={})
    again = judge_target(case, inputs, truth, other, step, returned=returned, only=frozenset(failed)).checks
    if any(said.judgement.decided for said in again.values()) and not any(said.failed for said in again.values()):
        return (BTHD_HINT,)
    if all(_raised(said) for said in (*failed.values(), *again.values()) if said.failed):
        return (NO_HINT,)
    guard.other_layout_fails = True
    return ()


def _raised(said: CheckResult) -> bool:
    return said.crash is None and all(NO_OUTPUT in each.message for each in said.judgement.failures)


def calls_of(check: Check, case: Case, inputs: Inputs, contract: Contract) -> dict[str, Call]:
    """Name all calls that `check` needs of a target of this contract."""
    asked = check.calls(case, inputs)
    return asked if contract.deterministic or not asked else asked | check.repeats(case, inputs)


def _asked(case: Case, inputs: Inputs, contract: Contract, only: frozenset[str] | None) -> dict[str, dict[str, Call]]:
    """Return the calls that each check needs; for bulky inputs, drop checks that need more than the plain call."""
    chosen = {name: check for name, check in checks().items() if only is None or name in only}
    asked = {name: calls_of(check, case, inputs, contract) for name, check in chosen.items()}
    if not bulky(inputs):
        return asked
    plain = _place(Call(inputs))
    return {name: calls for name, calls in asked.items() if all(_place(call) == plain for call in calls.values())}


def _make(
    guard: Guard, case: Case, wanted: dict[str, dict[str, Call]], step: Step, returned: Step
) -> dict[_Place, Outcome]:
    """Make every call once; return the outcomes."""
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
    """Return a key by which calls are the same: identical inputs, mode, order and axis."""
    return id(call.inputs), call.mode, call.order, call.axis


def _plain(call: Call) -> bool:
    return call.mode == "forward" and not _special(call)


def _special(call: Call) -> bool:
    return call.order is not None or call.axis != -1
