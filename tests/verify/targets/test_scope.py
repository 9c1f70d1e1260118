"""Scopes: which cases and calls a target can be asked, in words; and plans that spend their cases there."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from kernelproof.verify.cases.axes import PAIRS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families import families
from kernelproof.verify.cases.plan import plan
from kernelproof.verify.cases.rules import filled, matches
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.records import Inputs
from kernelproof.verify.targets.declaration import Shapes
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.shapes import refused_shape

ALL = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
ATTENTION = "attention order=2 rule=adaptive:1 dtype=float32 family={} shape={} feature={} seed=0"
PLAIN = Case.parse(ATTENTION.format("random", "2x1x3x8x4x2", "1"))
MASKED = Case.parse(ATTENTION.format("masks", "2x1x3x8x4x2", "mask"))


def scope(**changes: object) -> Scope:
    return replace(Scope("attention", dtypes=ALL, options=None), **changes)  # type: ignore[arg-type]


def test_what_is_not_limited_is_asked() -> None:
    assert scope().refuses(PLAIN) is None
    assert scope().refuses(MASKED) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtypes": ("float64",)}, "float32"),
        ({"takes": (), "order": "1"}, "another order"),
        ({"takes": (), "alpha": "2"}, "another order"),
        ({"orders": ("1", "3..inf")}, "1, 3..inf"),
        ({"rules": ("fixed", "nearest:k:adaptive:1")}, "fixed or nearest:k:adaptive:1"),
        ({"shapes": Shapes(least_rank=4)}, "4 axes at least"),
        ({"shapes": Shapes(most_rank=2)}, "2 axes at most"),
        ({"shapes": Shapes(square=True)}, "as many queries as keys"),
        ({"shapes": Shapes(grouped_heads=False)}, "a key head for each"),
        ({"shapes": Shapes(equal_widths=True)}, "as wide as"),
        ({"shapes": Shapes(head_sizes=(16, 32))}, "head sizes 16, 32"),
        ({"shapes": Shapes(head_multiple=8)}, "that 8 divides"),
        ({"shapes": Shapes(length_multiple=4)}, "lengths that 4 divides"),
        ({"shapes": Shapes(least_keys=9)}, "9 keys at least"),
        ({"shapes": Shapes(most_keys=7)}, "7 keys at most"),
        ({"shapes": Shapes(most_rows=2)}, "2 rows at most"),
    ],
)
def test_each_limit_refuses_in_words(changes: dict[str, object], reason: str) -> None:
    said = scope(**changes).refuses(PLAIN)
    assert said is not None
    assert reason in said


@pytest.mark.parametrize(
    "changes",
    [
        {"takes": (), "order": "2"},
        {"takes": (), "alpha": "3/2"},
        {"takes": ("alpha",)},
        {"orders": ("1..inf",)},
        {"rules": ("adaptive:1.0",)},
        {"rules": ("adaptive:beta",)},
        {
            "shapes": Shapes(
                least_rank=3, most_rank=3, head_sizes=(4,), head_multiple=2, least_keys=8, most_keys=8, most_rows=3
            )
        },
    ],
)
def test_each_limit_lets_through_what_it_allows(changes: dict[str, object]) -> None:
    assert scope(**changes).refuses(PLAIN) is None


def test_options_that_a_target_has_no_parameter_for() -> None:
    bare = scope(options=("causal",))
    assert bare.refuses(PLAIN) is None
    assert bare.refuses(MASKED) == "the target has no parameter for mask"


def test_a_call_that_a_check_made_is_judged_by_its_own_shape() -> None:
    rows = Inputs({"z": np.zeros((4, 3))})
    assert Scope("entmax", shapes=Shapes(most_rows=4)).refuses_inputs(rows) is None
    assert Scope("entmax", shapes=Shapes(most_rows=3)).refuses_inputs(rows) is not None
    assert refused_shape(Shapes(least_keys=1), {"z": ()}) is not None


def test_alpha_gets_only_what_a_float_holds() -> None:
    inexact = Case.parse(PLAIN.text.replace("order=2", "order=3"))
    assert "order 3" in str(scope(takes=("alpha",)).refuses(inexact))
    assert scope(takes=("kernel",)).refuses(inexact) is None


@pytest.mark.parametrize(
    ("rules", "order"),
    [(("nearest:k:adaptive:1",), "inf"), (("anchored:1/2",), "1"), (("fixed:h",), "0"), (("nearest",), "0")],
)
@pytest.mark.parametrize("suite", ["quick", "standard"])
def test_one_order_and_rule_get_every_family(rules: tuple[str, ...], order: str, suite: str) -> None:
    cases = plan(Selection(suite=suite, ops=("weights",), orders=(order,), rules=rules))
    assert {case.order for case in cases} == {order}
    assert all(any(matches(rule, case.rule) for rule in rules) for case in cases)
    held = {name for name, family in families().items() if next(iter(family.recipes(suite, "weights")), None)}
    # The Gaussian has no threshold to be near.
    assert {case.family for case in cases} == held - ({"kink"} if order == "inf" else set()) | {PAIRS}
    assert len(cases) >= 40
    if "k" in rules[0].split(":"):
        assert len({case.rule for case in cases}) > 1


def test_patterns_fill_with_what_they_match() -> None:
    for pattern in ("adaptive", "fixed:h", "anchored:*", "nearest", "nearest:k:fixed:h", "nearest:2:anchored:1/2"):
        for turn in range(4):
            assert matches(pattern, filled(pattern, turn, "3"))
    assert not matches("adaptive:1", "adaptive:2")
    assert not matches("nearest:k:adaptive:1", "adaptive:1")
    assert not matches("fixed", "nearest:3:fixed:3")


def test_negative_orders_are_asked_of_who_declares_them_or_where_they_are_named() -> None:
    case = Case.parse("entmax order=-2 rule=adaptive:1 dtype=float64 family=random shape=3x8 feature=1 seed=0")
    plain = Scope("entmax", dtypes=ALL)
    assert plain.refuses(case) == "nothing declares that the target takes negative orders"
    assert replace(plain, asked=(Fraction(-2),)).refuses(case) is None
    assert replace(plain, orders=("-inf..-1",)).refuses(case) is None
    assert replace(plain, orders=("1..inf",)).refuses(case) == "the target takes orders 1..inf"
    # What a plan has for the one, it has not for the other.
    usual = {each.order for each in plan(Selection("quick", ops=("weights",)))}
    heavy = {each.order for each in plan(Selection("quick", ops=("weights",), heavy_tails=True))}
    assert not any(order.startswith("-") for order in usual)
    assert heavy - usual == {"-1/2", "-3/2", "-2", "-64", "-1000000"}


def test_numbers_for_each_row_are_asked_where_they_are_declared_and_taken() -> None:
    orders = {"order": np.array([[1.0], [2.0]])}
    plain = Scope("entmax", dtypes=ALL)
    assert plain.refuses_each(orders) == "nothing declares that order may differ from row to row"
    declared = replace(plain, per_row=("alpha",))
    assert declared.refuses_each(orders) is None
    assert replace(declared, orders=("3/2..4",)).refuses_each(orders) == "the target is not asked for order 1"
    assert replace(declared, asked=(Fraction(2),)).refuses_each(orders) == "the target is not asked for order 1"
    assert declared.refuses_each({"order": np.array([[1.0], [-2.0]])}) == "the target is not asked for order -2"
    assert replace(declared, takes=()).refuses_each(orders) is not None
