"""The accuracy and gradient checks: green on rounded truth, red on each planted error; the box by its definition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.verify.witness.planted_faults import RANDOM, Fault, Shown, parameters, returned, weighed

from kernelproof import reference
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.checks.accuracy import CHECK as ACCURACY
from kernelproof.verify.checks.gradients import CHECK as GRADIENTS
from kernelproof.verify.judging.allowance import allowance_of
from kernelproof.verify.judging.errors import first_order, nonlinear
from kernelproof.verify.judging.grades import grade_of, limit_of
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.records import Contract, Inputs, Judgement, Outcome, Values
from kernelproof.verify.truth.box import box_kappa
from kernelproof.verify.truth.kink_hull import hull_distance
from kernelproof.verify.truth.truth import truth_of

ORDERS = ["1/16", "1/2", "1", "3/2", "2", "3", "8", "64", "1e4", "1e8", "inf"]
PROMISE = Contract(grade="A")


def entmax_case(order: str, dtype: str, z: Any, g: Any = None) -> tuple[Case, Inputs]:
    shape = tuple(z.shape)
    return Case("entmax", order, None, "adaptive:1", dtype, "random", shape, "1", 0), Inputs({"z": z}, {}, g)


def judged(case: Case, inputs: Inputs, output: Any) -> Judgement:
    return ACCURACY.judge(case, inputs, truth_of(case, inputs), {"forward": Outcome({"output": output})}, PROMISE)


@pytest.mark.parametrize("dtype", list(FORMATS))
@pytest.mark.parametrize("order", ORDERS)
def test_correctly_rounded_truth_is_grade_a(order: str, dtype: str) -> None:
    z = np.random.default_rng(1).normal(0, 2, (4, 24)).astype(FORMATS[dtype].dtype)
    case, inputs = entmax_case(order, dtype, z)
    found = judged(case, inputs, reference.entmax(z, order=case.kernel.order).weights.round(dtype))
    assert found.failed == 0
    assert found.decided == 4 * 24
    # One rounding to the dtype of the arrays is allowed apart from κ.
    assert found.errors["output"].kappa.max() == 0.0


@pytest.mark.parametrize("order", ["1/2", "1", "2", "64", "inf"])
def test_an_error_of_ten_units_fails(order: str) -> None:
    z = np.random.default_rng(2).normal(0, 1, (3, 9))
    case, inputs = entmax_case(order, "float64", z)
    truth = truth_of(case, inputs)
    assert truth is not None
    row, key = np.argwhere(truth.support)[-1]
    wrong = truth.output.head.copy()
    wrong[row, key] += 10 * truth.output.unit[row, key] * 2.0**-53
    found = judged(case, inputs, wrong)
    assert found.failed == 1
    assert found.worst is not None
    assert found.worst.index == (row, key)


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_a_nan_or_an_infinity_is_an_infinite_error(fault: float) -> None:
    z = np.zeros((1, 4))
    case, inputs = entmax_case("2", "float64", z)
    output = np.full((1, 4), 0.25)
    output[0, 2] = fault
    found = judged(case, inputs, output)
    assert found.failed == 1
    assert found.worst is not None
    assert found.worst.kappa == np.inf


@pytest.mark.parametrize(
    "outcome",
    [Outcome(error="ValueError: no"), Outcome(crash="killed"), Outcome(), Outcome({"output": np.zeros((2, 2))})],
)
def test_no_usable_output_fails(outcome: Outcome) -> None:
    case, inputs = entmax_case("2", "float64", np.zeros((1, 4)))
    found = ACCURACY.judge(case, inputs, truth_of(case, inputs), {"forward": outcome}, PROMISE)
    assert found.failed == 1


def test_a_wrong_weight_off_the_support_fails_far_from_the_kink_only() -> None:
    z = np.array([[1.0, 2.0**-60, -5.0]])
    case, inputs = entmax_case("1", "float64", z)
    right = reference.entmax(z, order=1).weights.round("float64")
    assert judged(case, inputs, right).failed == 0
    # The middle key is 2^-60 inside: dropping it is within rounding of the gaps, a weight off the support is not.
    assert judged(case, inputs, np.array([[1.0, 0.0, 0.0]])).failed == 0
    assert judged(case, inputs, np.array([[1.0, 0.0, 1e-17]])).failed == 1


def test_below_order_one_near_a_kink_the_box_decides() -> None:
    # n = 1/16 with the second key one ulp inside the threshold: first order would allow any weight there.
    z = np.array([[0.0, -np.nextafter(1 / 16, 0.0)]])
    case, inputs = entmax_case("1/16", "float64", z)
    truth = truth_of(case, inputs)
    assert truth is not None
    assert 0.0 < truth.output.head[0, 1] < 1e-15
    assert judged(case, inputs, truth.output.head).failed == 0
    assert judged(case, inputs, np.array([[1.0, 0.0]])).failed == 0
    assert judged(case, inputs, np.array([[1 - 1e-12, 1e-12]])).failed == 2


@pytest.mark.parametrize("order", ["1/2", "1", "2", "inf"])
@pytest.mark.parametrize("rule", ["adaptive:1", "fixed:2", "anchored:2"])
def test_the_box_agrees_with_first_order_where_that_holds(order: str, rule: str) -> None:
    if order == "inf" and rule.startswith("anchored"):
        pytest.skip("argmax is flat: there is no first order")
    scores = np.array([[-0.25, -0.5, -0.875]])
    case = Case("weights", order, None, rule, "float32", "random", (1, 3), "1", 0)
    truth = truth_of(case, Inputs({"scores": scores}))
    assert truth is not None
    precision = precision_of("float32", Contract())
    for kappa in (2.0, 20.0):
        # What κ allows beside the rounding of the result.
        got = float(truth.output.head[0, 1] + allowance_of(truth.output, precision).at(kappa)[0, 1])
        # The bisection in κ has a resolution of (32/4)^(1/16) and (4/0.25)^(1/16).
        assert box_kappa(case, scores[0], 1, got, precision) == pytest.approx(kappa, rel=0.2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("order", ["1/2", "1", "2", "8", "inf"])
def test_first_order_and_the_box_agree_to_two_wherever_both_hold(order: str, dtype: str) -> None:
    generator = np.random.default_rng(11)
    case = Case("entmax", order, None, "adaptive:1", dtype, "random", (6, 5), "1", 0)
    scores = generator.normal(0, 1.5, (6, 5)).astype(FORMATS[dtype].dtype).astype(np.float64)
    precision = precision_of(dtype, Contract())
    truth = truth_of(case, Inputs({"z": scores}))
    assert truth is not None
    holds = truth.support & ~nonlinear(truth, precision, float(case.kernel.order))
    assert holds.sum() >= 6
    allowance = allowance_of(truth.output, precision)
    for kappa, sign in ((6.0, 1), (6.0, -1), (300.0, 1), (300.0, -1)):
        got = truth.output.head + sign * allowance.at(kappa)
        for row, key in np.argwhere(holds):
            found = box_kappa(case, scores[row], int(key), float(got[row, key]), precision)
            assert kappa / 2 <= found <= 2 * kappa


def test_gradients_green_on_truth_and_red_on_each_planted_error() -> None:
    generator = np.random.default_rng(3)
    for order in ORDERS:
        z, g = generator.normal(0, 1, (3, 7)), generator.normal(size=(3, 7))
        case, inputs = entmax_case(order, "float64", z, g)
        truth = truth_of(case, inputs)
        assert truth is not None
        assert truth.gradients is not None
        right = {name: values.head for name, values in truth.gradients.items()}
        good = GRADIENTS.judge(case, inputs, truth, {"vjp": Outcome(right)}, PROMISE)
        assert good.failed == 0
        assert good.decided > 0
        if not truth.gradients["z"].unit.any():
            continue
        wrong = right | {"z": right["z"] + 64 * 2.0**-53 * truth.gradients["z"].unit}
        assert GRADIENTS.judge(case, inputs, truth, {"vjp": Outcome(wrong)}, PROMISE).failed > 0
        missing = {"z": right["z"]}
        assert GRADIENTS.judge(case, inputs, truth, {"vjp": Outcome(missing)}, PROMISE).failed == 1


def test_a_gradient_off_the_support_fails() -> None:
    z, g = np.array([[1.0, 0.5, -9.0]]), np.array([[1.0, 2.0, 3.0]])
    case, inputs = entmax_case("1", "float64", z, g)
    truth = truth_of(case, inputs)
    assert truth is not None
    assert truth.gradients is not None
    right = {name: values.head for name, values in truth.gradients.items()}
    wrong = right | {"z": right["z"] + np.array([[0.0, 0.0, 1e-12]])}
    assert GRADIENTS.judge(case, inputs, truth, {"vjp": Outcome(wrong)}, PROMISE).failed == 1


def test_at_a_kink_of_order_one_the_hull_decides() -> None:
    z, g = np.array([[1.0, 0.0, 0.0, -3.0]]), np.array([[1.0, 2.0, -1.0, 4.0]])
    case, inputs = entmax_case("1", "float64", z, g)
    truth = truth_of(case, inputs)
    assert truth is not None
    assert truth.gradients is not None

    def limit(*keys: int) -> Any:
        inside = np.isin(np.arange(4), keys)
        return np.where(inside, g - g[:, inside].mean(), 0.0)

    order = {"order": truth.gradients["order"].head}
    for right in (limit(0), limit(0, 1), limit(0, 1, 2), (limit(0) + limit(0, 2)) / 2):
        found = GRADIENTS.judge(case, inputs, truth, {"vjp": Outcome(order | {"z": right})}, PROMISE)
        assert found.failed == 0
        assert found.decided >= 4
    for wrong in (limit(0, 3), limit(0) + np.array([[0.0, 0.1, 0.0, 0.0]]), -limit(0, 1)):
        assert GRADIENTS.judge(case, inputs, truth, {"vjp": Outcome(order | {"z": wrong})}, PROMISE).failed > 0


def test_hull_of_a_zero_cotangent_is_zero() -> None:
    flags = np.array([True, False]), np.array([False, True])
    assert hull_distance(np.zeros(2), np.zeros(2), *flags, 1.0) == 0.0
    assert hull_distance(np.array([0.0, 1e-30]), np.zeros(2), *flags, 1.0) == np.inf


def test_rows_are_the_checked_ones() -> None:
    z = np.random.default_rng(5).normal(size=(6, 5))
    case, inputs = entmax_case("2", "float64", z)
    inputs = replace(inputs, rows=np.array([1, 4]))
    right = reference.entmax(z, order=2).weights.round("float64")
    right[0] = 99.0
    assert judged(case, inputs, right).failed == 0
    right[4] = 99.0
    assert judged(case, inputs, right).failed == 5


def test_a_value_beyond_the_format_is_its_infinity_and_nothing_else() -> None:
    truth = Values(*(np.array([x]) for x in (9.5e8, 0.0, 0.0, 9.5e8)))
    for name, right, wrong in [
        ("float16", [np.inf], [-np.inf, np.nan, 65504.0]),
        ("float8_e4m3fn", [np.nan, 448.0], [-448.0, 0.0]),
        ("float32", [9.5e8], [np.inf]),
    ]:
        for value in right:
            assert first_order(np.array([value]), truth, precision_of(name, Contract())).kappa[0] == 0.0
        for value in wrong:
            assert first_order(np.array([value]), truth, precision_of(name, Contract())).kappa[0] > 1e6


def test_grades() -> None:
    kappas = (0.0, 4.0, 5.0, 33.0, 2e3, 1e9, np.inf, np.nan)
    assert [grade_of(k) for k in kappas] == list("AABCDEFF")


@pytest.mark.parametrize("dtype", list(FORMATS))
def test_no_grade_but_e_has_a_box_wider_than_a_sixteenth(dtype: str) -> None:
    # κ counts roundings of the compute dtype, float32 at the widest, so that no grade needs a limit of its own.
    assert limit_of("D") * precision_of(dtype, Contract()).unit <= 1 / 16


def test_grade_d_in_bfloat16_does_not_admit_uniform_weights() -> None:
    z = np.array([[0.0, -1.0, -2.0, -3.0]], dtype=FORMATS["bfloat16"].dtype)
    case, inputs = entmax_case("inf", "bfloat16", z)
    outcomes = {"forward": Outcome({"output": np.full((1, 4), 0.25)})}
    truth = truth_of(case, inputs)
    found = ACCURACY.judge(case, inputs, truth, outcomes, Contract(grade="D"))
    # All but the second weight, 0.237, which is 5.6 % off: D allows 10⁶·2^-24, 6 % of it.
    assert found.failed == 3
    assert found.vacuous == 0


@pytest.mark.parametrize(("dtype", "visible"), [("float16", 1.002), ("bfloat16", 1.014), ("float8_e4m3fn", 1.24)])
def test_a_wrong_temperature_is_beyond_grade_c(dtype: str, visible: float) -> None:
    z = np.random.default_rng(7).normal(0, 2, (8, 16)).astype(FORMATS[dtype].dtype)
    case, inputs = entmax_case("inf", dtype, z)
    wrong = reference.entmax(z.astype(np.float64) * visible, order="inf").weights.round(dtype)
    found = ACCURACY.judge(case, inputs, truth_of(case, inputs), {"forward": Outcome({"output": wrong})}, PROMISE)
    assert found.failed > 8
    assert found.worst is not None
    assert found.worst.kappa is not None
    assert found.worst.kappa > 1e3


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("check", [ACCURACY, GRADIENTS], ids=lambda check: str(check.id))
def test_grade_e_is_finite(check: Any, fault: float) -> None:
    generator = np.random.default_rng(4)
    case, inputs = entmax_case("2", "float64", generator.normal(size=(2, 5)), generator.normal(size=(2, 5)))
    truth = truth_of(case, inputs)
    assert truth is not None
    assert truth.gradients is not None
    right = {"output": truth.output.head} | {name: values.head for name, values in truth.gradients.items()}
    for name in ("output", "z"):
        right[name] = right[name].copy()
        right[name][truth.support] *= 1.5
    contract, key = Contract(grade="E"), "forward" if check is ACCURACY else "vjp"
    outcome = Outcome({name: array for name, array in right.items() if (name == "output") == (check is ACCURACY)})
    assert check.judge(case, inputs, truth, {key: outcome}, contract).failed == 0
    name = "output" if check is ACCURACY else "z"
    outcome.arrays[name][1, 2] = fault
    assert check.judge(case, inputs, truth, {key: outcome}, contract).failed == 1


def test_a_finite_error_has_a_finite_kappa_next_to_a_kink_too() -> None:
    # n = 1/16, where the box decides: a weight of 1/2 on a key one ulp inside is wrong by far, and finite.
    scores = np.array([0.0, -np.nextafter(1 / 16, 0.0)])
    case = Case("entmax", "1/16", None, "adaptive:1", "float64", "random", (1, 2), "1", 0)
    precision = precision_of("float64", Contract())
    assert grade_of(box_kappa(case, scores, 1, 0.5, precision)) == "E"
    assert box_kappa(case, np.array([0.0, -np.inf]), 1, 0.5, precision) == np.inf


FAULTS = (
    Fault("accuracy", "power", weighed("return self.shares(p**1.01)"), RANDOM),
    Fault("accuracy", "raises", weighed("raise ValueError('no such luck')"), RANDOM),
    Fault("accuracy", "list", returned(".tolist()"), RANDOM),
    Fault("accuracy", "complex", returned(" + 0j"), RANDOM),
    Fault("accuracy", "shape", returned("[..., 1:]"), RANDOM),
)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)
