"""Checks of calls as such: determinism, inputs untouched, dtype kept, special values, empty rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks import checks
from kernelproof.verify.records import Array, Call, Contract, Judgement, Outcome
from kernelproof.verify.truth.truth import truth_of

A = Contract(grade="A", posinf="nan")
BASE = Case.parse("entmax order=2 rule=adaptive:1 dtype=float64 family=ties shape=3x8 feature=3 seed=0")
SPECIAL = Case.parse("entmax order=2 rule=adaptive:1 dtype=float64 family=special shape=4x7 feature=nan seed=0")
INFINITE = Case.parse(SPECIAL.text.replace("feature=nan", "feature=inf"))
EMPTY = Case.parse("weights order=2 rule=fixed:3 dtype=float64 family=masks shape=3x10 feature=empty_ball seed=0")


def right(case: Case, call: Call) -> Outcome:
    """What a faultless target does, from the oracle row by row."""
    if call.mode == "vjp":
        array = next(iter(call.inputs.arrays.values()))
        return Outcome({next(iter(call.inputs.arrays)): np.zeros_like(array), "order": np.array(0.0)})
    array = next(iter(call.inputs.arrays.values()))
    rows = array.reshape(-1, array.shape[-1])
    empty = call.inputs.options.get("empty", "nan")
    out = np.full(rows.shape, np.nan)
    for at, row in enumerate(rows):
        if np.isnan(row).any() or np.isposinf(row).any():
            continue
        try:
            found = reference.weights(row, *case.mechanism, empty=empty)
        except reference.DomainError as error:
            return Outcome(error=f"DomainError: {error}")
        out[at] = found.weights.round(case.dtype)
    return Outcome({"output": out.reshape(array.shape).astype(array.dtype)})


def ask(
    name: str, case: Case, change: Callable[[str, Outcome], Outcome] = lambda _, it: it, contract: Contract = A
) -> Judgement:
    check, inputs = checks()[name], inputs_of(case)
    outcomes = {key: change(key, right(case, call)) for key, call in check.calls(case, inputs).items()}
    assert outcomes, "the check does not apply"
    return check.judge(case, inputs, truth_of(case, inputs), outcomes, contract)


def edit(change: Callable[[Array], object], only: str | None = None) -> Callable[[str, Outcome], Outcome]:
    def apply(key: str, outcome: Outcome) -> Outcome:
        if only not in {None, key} or "output" not in outcome.arrays:
            return outcome
        array = outcome.arrays["output"].copy()
        change(array)
        return Outcome({"output": array})

    return apply


def put(index: tuple[int, int], value: float) -> Callable[[Array], object]:
    return lambda array: array.__setitem__(index, value)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("determinism", BASE),
        ("input_untouched", BASE),
        ("dtype_kept", BASE),
        ("special_values", SPECIAL),
        ("special_values", INFINITE),
        ("empty_rows", EMPTY),
    ],
)
def test_green_on_the_right_outcome(name: str, case: Case) -> None:
    said = ask(name, case)
    assert said.failed == 0, said.failures
    assert said.decided > 0


def test_determinism_sees_one_bit() -> None:
    bit = 2.0**-53
    assert (
        ask("determinism", BASE, edit(lambda p: p.__setitem__((0, 0), p[0, 0] * (1 + 2 * bit)), "forward again")).failed
        == 1
    )
    assert ask("determinism", BASE, edit(lambda p: p.__imul__(-1.0), "forward again")).failed > 0
    negative_zero = edit(lambda p: p.__setitem__(p == 0, -0.0), "forward again")
    assert ask("determinism", BASE, negative_zero).failed > 0


def test_input_untouched_sees_a_change() -> None:
    said = ask("input_untouched", BASE, lambda _, it: Outcome(it.arrays, modified=("z",)))
    assert said.failed == 2
    assert said.decided == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda it: Outcome({"output": it.arrays["output"].astype(np.float32)}),
        lambda it: Outcome({"output": it.arrays["output"].T}),
        lambda it: Outcome({"output": it.arrays["output"][None]}),
    ],
)
def test_dtype_kept_sees(change: Callable[[Outcome], Outcome]) -> None:
    assert ask("dtype_kept", BASE, lambda key, it: change(it) if key == "forward" else it).failed > 0


def test_dtype_kept_wants_gradients_in_the_dtype_of_their_array() -> None:
    bad = Outcome({"z": np.zeros((3, 8), np.float32), "order": np.zeros(())})
    assert ask("dtype_kept", BASE, lambda key, it: bad if key == "vjp" else it).failed == 1
    shape = Outcome({"z": np.zeros((3, 8)), "order": np.zeros(3)})
    assert ask("dtype_kept", BASE, lambda key, it: shape if key == "vjp" else it).failed == 1


def test_special_values_must_fill_their_row_and_no_other() -> None:
    assert ask("special_values", SPECIAL, edit(put((0, 3), 0.0), "forward")).failed == 1
    assert ask("special_values", SPECIAL, edit(put((1, 3), np.nan), "forward")).failed == 1
    assert ask("special_values", SPECIAL, edit(put((1, 3), 0.9), "forward")).failed == 1
    assert ask("special_values", SPECIAL, lambda *_: Outcome(error="IndexError: -1")).failed > 0


def test_infinity_is_what_the_contract_says() -> None:
    limit = Contract(grade="A", posinf="limit")
    one_hot = edit(lambda p: p.__setitem__(slice(0, None, 2), np.eye(7)[2]), "forward")
    assert ask("special_values", INFINITE, one_hot, limit).failed == 0
    assert ask("special_values", INFINITE, contract=limit).failed > 0
    assert ask("special_values", INFINITE, one_hot, Contract(posinf="any")).failed == 0
    assert ask("special_values", INFINITE, one_hot).failed > 0


@pytest.mark.parametrize(("policy", "value"), [("nan", 0.0), ("zeros", np.nan), ("zeros", 0.1)])
def test_empty_rows_follow_the_caller(policy: str, value: float) -> None:
    assert ask("empty_rows", EMPTY, edit(put((0, 0), value), policy)).failed == 1


def test_empty_rows_must_raise_when_asked_to() -> None:
    returned = Outcome({"output": np.zeros((3, 10))})
    assert ask("empty_rows", EMPTY, lambda key, it: returned if key == "raise" else it).failed > 0


def test_empty_rows_follow_the_contract() -> None:
    zeros = edit(lambda p: p.__setitem__(0, 0.0), "forward")
    assert ask("empty_rows", EMPTY, zeros, Contract(grade="A", empty_row="zeros")).failed == 0
    assert ask("empty_rows", EMPTY, zeros, Contract(grade="A", empty_row="nan")).failed > 0
    assert ask("empty_rows", EMPTY, zeros, Contract(grade="A", empty_row="any")).failed == 0


def test_other_rows_must_not_notice_an_empty_one() -> None:
    assert ask("empty_rows", EMPTY, edit(put((1, 0), np.nan), "forward")).failed > 0
    assert ask("empty_rows", EMPTY, edit(put((1, 0), 0.99), "zeros")).failed > 0


def test_they_apply_only_where_there_is_something() -> None:
    assert checks()["special_values"].calls(BASE, inputs_of(BASE)) == {}
    assert checks()["empty_rows"].calls(BASE, inputs_of(BASE)) == {}


def test_calls_that_raise_are_judged_elsewhere() -> None:
    error = Outcome(error="TypeError: no")
    assert ask("dtype_kept", BASE, lambda *_: error).decided == 0
    assert ask("dtype_kept", BASE, lambda *_: error).undecided == 2
    assert ask("determinism", BASE, lambda *_: error).failed == 0
    assert ask("determinism", BASE, lambda key, it: error if key == "forward again" else it).failed == 1


NONE = Case.parse("entmax order=2 rule=adaptive:1 dtype=float64 family=lengths shape=2x0 feature=length seed=0")
MASKED = Case.parse("entmax order=2 rule=adaptive:1 dtype=float64 family=masks shape=3x10 feature=all seed=0")


@pytest.mark.parametrize("case", [NONE, MASKED], ids=["no keys", "all masked"])
@pytest.mark.parametrize("name", sorted(set(checks()) - {"empty_rows"}))
@pytest.mark.parametrize(("policy", "may"), [("raise", True), ("any", True), ("zeros", False), ("nan", False)])
def test_a_target_may_raise_on_an_empty_row_if_its_contract_says_so(
    name: str, case: Case, policy: str, may: bool
) -> None:
    check, inputs = checks()[name], inputs_of(case)
    truth = truth_of(case, inputs)
    raised = {key: Outcome(error="ValueError: an empty row") for key in check.calls(case, inputs)}
    if not raised or truth is None or (name == "gradients" and truth.gradients is None):
        return
    said = check.judge(case, inputs, truth, raised, Contract(empty_row=policy))
    # That the same call raises again, changes nothing and has no dtype is not for the contract to allow.
    # Where there are keys, and all are masked, it is for the check of empty rows alone to say.
    if may or case is MASKED or name in {"determinism", "dtype_kept", "global_state", "input_untouched"}:
        assert said.failed == 0
        assert said.decided + said.undecided > 0
    else:
        assert said.failed == 1


def test_a_target_that_raises_on_a_full_row_fails_whatever_its_contract() -> None:
    for name in ("accuracy", "simplex", "gradients"):
        said = ask(name, BASE, lambda *_: Outcome(error="ValueError: no"), Contract(empty_row="raise"))
        assert said.failed == 1
