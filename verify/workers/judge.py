"""One case on one target: make the calls that the checks ask for, and let them judge the outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import bulky, zero_empty_cotangents
from kernelproof.verify.checks import Check, checks
from kernelproof.verify.hosts.respondent import Bthd, Respondent
from kernelproof.verify.judging.claims import Evidence
from kernelproof.verify.judging.diagnosis import Assumption, explaining
from kernelproof.verify.judging.errors import NO_OUTPUT
from kernelproof.verify.judging.hints import BTHD_HINT, NO_HINT, hints
from kernelproof.verify.records import ACCURACY, Call, Contract, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.targets.declaration import BHTD
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.truth.lookup import truth_for
from kernelproof.verify.workers.tasks import CaseResult, CheckResult, Summary, digest_of


@dataclass
class History:
    """What the failures of a target have shown so far.

    Attributes:
        assumed: the assumptions that explain every failure so far; None before the first.
        other_layout_fails: whether a failure was seen that another layout of the arrays does not explain.
    """

    assumed: tuple[Assumption, ...] | None = None
    other_layout_fails: bool = False


def judge_target(
    case: Case,
    inputs: Inputs,
    truth: Truth | None,
    asked: Respondent,
    *,
    undecided: str = "",
    only: frozenset[str] | None = None,
    explained: bool = True,
    history: History | None = None,
) -> CaseResult:
    """Make every check on one target; a call that several checks ask for is made once.

    Args:
        case: the case.
        inputs: of the case, resolved by the contract of the target.
        truth: of the case.
        asked: the target, which answers calls.
        undecided: why there is no truth although the inputs are ordinary; then the target is not called.
        only: ids of the checks to make, without hints and assumptions; None means all.
        explained: whether to find hints and assumptions for what failed, which judges it again under other contracts.
        history: what its failures have shown so far; it is brought up to date.
    """
    target = asked.target
    scope = target.scope(case.op)
    assert scope is not None  # `Target.refuses` has seen to it
    given = inputs
    if truth is not None:
        inputs = zero_empty_cotangents(inputs, truth.empty, target.contract)
    if truth is not None:
        truth = scope.of_gradients(truth)
    calls_by_check = _asked(case, inputs, target.contract, only)
    wanted = {
        name: {key: call for key, call in calls.items() if target.answers(case, call)}
        for name, calls in calls_by_check.items()
    }
    for name, calls in calls_by_check.items():
        # A check of another order or axis does not apply to a target that takes only one.
        special = any(map(_special, calls.values())) and not any(map(_special, wanted[name].values()))
        # Nor can a check compare outputs if the target does not take the inputs of one of its plain calls.
        plain = {key for key, call in calls.items() if _plain(call)}
        if special or not (plain <= wanted[name].keys() or checks()[name].independent):
            wanted[name] = {}
    unsupported = tuple(
        name for name, calls in calls_by_check.items() if calls and not wanted[name] and not checks()[name].declared
    )
    wanted = {name: calls for name, calls in wanted.items() if calls}
    if undecided:
        return CaseResult({name: CheckResult(Judgement(undecided=1)) for name in wanted}, unsupported, 0, undecided)
    made = _made(asked, case, wanted)
    if isinstance(made, CaseResult):
        return made
    if truth is not None:
        truth = scope.of_gradients(truth, made.get(_place(Call(inputs, "vjp"))))
    found: dict[str, CheckResult] = {}
    again = _Again(case, inputs, given, truth, scope, wanted, made)
    for name, calls in wanted.items():
        outcomes = {key: made[_place(call)] for key, call in calls.items()}
        crash = next(((key, each.crash) for key, each in outcomes.items() if each.crash is not None), None)
        if crash is not None:
            found[name] = CheckResult(crash=f"the {crash[0]} call: {crash[1]}")
            continue
        judgement = checks()[name].judge(case, inputs, truth, outcomes, target.contract)
        summaries = {output: Summary.of(errors) for output, errors in judgement.errors.items() if errors.ulp.size}
        asked.remarks.update(dict.fromkeys(judgement.remarks))
        usual = again.usual_kappas(name, target.contract) if judgement.errors else {}
        found[name] = CheckResult(replace(judgement, errors={}, remarks=()), summaries, usual)
        refused = any(_plain(call) and key not in calls for key, call in calls_by_check[name].items())
        if judgement == Judgement() and (refused or checks()[name].silent):
            # Nothing was judged. A plain call, which the target does not take, might have decided an independent check.
            unsupported = (*unsupported, name) if refused else unsupported
            del found[name]
    remarks = tuple(asked.remarks)
    if only is not None or not explained:
        return CaseResult(found, unsupported, len(made), undecided, remarks)
    history = History() if history is None else history
    forward = made.get(_place(Call(inputs)))
    digest = "" if forward is None else digest_of(forward)
    told = _hints(again, asked, history, found)
    assumed = _assumed(again, target.contract, history, found)
    return CaseResult(found, unsupported, len(made), undecided, remarks, told, assumed, digest=digest)


@dataclass(frozen=True)
class _Again:
    """The answers of a target on a case, to be judged again under other readings and contracts.

    Attributes:
        case: the case.
        inputs: that the target was called with.
        given: the same before the upstream gradients of empty rows were set to 0; the truth was found for them.
        truth: of the case.
        scope: of the target.
        wanted: the calls of each check.
        made: the outcome of each call.
    """

    case: Case
    inputs: Inputs
    given: Inputs
    truth: Truth | None
    scope: Scope
    wanted: Mapping[str, Mapping[str, Call]]
    made: Mapping[_Place, Outcome]

    def judge(self, name: str, meant: Inputs, contract: Contract) -> Judgement:
        """Judge the answers of the check `name` again."""
        if meant is not self.inputs and not self.wanted[name].keys() <= checks()[name].calls(self.case, meant).keys():
            # It is about something that there is not under the other reading, such as a key that no query sees.
            return Judgement()
        outcomes = {key: self.made[_place(call)] for key, call in self.wanted[name].items()}
        known = None
        if self.truth is not None:
            known = truth_for(self.case, self.given if meant is self.inputs else meant, contract)[0]
        if known is not None:
            known = self.scope.of_gradients(known, self.made.get(_place(Call(self.inputs, "vjp"))))
        return checks()[name].judge(self.case, meant, known, outcomes, contract)

    def under(self, name: str, contract: Contract) -> Judgement:
        """Judge the answers of the check `name` again under another contract."""
        return self.judge(name, self.inputs, contract)

    def usual_kappas(self, name: str, contract: Contract) -> dict[str, float]:
        """The largest κ of each output under the usual roundings; empty if `contract` has no others."""
        usual = replace(contract, compute=None, roundings=None)
        if usual == contract:
            return {}
        errors = self.under(name, usual).errors
        return {output: float(each.kappa.max(initial=0.0)) for output, each in errors.items()}


def _assumed(
    again: _Again, contract: Contract, history: History, found: Mapping[str, CheckResult]
) -> tuple[Assumption, ...] | None:
    """Return the assumptions that explain this case and all before it that failed; None if it did not fail."""
    failed = tuple(name for name, said in found.items() if said.judgement.failed)
    if any(said.crash for said in found.values()):
        history.assumed = ()
    elif failed:
        history.assumed = explaining(again.case, failed, contract, again.under, history.assumed)
    else:
        return None
    return history.assumed


def _hints(again: _Again, asked: Respondent, history: History, found: Mapping[str, CheckResult]) -> tuple[str, ...]:
    """Return the hints on the checks that failed; see `kernelproof.verify.judging.hints`."""
    failed = {name: said for name, said in found.items() if said.judgement.failed}
    if not failed:
        return ()
    forward = again.made.get(_place(Call(again.inputs)))
    told = tuple(hints(again.case, again.inputs, forward, tuple(failed), asked.target.contract, again.judge))
    if told or again.case.op != "attention":
        return told
    if not _wrong_numbers(found):
        # In the usual layout its outputs are right, so that what failed has another reason.
        history.other_layout_fails = True
    return _as_bthd(again, asked, history, failed)


def _wrong_numbers(found: Mapping[str, CheckResult]) -> bool:
    """Whether the outputs are wrong; where no truth is known, whether a check of numbers failed."""
    accuracy = found.get(ACCURACY)
    if accuracy is not None and accuracy.judgement.decided:
        return accuracy.judgement.failed > 0
    return any(said.judgement.failed and checks()[name].evidence is Evidence.NUMBERS for name, said in found.items())


def _as_bthd(again: _Again, asked: Respondent, history: History, failed: Mapping[str, CheckResult]) -> tuple[str, ...]:
    """Return the hint, if the checks that `failed` pass on arrays of (batch, tokens, heads, width).

    A case for which the target raises in both layouts, such as one of fewer key heads than heads, is neither for nor
    against the hint. Once a failure of the target has another reason, its later ones are not tried.
    """
    if asked.target.layout(again.case.op) != BHTD or history.other_layout_fails:
        return ()
    other = judge_target(again.case, again.inputs, again.truth, Bthd(asked), only=frozenset(failed)).checks
    if any(said.judgement.decided for said in other.values()) and not any(said.failed for said in other.values()):
        return (BTHD_HINT,)
    if all(_raised(said) for said in (*failed.values(), *other.values()) if said.failed):
        return (NO_HINT,)
    history.other_layout_fails = True
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


def _made(asked: Respondent, case: Case, wanted: dict[str, dict[str, Call]]) -> dict[_Place, Outcome] | CaseResult:
    """Make every call once; return the outcomes, or the result if the process of the target ended in one of them."""
    each: dict[_Place, tuple[str, str, Call]] = {}
    for name, calls in wanted.items():
        for key, call in calls.items():
            each.setdefault(_place(call), (name, key, call))
    outcomes = asked.answer(case, [call for _, _, call in each.values()]) if each else []
    if asked.fate is None:
        return dict(zip(each, outcomes, strict=True))
    # What came before the end proves nothing of a target that ends its process.
    name, key, _ = list(each.values())[len(outcomes) - 1]
    crash = CheckResult(crash=f"the {key} call: {outcomes[-1].crash}")
    return CaseResult({name: crash}, calls=len(outcomes), remarks=tuple(asked.remarks), fate=asked.fate)


_Place = tuple[int, str, str | None, int, tuple[int, ...]]


def _place(call: Call) -> _Place:
    """Return a key by which calls are the same: identical inputs, mode, order, axis and numbers of rows."""
    return id(call.inputs), call.mode, call.order, call.axis, tuple(map(id, call.per_row.values()))


def _plain(call: Call) -> bool:
    return call.mode == "forward" and not _special(call)


def _special(call: Call) -> bool:
    return call.order is not None or call.axis != -1 or bool(call.per_row)
