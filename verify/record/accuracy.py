"""The accuracy table of a record: errors, and what the comparisons would have seen, by op, rule, order and dtype."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from kernelproof.reference.exact_numbers import exact_number
from kernelproof.verify.cases.case import Case
from kernelproof.verify.judging.grades import grade_of
from kernelproof.verify.judging.resolution import quantile
from kernelproof.verify.record.schema import Accuracy
from kernelproof.verify.records import OPS
from kernelproof.verify.workers.tasks import CaseResult, Summary

_Graded = tuple[str, str, str, str, str]


def order_key(label: str) -> tuple[bool, float]:
    """A key that sorts orders and values of α, as the labels of cases have them."""
    alpha = label.startswith("α=")
    number = float(exact_number(label.removeprefix("α="), "order"))
    return alpha, number


def accuracy_table(cases: Sequence[Case], results: Mapping[int, CaseResult]) -> list[Accuracy]:
    """The accuracy table: a row for each op, rule, order, dtype and output that was measured."""
    groups: dict[_Graded, list[Summary]] = defaultdict(list)
    for number, result in sorted(results.items()):
        case = cases[number]
        for said in result.checks.values():
            for output, summary in said.summaries.items():
                groups[case.op, case.rule.partition(":")[0], case.order_label, case.dtype, output].append(summary)

    def key(item: _Graded) -> tuple[object, ...]:
        op, rule, order, dtype, output = item
        return OPS.index(op), rule, dtype, order_key(order), output

    return [_row(group, groups[group]) for group in sorted(groups, key=key)]


def _row(group: _Graded, summaries: list[Summary]) -> Accuracy:
    op, rule, order, dtype, output = group
    compared = sum(summary.compared for summary in summaries)
    ulps = np.sort(np.concatenate([summary.ulps for summary in summaries]))
    kappa = max(summary.kappa_max for summary in summaries)
    seen = np.sum([summary.resolution for summary in summaries], axis=0)
    forced = np.sum([summary.forced for summary in summaries], axis=0)
    with np.errstate(invalid="ignore"):
        signed = float(np.sum([summary.ulp_signed_sum for summary in summaries])) / compared
    return Accuracy(
        op=op,
        rule=rule,
        order=order,
        dtype=dtype,
        output=output,
        compared=compared,
        ulp_max=float(ulps[-1]),
        ulp_mean=float(np.sum([summary.ulp_sum for summary in summaries])) / compared,
        ulp_signed_mean=signed,
        # The smallest error in ulp that 99.9 % of the comparisons do not exceed.
        ulp_p999=float(ulps[max(-(-999 * compared // 1000) - 1, 0)]),
        absolute_max=max(summary.absolute_max for summary in summaries),
        kappa_max=kappa,
        grade=grade_of(kappa),
        vacuous=sum(summary.vacuous for summary in summaries),
        zeros=sum(summary.zeros for summary in summaries),
        resolution_half=quantile(seen, 0.5),
        resolution_most=quantile(seen, 0.95),
        forced_half=quantile(forced, 0.5),
        forced_most=quantile(forced, 0.95),
    )
