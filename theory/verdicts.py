"""The verdict of a claim from the findings of its checks.

It is REFUTED if any check refutes, UNDECIDED if any is undecided or nothing was decided, PROVED if it has proof steps
and every one is PROVED, and CONSISTENT otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from pydantic import ValidationError

from kernelproof.reference.errors import ClaimError
from kernelproof.theory.claim import Claim, ClaimCheck, Role, Settings
from kernelproof.theory.finding import Finding, Verdict
from kernelproof.theory.results import ClaimCheckResult, ClaimResult, Named


def judge(claim: Claim, settings: Settings = Settings(), *, until_refuted: bool = False) -> ClaimResult:  # noqa: B008 (frozen)
    """Run all checks of `claim`; return their findings and the verdict.

    Args:
        claim: the claim to test.
        settings: how much effort to spend.
        until_refuted: whether to stop at the first check that refutes.

    Raises:
        ClaimError: a check raised, returned no Finding, or a verdict stronger than its evidence allows.
    """
    done: list[ClaimCheckResult] = []
    for check in claim.checks:
        done.append(_run(claim, check, settings))
        finding = done[-1].finding
        if until_refuted and finding is not None and finding.verdict is Verdict.REFUTED:
            break
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
        verdict=combine([(check.role, check.finding) for check in done]),
        checks=done,
    )


def combine(found: Sequence[tuple[Role, Finding | None]]) -> Verdict:
    """The verdict of a claim from its checks' roles and findings; None is a check that could not run here."""
    findings = [finding for _, finding in found if finding is not None]
    verdicts = {finding.verdict for finding in findings}
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    if Verdict.UNDECIDED in verdicts or not sum(finding.decided for finding in findings):
        return Verdict.UNDECIDED
    steps = [finding for role, finding in found if role is Role.PROOF]
    if steps and all(step is not None and step.verdict is Verdict.PROVED for step in steps):
        return Verdict.PROVED
    return Verdict.CONSISTENT


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that would hold it
        return False


def _run(claim: Claim, check: ClaimCheck, settings: Settings) -> ClaimCheckResult:
    missing = [install for module, install in check.needs if not _is_here(module)]
    if missing:
        reason = f"needs {missing[0]}; pip install '{missing[0]}'"
        return ClaimCheckResult(id=check.id, says=check.says, role=check.role, drops=check.drops, unavailable=reason)
    try:
        finding = check.run(settings)
        if isinstance(finding, Finding):
            # Constructed again, because pydantic does not validate copies of a finding.
            finding = Finding.model_validate(finding.model_dump())
    except (ClaimError, KeyboardInterrupt):
        raise
    except ValidationError as error:
        reason = "; ".join(str(each["msg"]) for each in error.errors())
        msg = f"claim {claim.id!r}, check {check.id!r}: {reason}"
        raise ClaimError(msg) from error
    except (Exception, SystemExit) as error:
        msg = f"claim {claim.id!r}, check {check.id!r} raised {type(error).__name__}: {error}"
        raise ClaimError(msg) from error
    if not isinstance(finding, Finding):
        msg = f"claim {claim.id!r}, check {check.id!r} must return a Finding; got {finding!r}"
        raise ClaimError(msg)
    return ClaimCheckResult(id=check.id, says=check.says, role=check.role, drops=check.drops, finding=finding)
