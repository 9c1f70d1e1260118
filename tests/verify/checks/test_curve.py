"""Curve: decided next to a kink too, where a first-order slack is no bound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.verify.witness.planted_faults import SWEEP, Fault, Shown, parameters, weighed

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks import checks
from kernelproof.verify.records import Contract, Floats, Judgement, Outcome
from kernelproof.verify.truth.truth import truth_of

A = Contract(grade="A")


def judge(number: str, dtype: str, change: Callable[[Floats], Floats], rule: str = "adaptive:1") -> Judgement:
    op = "entmax" if rule == "adaptive:1" else "weights"
    case = Case.parse(f"{op} {number} rule={rule} dtype={dtype} family=two_keys shape=65x2 feature=wide seed=0")
    inputs = inputs_of(case)
    truth = truth_of(case, inputs)
    assert truth is not None
    output = change(truth.output.head.copy()).astype(next(iter(inputs.arrays.values())).dtype)
    check = checks()["curve"]
    assert set(check.calls(case, inputs)) == {"forward"}
    return check.judge(case, inputs, truth, {"forward": Outcome({"output": output})}, A)


def dent(weights: Floats) -> Floats:
    """One row of the middle whose weight is a hundredth too large."""
    rising = np.flatnonzero((weights[:-1, 0] > 0.05) & (weights[1:, 0] < 0.95))
    row = rising[len(rising) // 2]
    weights[row, 0] = weights[row + 1, 0] + 0.01
    return weights


PLACES = (
    *((number, "adaptive:1") for number in ("alpha=10", "order=1/16", "order=1", "order=2", "order=inf")),
    *((number, "anchored:1/2") for number in ("order=1/16", "order=1", "order=2")),
)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("number", "rule"), PLACES)
def test_green_on_the_truth_and_red_on_a_dent(number: str, rule: str, dtype: str) -> None:
    right = judge(number, dtype, lambda weights: weights, rule)
    assert right.failed == 0
    assert right.decided > 50
    assert judge(number, dtype, dent, rule).failed == 1


def test_nan_is_a_fall() -> None:
    def poison(weights: Floats) -> Floats:
        weights[30, 0] = np.nan
        return weights

    assert judge("order=2", "float32", poison).failed >= 1


FAULTS = (Fault("curve", "jagged", weighed("p[::3, 0] -= 0.25 * p[::3, 0] * p[::3, 1]\nreturn p"), SWEEP),)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
