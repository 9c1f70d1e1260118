"""Sums of every row of a large batch, and ratios near a kink."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks import checks
from kernelproof.verify.judging.slack import LARGEST, judge_ratios, ratio_of
from kernelproof.verify.records import Array, Call, Contract, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.truth.truth import truth_of

CASE = Case("entmax", "1", None, "adaptive:1", "float32", "large", (400, 40), "2", 0)


@pytest.fixture(scope="module")
def batch() -> tuple[Inputs, Truth, Array]:
    inputs = inputs_of(CASE)
    truth = truth_of(CASE, inputs)
    whole = truth_of(CASE, replace(inputs, rows=None))
    assert truth is not None
    assert whole is not None
    return inputs, truth, whole.output.head.astype(np.float32)


def judge(batch: tuple[Inputs, Truth, Array], output: Array, case: Case = CASE) -> Judgement:
    inputs, truth, _ = batch
    check = checks()["simplex"]
    assert check.calls(case, inputs) == {"forward": Call(inputs)}
    return check.judge(case, inputs, truth, {"forward": Outcome({"output": output})}, Contract())


def test_every_row_is_summed(batch: tuple[Inputs, Truth, Array]) -> None:
    said = judge(batch, batch[2])
    assert said.failed == 0
    assert said.decided == 2 * 400


@pytest.mark.parametrize("fault", [1.001, -1.0, np.nan])
def test_one_row_without_a_truth_is_enough(batch: tuple[Inputs, Truth, Array], fault: float) -> None:
    inputs, _, right = batch
    assert inputs.rows is not None
    row = next(row for row in range(400) if row not in set(inputs.rows.tolist()))
    wrong = right.copy()
    wrong[row, np.argmax(wrong[row])] *= fault
    said = judge(batch, wrong)
    assert said.failed == (2 if fault < 0 else 1)
    assert any(each.message.startswith(f"the weights of row {row} sum to") for each in said.failures)


def test_a_checked_row_is_named_by_its_place_in_the_batch(batch: tuple[Inputs, Truth, Array]) -> None:
    inputs, _, right = batch
    assert inputs.rows is not None
    row = int(inputs.rows[-2])
    wrong = right.copy()
    wrong[row] *= 2
    assert judge(batch, wrong).failures[0].message.startswith(f"the weights of row {row} sum to 2")


def test_rows_that_may_be_empty_are_left_to_their_truth() -> None:
    fixed = replace(CASE, op="weights", rule="fixed:3", family="lengths", feature="block", shape=(40, 8))
    inputs = inputs_of(fixed)
    truth = truth_of(fixed, inputs)
    assert truth is not None
    assert inputs.rows is not None
    output = np.zeros((40, 8), dtype=np.float32)
    output[inputs.rows] = truth.output.head.astype(np.float32)
    said = checks()["simplex"].judge(fixed, inputs, truth, {"forward": Outcome({"output": output})}, Contract())
    assert said.failed == 0
    assert said.decided == 2 * len(inputs.rows)


def test_a_finite_error_has_a_finite_ratio() -> None:
    found = ratio_of(np.array([0.0, 1e-16, np.inf, np.nan]), np.zeros(4))
    np.testing.assert_array_equal(found, [0.0, LARGEST, np.inf, np.inf])
    loose = judge_ratios(found[:2, None], np.ones(2, bool), np.ones(2, bool), 4.0, str)
    assert (loose.failed, loose.undecided) == (0, 1)
    firm = judge_ratios(found[:2, None], np.ones(2, bool), np.zeros(2, bool), 4.0, str)
    assert firm.failed == 1
