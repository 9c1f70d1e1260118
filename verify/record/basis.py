"""What a grade rests on: the compute dtype and the storage roundings, and what would explain a failure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from kernelproof.verify.judging.grades import grade_of
from kernelproof.verify.judging.precision import USUAL
from kernelproof.verify.records import OPS, Contract
from kernelproof.verify.workers.tasks import CaseResult


def rests_on(contract: Contract, ops: Collection[str]) -> list[str]:
    """The compute dtype and the storage roundings of `contract`, one line for each of the `ops` that were tried.

    >>> rests_on(Contract(compute="bfloat16", roundings=()), {"entmax"})
    ['computes in bfloat16', 'entmax stores in the dtype of the arrays: its results only']
    """
    compute = contract.compute or "float32 for dtypes of at most 16 bits, otherwise the dtype of the arrays"
    lines = [f"computes in {compute}"]
    for op in OPS:
        if op in ops:
            held = USUAL[op] if contract.roundings is None else contract.roundings
            lines.append(f"{op} stores in the dtype of the arrays: {', '.join(held) or 'its results only'}")
    return lines


def usual_grade(results: Iterable[CaseResult], fatal: bool) -> str | None:
    """The grade under the usual roundings; None if the contract declares no other ones.

    Args:
        results: of all cases of a target.
        fatal: whether a check failed whose failure is grade F.
    """
    kappas = [kappa for result in results for said in result.checks.values() for kappa in said.usual.values()]
    if not kappas:
        return None
    return "F" if fatal else grade_of(max(kappas))


def diagnosis(results: Iterable[CaseResult]) -> list[str]:
    """The least assumption under which every case that failed would pass, if there is one."""
    sets = [result.assumed for result in results if result.assumed is not None]
    if not sets:
        return []
    common = set.intersection(*map(set, sets))
    return [each.words for each in sets[0] if each in common][:1]
