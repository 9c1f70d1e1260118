"""Aggregation: verdicts, grades, worst cases and tables from the results of cases."""

from __future__ import annotations

import numpy as np
import pytest

from kernelproof.verify.cases.case import Case
from kernelproof.verify.record.aggregate import TargetRun, record, reproduce
from kernelproof.verify.record.schema import Verdict
from kernelproof.verify.records import Errors, Failure, Judgement
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.target import Place, Target
from kernelproof.verify.workers.tasks import CaseResult, CheckResult, Summary

LINE = "entmax order={} rule=adaptive:1 dtype=float64 family=ties shape=2x7 feature=1 seed=0"
CASES = tuple(Case.parse(LINE.format(order)) for order in ("1", "2", "inf"))
TARGET = Target(Place("my lib.py:f", "my lib.py", "f"), "cpu", "numpy", (Scope("entmax", dtypes=("float64",)),))
PASSED = Judgement(decided=4, worst=Failure("fine", kappa=0.5))


def errors(*kappa: float) -> Errors:
    values = np.array(kappa)
    return Errors(-2 * values, values * 1e-17, values)


GOOD = CheckResult(PASSED, {"output": Summary.of(errors(0.5))})


def result(**judged: Judgement | CheckResult) -> CaseResult:
    found = {name: each if isinstance(each, CheckResult) else CheckResult(each) for name, each in judged.items()}
    return CaseResult(found, calls=1)


def bad(kappa: float | None) -> Judgement:
    failure = Failure("wrong", index=(0, 1), kappa=kappa)
    return Judgement(decided=4, failed=1, failures=(failure,), worst=failure)


def tried(*results: CaseResult, single: bool = False, **refused: str) -> TargetRun:
    reasons = {int(key[1:]): reason for key, reason in refused.items()}
    return TargetRun(TARGET, CASES, dict(enumerate(results)), reasons, single)


@pytest.mark.parametrize(
    ("results", "verdict", "grade"),
    [
        ((result(accuracy=GOOD),), Verdict.PASS, "A"),
        ((result(accuracy=GOOD, simplex=bad(9.0)),), Verdict.FAIL, "F"),
        ((result(accuracy=GOOD, determinism=bad(None)),), Verdict.FAIL, "A"),
        ((result(accuracy=GOOD, kkt=CheckResult(crash="hung")),), Verdict.CRASH, "F"),
        ((result(accuracy=bad(5.0), kkt=CheckResult(crash="hung")),), Verdict.FAIL, "F"),
        ((result(accuracy=GOOD, kkt=Judgement(undecided=3)),), Verdict.UNDECIDED, "A"),
        ((result(accuracy=Judgement(undecided=3)),), Verdict.UNDECIDED, "F"),
        ((result(accuracy=bad(np.inf)),), Verdict.FAIL, "F"),
        ((result(accuracy=PASSED),), Verdict.PASS, "–"),
        ((result(determinism=PASSED),), Verdict.PASS, "–"),
        ((), Verdict.UNSUPPORTED, "F"),
    ],
)
def test_verdict_and_grade(results: tuple[CaseResult, ...], verdict: Verdict, grade: str) -> None:
    found = record(tried(*results))
    assert (found.verdict, found.grade) == (verdict, grade)
    assert found.passed == (verdict is Verdict.PASS)


def test_one_case_may_leave_a_check_without_a_decision() -> None:
    said = result(accuracy=GOOD, kkt=Judgement(undecided=3))
    assert record(tried(said, single=True)).passed


def test_the_worst_failure_is_shown_before_any_larger_success() -> None:
    passed = Judgement(decided=1, worst=Failure("large but allowed", kappa=100.0))
    found = record(tried(result(accuracy=passed), result(accuracy=bad(7.0)), result(accuracy=bad(8.0)))).checks[0]
    assert found.worst is not None
    assert (found.worst.kappa, found.worst.case) == (8.0, CASES[2].text)
    assert [failure.kappa for failure in found.failures] == [8.0, 7.0]
    assert (found.decided, found.failed) == (9, 2)


def test_the_accuracy_table_merges_cases() -> None:
    pieces = [Summary.of(errors(1.0, 3.0)), Summary.of(errors(2.0))]
    same = [result(accuracy=CheckResult(PASSED, {"output": piece})) for piece in pieces]
    row = record(TargetRun(TARGET, (CASES[0], CASES[0]), dict(enumerate(same)), {})).accuracy[0]
    assert (row.op, row.rule, row.order, row.dtype, row.output) == ("entmax", "adaptive", "1", "float64", "output")
    assert (row.compared, row.kappa_max, row.grade) == (3, 3.0, "A")
    assert (row.ulp_max, row.ulp_mean, row.ulp_signed_mean, row.ulp_p999) == (6.0, 4.0, -4.0, 6.0)
    assert row.absolute_max == 3e-17


def test_the_quantile_leaves_out_one_in_a_thousand() -> None:
    kappa = np.ones(2000)
    kappa[:2] = 50.0
    said = result(accuracy=CheckResult(PASSED, {"output": Summary.of(errors(*kappa))}))
    row = record(tried(said)).accuracy[0]
    assert (row.ulp_p999, row.ulp_max) == (2.0, 100.0)


def test_coverage_names_what_was_not_tried() -> None:
    found = record(tried(result(accuracy=GOOD), a1="the target does not take it", a2="the target does not take it"))
    cells = {(cell.order, cell.family): cell for cell in found.coverage}
    assert cells["1", "ties"].decided == 4
    assert cells["1", "ties"].not_tried is None
    assert cells["2", "ties"].not_tried == "the target does not take it"
    assert cells["inf", "kink"].not_tried == "order inf has no threshold"
    assert all(cell.not_tried or cell.cases for cell in found.coverage)


def test_reproduce_is_a_shell_line() -> None:
    assert reproduce(TARGET, CASES[0]) == f"kernelproof verify 'my lib.py:f' --case '{CASES[0].text}'"


def test_results_are_split_by_target() -> None:
    one, two = result(accuracy=GOOD), result()
    tried = TargetRun(TARGET, CASES, {}, {}).answered(1, {(0, 0): one, (0, 1): two}, {(1, 0): "no", (2, 1): "hung"})
    assert tried.results == {0: two}
    assert tried.unasked == {2: "hung"}


def test_the_grade_is_the_worst_of_the_dtypes() -> None:
    coarse = Case.parse(CASES[0].text.replace("float64", "bfloat16"))
    cases = (CASES[0], coarse)
    results = [result(accuracy=CheckResult(PASSED, {"output": Summary.of(errors(k))})) for k in (900.0, 1100.0)]
    found = record(TargetRun(TARGET, cases, dict(enumerate(results)), {}))
    # The same κ is the same grade in every dtype: it is in roundings of the compute dtype.
    assert {row.dtype: row.grade for row in found.accuracy} == {"float64": "C", "bfloat16": "D"}
    assert found.grade == "D"


def test_failures_of_every_kind_are_kept() -> None:
    # NaN at every order, and one wrong number: that is not hidden behind them.
    cases = tuple(Case.parse(LINE.format(order)) for order in range(1, 40))
    nan = [Failure(f"output[0, 0] is nan at {at}", got="nan", kappa=np.inf) for at in range(39)]
    wrong = Failure("output[0, 0] is 0.5", got="0.5", kappa=5e3)
    other = Failure("d/dalpha[] is 2", got="2.0", kappa=4e3)
    failures = [*nan[:37], wrong, other]
    judged = [Judgement(decided=1, failed=1, failures=(each,), worst=each) for each in failures]
    results = {at: result(accuracy=CheckResult(each)) for at, each in enumerate(judged)}
    kept = record(TargetRun(TARGET, cases, results, {})).checks[0].failures
    assert [each.message for each in kept[:3]] == ["output[0, 0] is nan at 0", "output[0, 0] is 0.5", "d/dalpha[] is 2"]
    assert len(kept) == 8
