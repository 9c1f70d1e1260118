"""Lean: a temperature that rounding hides in every output shows in the errors of a case, and rounding does not."""

from __future__ import annotations

import numpy as np
import pytest
from tests.verify.witness.planted_faults import Fault, Shown, parameters, weighed

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of, resolve
from kernelproof.verify.checks import checks
from kernelproof.verify.checks.lean import CERTAIN, LIMIT, fit_of
from kernelproof.verify.records import Contract, Floats, Judgement, Outcome
from kernelproof.verify.truth.lookup import truth_for
from kernelproof.verify.truth.temperature import by_log_beta

PLAIN = Contract()
ROW = "{op} order={order} rule=adaptive:1 dtype={dtype} family=random shape=40x65 feature=1 seed=0"
FAULTS = (
    Fault(
        "lean",
        "warm",
        "KERNELPROOF = {**Right.KERNELPROOF, 'dtypes': ['float16']}\n"
        + weighed("return super().weights_of(1.002 * z.astype(np.float64), n)"),
        ROW.format(op="entmax", order="inf", dtype="float16"),
    ),
)


def case_of(dtype: str, order: str = "inf", op: str = "entmax") -> Case:
    return Case.parse(ROW.format(op=op, order=order, dtype=dtype))


def answers(case: Case, factor: float) -> Judgement:
    """What the check says of outputs that are right for scores times `factor`, correctly rounded."""
    inputs = resolve(inputs_of(case), PLAIN)
    truth, _ = truth_for(case, inputs, PLAIN)
    assert truth is not None
    exact = truth.output.head + np.log(factor) * by_log_beta(case, inputs, truth)
    rounded = FORMATS[case.dtype].round_floats(exact)
    return checks()["lean"].judge(case, inputs, truth, {"forward": Outcome({"output": rounded})}, PLAIN)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)


@pytest.mark.parametrize("order", ["2", "inf"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_it_tells_a_temperature_from_rounding(dtype: str, order: str) -> None:
    case = case_of(dtype, order)
    right = answers(case, 1.0)
    assert right.decided == 1
    assert right.failed == 0
    for factor in (1.002, 0.998):
        assert answers(case, factor).failed == 1


def test_it_leaves_dtypes_alone_that_show_errors_in_single_outputs() -> None:
    for dtype in ("float64", "float32", "float8_e4m3fn"):
        case = case_of(dtype)
        assert checks()["lean"].calls(case, resolve(inputs_of(case), PLAIN)) == {}


def fitted(case: Case, off: Floats) -> float | None:
    inputs = resolve(inputs_of(case), PLAIN)
    truth, _ = truth_for(case, inputs, PLAIN)
    assert truth is not None
    fit = fit_of(case, inputs, truth, truth.output.head + off, PLAIN)
    return None if fit is None else fit.slope / fit.error


def test_the_standard_error_is_that_of_chance() -> None:
    """Of errors drawn at random, slopes are N(0, 1) in standard errors: about 1 in size, and never `CERTAIN`."""
    case = case_of("bfloat16")
    inputs = resolve(inputs_of(case), PLAIN)
    truth, _ = truth_for(case, inputs, PLAIN)
    assert truth is not None
    draw = np.random.default_rng(0)
    size = np.abs(truth.output.head) * FORMATS["bfloat16"].unit_roundoff
    found = [fitted(case, draw.uniform(-1, 1, size.shape) * size) for _ in range(40)]
    slopes = np.array([each for each in found if each is not None])
    assert len(slopes) == len(found)
    # 40 draws of a standard normal: their standard deviation lies between these bounds but for one time in 10^4.
    assert 0.6 < slopes.std() < 1.5
    assert np.abs(slopes).max() < CERTAIN


def test_one_output_proves_nothing() -> None:
    case = case_of("bfloat16")
    off = np.zeros((40, 65))
    off[3, 7] = 0.25
    found = fitted(case, off)
    assert found is not None
    assert abs(found) < CERTAIN


def test_outputs_that_all_round_to_one_number_are_left_out() -> None:
    """Two keys with gaps far below an ulp: every weight comes as 1/2, and its error follows its gap."""
    text = "entmax order=2 rule=adaptive:1 dtype=bfloat16 family=two_keys shape=129x2 feature=small seed=0"
    case = Case.parse(text)
    inputs = resolve(inputs_of(case), PLAIN)
    truth, _ = truth_for(case, inputs, PLAIN)
    assert truth is not None
    rounded = FORMATS["bfloat16"].round_floats(truth.output.head)
    said = checks()["lean"].judge(case, inputs, truth, {"forward": Outcome({"output": rounded})}, PLAIN)
    assert said.failed == 0


def test_the_limit_is_between_what_is_right_and_what_is_wrong() -> None:
    assert 4e-4 < LIMIT < 1e-3
