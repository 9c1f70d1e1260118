"""Checks of rows of weights: each is green on the right outcome, and red on the fault planted for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks import checks
from kernelproof.verify.checks.kkt import potential
from kernelproof.verify.checks.translation import exact_shift
from kernelproof.verify.records import Array, Contract, Floats, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.truth.truth import truth_of

A = Contract(grade="A")
ORDERS = ("1/2", "1", "3/2", "2", "8", "10000", "inf")


def case_of(order: str = "2", *, op: str = "entmax", rule: str = "adaptive:1", **more: str) -> Case:
    fields = {"dtype": "float64", "family": "ties", "feature": "3", **more}
    return Case(op=op, order=order, alpha=None, rule=rule, shape=(3, 8), seed=1, **fields)


def prepared(case: Case) -> tuple[Inputs, Truth, Array]:
    """Inputs, truth, and the correctly rounded output."""
    inputs = inputs_of(case)
    truth = truth_of(case, inputs)
    assert truth is not None
    dtype = next(iter(inputs.arrays.values())).dtype
    return inputs, truth, truth.output.head.astype(dtype).reshape(case.shape)


def ask(
    name: str, case: Case, answer: Callable[[str, Array], Outcome] | None = None, contract: Contract = A
) -> Judgement:
    """What the check says if every call is answered rightly, or as `answer` changes the right output."""
    check = checks()[name]
    inputs, truth, _ = prepared(case)
    outcomes = {}
    for key, call in check.calls(case, inputs).items():
        own = truth_of(case, call.inputs)
        assert own is not None
        right = own.output.head.astype(case.dtype).reshape(case.shape)
        outcomes[key] = answer(key, right) if answer else Outcome({"output": right})
    assert outcomes, "the check does not apply"
    return check.judge(case, inputs, truth, outcomes, contract)


def changed(change: Callable[[Floats], Floats], only: str | None = None) -> Callable[[str, Array], Outcome]:
    def answer(key: str, right: Array) -> Outcome:
        return Outcome({"output": change(right.copy()) if only in {None, key} else right})

    return answer


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["simplex", "support", "kkt", "monotone", "translation", "permutation"])
def test_green_on_the_truth(name: str, order: str) -> None:
    for family, feature in (("ties", "3"), ("planted_support", "3"), ("random", "2"), ("offsets", "2")):
        case = case_of(order, family=family, feature=feature)
        if name == "translation" and not checks()[name].calls(case, inputs_of(case)):
            continue
        said = ask(name, case)
        assert said.failed == 0, (case.text, said.failures)
        assert said.decided > 0


@pytest.mark.parametrize("rule", ["fixed:3", "anchored:2", "nearest:3:adaptive:1"])
@pytest.mark.parametrize("name", ["simplex", "support", "monotone", "permutation"])
def test_green_on_the_truth_of_other_rules(name: str, rule: str) -> None:
    said = ask(name, case_of(op="weights", rule=rule, family="random", feature="1"))
    assert said.failed == 0, said.failures
    assert said.decided > 0


@pytest.mark.parametrize("grade", ["D", "E"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_the_lowest_grades_forgive_no_wrong_support_or_sum(grade: str, dtype: str) -> None:
    case = case_of("2", family="planted_support", feature="3", dtype=dtype)
    lost = changed(lambda p: np.where(p == p.max(axis=1, keepdims=True), p.dtype.type(0), p))
    gained = changed(lambda p: np.where(p == 0, p.dtype.type(0.01), p))
    for fault in (lost, gained):
        assert ask("support", case, fault, Contract(grade=grade)).failed > 0
    assert ask("simplex", case, changed(lambda p: p * 2), Contract(grade=grade)).failed > 0


@pytest.mark.parametrize("name", ["simplex", "support", "kkt", "monotone", "translation", "permutation"])
@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_grade_e_forgives_nothing_that_is_not_finite(name: str, fault: float) -> None:
    case, contract = case_of("2"), Contract(grade="E")
    assert ask(name, case, None, contract).failed == 0
    broken = changed(lambda p: np.where(np.arange(8) == 2, fault, p), None if name in LONE else "forward")
    assert ask(name, case, broken, contract).failed > 0


LONE = frozenset({"simplex", "support", "kkt", "monotone"})
"""Checks of one call alone; the others compare two."""


def off_sum(p: Floats) -> Floats:
    return p * (1 + 1e-12)


def negative(p: Floats) -> Floats:
    p[0, 0] = -1e-300
    return p


def lost_key(p: Floats) -> Floats:
    at = np.argmin(np.where(p > 0, p, 2), axis=-1)
    np.put_along_axis(p, at[:, None], 0.0, axis=-1)
    return p


def extra_key(p: Floats) -> Floats:
    p[p == 0] = 1e-9
    return p


def swapped(p: Floats) -> Floats:
    return p[..., ::-1].copy()


def wrong_power(p: Floats) -> Floats:
    q = p**1.01
    return np.asarray(q / q.sum(axis=-1, keepdims=True))


def nan(p: Floats) -> Floats:
    p[1, 1] = np.nan
    return p


PLANTED = [
    ("simplex", off_sum),
    ("simplex", negative),
    ("simplex", nan),
    ("support", lost_key),
    ("support", extra_key),
    ("support", nan),
    ("kkt", wrong_power),
    ("kkt", lost_key),
    ("kkt", swapped),
    ("kkt", nan),
    ("monotone", swapped),
    ("monotone", nan),
]


@pytest.mark.parametrize(("name", "fault"), PLANTED)
def test_red_on_a_planted_fault(name: str, fault: Callable[[Floats], Floats]) -> None:
    said = ask(name, case_of(family="planted_support", feature="3"), changed(fault))
    assert said.failed > 0
    assert said.failures
    assert said.failures[0].message


@pytest.mark.parametrize("name", ["translation", "permutation"])
def test_red_if_the_second_call_differs(name: str) -> None:
    case = case_of(family="ties", feature="3")
    second = {"translation": "shifted", "permutation": "permuted"}[name]
    for fault in (off_sum, nan, wrong_power):
        assert ask(name, case, changed(fault, only=second)).failed > 0


@pytest.mark.parametrize("name", ["simplex", "support", "kkt", "monotone", "translation", "permutation"])
def test_red_if_the_call_fails(name: str) -> None:
    for outcome in (Outcome(error="ValueError: no"), Outcome()):
        assert ask(name, case_of(), lambda *_, outcome=outcome: outcome).failed > 0
    wrong_shape = ask(name, case_of(), lambda _, right: Outcome({"output": right[:, :-1]}))
    assert wrong_shape.failed > 0


def test_support_is_undecided_in_the_rounding_band_only() -> None:
    case = case_of(family="kink", feature="+1")
    said = ask("support", case)
    assert said.undecided > 0
    assert said.decided > 0
    assert ask("support", case, changed(lambda p: np.where(np.arange(8) == 7, 0.0, p))).failed == 0


@pytest.mark.parametrize("fault", [-np.inf, -1e-300, -0.25, np.nan, np.inf])
@pytest.mark.parametrize(("feature", "key"), [("3", "in"), ("3", "out"), ("+1", "band")])
def test_what_is_negative_or_not_finite_is_in_no_support(fault: float, feature: str, key: str) -> None:
    case = case_of(family="kink" if key == "band" else "planted_support", feature=feature)
    inputs, truth, right = prepared(case)
    judged = checks()["support"].judge(case, inputs, truth, {"forward": Outcome({"output": right})}, A)
    assert judged.failed == 0
    # The key at the kink comes last; else a key with weight, or one without.
    at = 7 if key == "band" else int(np.argmax(truth.support[0] == (key == "in")))
    wrong = right.copy()
    wrong[0, at] = fault
    said = checks()["support"].judge(case, inputs, truth, {"forward": Outcome({"output": wrong})}, A)
    assert said.failed == 1
    assert said.decided == judged.decided + (key == "band")
    assert said.worst is not None
    assert said.worst.index == (0, at)


def test_a_zero_of_either_sign_is_no_weight() -> None:
    case = case_of(family="planted_support", feature="3")
    assert ask("support", case, changed(lambda p: np.where(p == 0, -0.0, p))).failed == 0


def test_tied_scores_must_have_equal_weights() -> None:
    def unfair(p: Floats) -> Floats:
        p[:, 0] += 1e-9
        return p

    assert ask("monotone", case_of(family="ties", feature="1"), changed(unfair)).failed > 0


def test_potential_has_no_cancellation() -> None:
    weights = np.array([0.25, 1.0])
    # n(p^{1/n} − 1) tends to log p with the error log² p/(2n); beside it a power, a product and a logarithm round.
    n, log = 1e12, np.log(weights)
    assert potential(weights, n) == pytest.approx(log, abs=(log**2).max() / (2 * n) + 4 * np.finfo(np.float64).eps)
    assert potential(weights, float("inf")).tolist() == np.log(weights).tolist()
    assert potential(weights, 2.0).tolist() == [1.0, 2.0]


def test_exact_shift_is_exact_or_none() -> None:
    rows = np.array([[1.0, 0.5, -np.inf], [0.1, 1e-9, 0.3], [0.0, 0.0, 0.0]])
    shifted, done = exact_shift(rows, "float64")
    assert done.tolist() == [True, False, True]
    assert shifted[0].tolist() == [0.0, -0.5, -np.inf]
    assert np.array_equal(shifted[1], rows[1])
    assert len(set(shifted[2])) == 1
    assert shifted[2, 0] != 0


def test_checks_of_weights_do_not_apply_to_outputs() -> None:
    case = Case.parse("regression order=2 rule=fixed:3 dtype=float64 family=random shape=3x12x4x3 feature=1 seed=0")
    for name in ("simplex", "support", "kkt", "monotone", "translation"):
        assert checks()[name].calls(case, inputs_of(case)) == {}
    assert set(checks()["permutation"].calls(case, inputs_of(case))) == {"forward", "permuted"}


def test_a_fixed_bandwidth_is_not_translated() -> None:
    case = case_of(op="weights", rule="nearest:3:fixed:3")
    assert checks()["translation"].calls(case, inputs_of(case)) == {}


def test_rows_of_several_admissible_outputs_are_undecided() -> None:
    inputs, truth, right = prepared(case_of())
    unsure = replace(truth, unsure=np.ones(3, dtype=bool))
    for name in ("support", "kkt", "monotone"):
        said = checks()[name].judge(case_of(), inputs, unsure, {"forward": Outcome({"output": right})}, A)
        assert said.decided == 0
        assert said.undecided > 0
