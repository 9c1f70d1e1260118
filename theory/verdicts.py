"""The verdict of a claim from the findings of its checks.

It is REFUTED if any check refutes, and UNDECIDED if any is undecided or nothing was decided. It is PROVED if its
statement is an object, and evidence that the program compared with it decided every predicate on the whole domain. It
is DERIVED if every step of its proof is PROVED on a domain that is not smaller, an argument in words joins the steps,
and another check agrees. With a statement that only words say, or a step that lacks something, a claim that has a
proof is UNDECIDED: nothing is known to follow. Otherwise it is CONSISTENT.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from pydantic import ValidationError

from kernelproof.reference.errors import ClaimError
from kernelproof.theory.claim import Check, Claim, Kind, Role, Settings
from kernelproof.theory.finding import Evidence, Finding, Relation, Verdict, is_issued
from kernelproof.theory.results import ClaimCheckResult, ClaimResult, Named


def judge(claim: Claim, settings: Settings = Settings(), *, until_refuted: bool = False) -> ClaimResult:  # noqa: B008 (frozen)
    """Run all checks of `claim`; return their findings and the verdict.

    Args:
        claim: the claim to test.
        settings: how much effort to spend.
        until_refuted: whether to stop at the first check that refutes.

    Raises:
        ClaimError: a check raised or returned no Finding, or the statement does not read.
    """
    subject = [] if claim.formal is None else list(claim.formal.subject)
    done: list[ClaimCheckResult] = []
    for check in claim.checks:
        done.append(_run(claim, check, settings))
        finding = done[-1].finding
        if until_refuted and finding is not None and finding.verdict is Verdict.REFUTED:
            break
    verdict, reason = combine(claim, done)
    return ClaimResult(
        id=claim.id,
        label=claim.label,
        title=claim.title,
        statement=claim.statement,
        source=claim.source,
        kind=claim.kind,
        variables=[Named(name=each.symbol, text=each.meaning) for each in claim.variables],
        assumptions=[Named(name=each.id, text=each.text) for each in claim.assumptions],
        why_not_more=claim.why_not_more,
        domain="" if claim.formal is None else str(claim.formal.domain),
        predicates=subject,
        argument=claim.argument,
        reason=reason,
        verdict=verdict,
        checks=done,
    )


def combine(claim: Claim, done: Sequence[ClaimCheckResult]) -> tuple[Verdict, str]:
    """The verdict of a claim from the results of its checks, and why it is not stronger."""
    findings = [check.finding for check in done if check.finding is not None]
    verdicts = {finding.verdict for finding in findings}
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED, ""
    if Verdict.UNDECIDED in verdicts or not sum(finding.decided for finding in findings):
        return Verdict.UNDECIDED, "a check is undecided" if findings else "no check could run"
    steps = [check for check in done if check.role is Role.PROOF]
    if not steps and claim.kind is Kind.OPEN:
        return Verdict.CONSISTENT, ""
    if claim.formal is None:
        return Verdict.UNDECIDED, "the statement is only words, with which no evidence can be compared"
    if not steps:
        return Verdict.CONSISTENT, "it has no step of a proof"
    if missing := [check.id for check in steps if check.finding is None or check.finding.verdict is not Verdict.PROVED]:
        return Verdict.CONSISTENT, f"not PROVED: {', '.join(missing)}"
    if lacking := [f"{check.id}: {check.lacking}" for check in steps if check.lacking]:
        return Verdict.UNDECIDED, "; ".join(lacking)
    if _closed(claim, steps):
        return Verdict.PROVED, ""
    if not claim.argument:
        return Verdict.UNDECIDED, "no evidence decided the statement itself, and nothing says how the steps make it up"
    if not any(check.role is not Role.PROOF and check.finding is not None for check in done):
        return Verdict.UNDECIDED, "the argument is in words, and no other check agrees with it"
    return Verdict.DERIVED, "an argument in words joins the steps"


def _closed(claim: Claim, steps: Sequence[ClaimCheckResult]) -> bool:
    """Whether evidence on the whole domain decided each predicate of the statement itself."""
    stated = claim.formal
    if stated is None or not stated.predicates or claim.argument:
        return False
    decided: set[str] = set()
    for step in steps:
        if step.finding is not None and step.finding.on is not None and step.finding.on.lacks(stated.domain) is None:
            decided |= set(step.finding.subject)
    return decided >= set(stated.subject)


def lacks(claim: Claim, finding: Finding) -> str:
    """Why the claim does not rest on the finding of a step of its proof; empty if it does."""
    if claim.formal is None:
        return "the statement is only words"
    if finding.on is None:
        return "its domain is only words, which are not comparable"
    if finding.relation is Relation.EXISTENCE and not finding.subject:
        return "that something exists is not the statement"
    # The steps of a symbolic proof have variables of their own; a box or cases are of the statement, or of nothing.
    own = finding.evidence is Evidence.SYMBOLIC and not finding.subject
    return finding.on.lacks(claim.formal.domain, shared=own) or ""


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that would hold it
        return False


def _run(claim: Claim, check: Check, settings: Settings) -> ClaimCheckResult:
    missing = [install for module, install in check.needs if not _is_here(module)]
    if missing:
        reason = f"needs {missing[0]}; pip install '{missing[0]}'"
        return ClaimCheckResult(id=check.id, says=check.says, role=check.role, drops=check.drops, unavailable=reason)
    try:
        finding = check.run(settings)
    except (ClaimError, KeyboardInterrupt):
        raise
    except ValidationError as error:
        return _nothing(check, "; ".join(str(each["msg"]) for each in error.errors()))
    except (Exception, SystemExit) as error:
        msg = f"claim {claim.id!r}, check {check.id!r} raised {type(error).__name__}: {error}"
        raise ClaimError(msg) from error
    if not isinstance(finding, Finding):
        msg = f"claim {claim.id!r}, check {check.id!r} must return a Finding; got {finding!r}"
        raise ClaimError(msg)
    if not is_issued(finding):
        return _nothing(check, "no evidence function issued this finding")
    lacking = lacks(claim, finding) if check.role is Role.PROOF else ""
    return ClaimCheckResult(
        id=check.id, says=check.says, role=check.role, drops=check.drops, finding=finding, lacking=lacking
    )


def _nothing(check: Check, reason: str) -> ClaimCheckResult:
    """The result of a check whose finding counts as nothing, because it was made by hand or claims too much."""
    finding = Finding(
        evidence=Evidence.SAMPLED, relation=Relation.INEQUALITY, verdict=Verdict.UNDECIDED, domain="", decided=0,
        undecided=1, detail=reason,
    )  # fmt: skip
    return ClaimCheckResult(
        id=check.id, says=check.says, role=check.role, drops=check.drops, finding=finding, lacking=reason
    )
