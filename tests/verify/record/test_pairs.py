"""The record counts a pair only where something was decided, and says what the target refuses."""

from __future__ import annotations

from kernelproof.reports.summary import pairs_lines
from kernelproof.verify.cases.axes import PAIRS
from kernelproof.verify.cases.plan import plan
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.record.aggregate import TargetRun, record
from kernelproof.verify.records import ACCURACY, Judgement
from kernelproof.verify.targets.target import Target, describe, find
from kernelproof.verify.workers.tasks import CaseResult, CheckResult

_TARGET = describe(find("numpy"))
assert not isinstance(_TARGET, str)
TARGET: Target = _TARGET[0]
CASES = [
    case
    for case in plan(Selection("standard", ops=("entmax",), orders=("2",), dtypes=("float32", "float64")))
    if case.family == PAIRS
]


def decided(count: int, gradients: int = 0) -> CaseResult:
    held = {ACCURACY: CheckResult(Judgement(decided=count)), "gradients": CheckResult(Judgement(decided=gradients))}
    return CaseResult(held, calls=1)


def test_all_pairs_are_counted_if_every_case_decided_something() -> None:
    found = record(TargetRun(TARGET, CASES, {at: decided(1, 1) for at in range(len(CASES))}, {}))
    outputs, gradients = found.pairs
    assert (outputs.op, outputs.of, gradients.of) == ("entmax", "outputs", "gradients")
    assert outputs.covered == outputs.possible > gradients.covered == gradients.possible > 100
    assert not outputs.missing
    assert any("float16" in each for each in outputs.left_out)
    assert pairs_lines(found)[0].startswith("entmax, outputs: pairs covered")


def test_a_case_that_decided_nothing_covers_nothing() -> None:
    results = {at: decided(at > 0, 0) for at in range(len(CASES))}
    outputs, gradients = record(TargetRun(TARGET, CASES, results, {})).pairs
    assert 0 < outputs.covered < outputs.possible
    assert outputs.missing
    assert gradients.covered == 0
    assert "not covered" in pairs_lines(record(TargetRun(TARGET, CASES, results, {})))[0]


def test_a_run_of_one_case_counts_no_pairs() -> None:
    assert not record(TargetRun(TARGET, CASES[:1], {0: decided(1)}, {}, single=True)).pairs
