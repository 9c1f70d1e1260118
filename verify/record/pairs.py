"""How many pairs of levels a run has covered: those that occur together in a case of which something was decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kernelproof.verify.cases.axes import PAIRS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.combined import counted
from kernelproof.verify.record.schema import Pairs
from kernelproof.verify.records import ACCURACY
from kernelproof.verify.targets.target import Target
from kernelproof.verify.workers.tasks import CaseResult

_KINDS = {"outputs": ACCURACY, "gradients": "gradients"}
"""What is compared -> the id of the check that compares it."""


def pairs_of(target: Target, cases: Sequence[Case], results: Mapping[int, CaseResult]) -> Iterator[Pairs]:
    """Yield the pairs covered for each op of `target`, for outputs and, if it gives any, for gradients."""
    for scope in target.scopes:
        planned = [case for case in cases if (case.op, case.family) == (scope.op, PAIRS)]
        taken = scope.taken(tuple(dict.fromkeys(case.dtype for case in planned)))
        if not planned or not taken.dtypes:
            continue
        for kind, check in _KINDS.items():
            if kind == "gradients" and not taken.gradients:
                continue
            tried = [cases[number] for number, result in results.items() if _decided(result, check)]
            found = counted(scope.op, taken, tried, gradients=kind == "gradients")
            yield Pairs(
                op=scope.op,
                of=kind,
                covered=found.covered,
                possible=found.possible,
                missing=list(found.missing),
                left_out=list(found.left_out),
            )


def _decided(result: CaseResult, check: str) -> bool:
    return check in result.checks and result.checks[check].judgement.decided > 0
