"""Where the search for the worst error looks, and where it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.suites import ORDERS, Selection
from kernelproof.verify.fuzz.grid import USUAL_DTYPES, USUAL_ORDERS, left_out, places, usual
from kernelproof.verify.records import OPS
from kernelproof.verify.targets.declaration import Shapes
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.target import Target, describe, find


@pytest.fixture
def target() -> Target:
    found = describe(find("numpy"))
    assert not isinstance(found, str)
    return replace(found[0], scopes=tuple(Scope(op, dtypes=("float64", "float32")) for op in OPS))


def test_every_op_order_rule_and_dtype_is_a_place(target: Target) -> None:
    cases = places(target, Selection())
    assert len(set(cases)) == len(cases)
    assert {case.dtype for case in cases} == {"float64", "float32"}
    for op in OPS:
        kinds = {"adaptive"} if op == "entmax" else {"adaptive", "fixed", "anchored", "nearest"}
        held = {(case.order, case.rule.partition(":")[0]) for case in cases if case.op == op}
        wanted = {(order, kind) for order in ORDERS for kind in kinds}
        # Only of a ball of a known size, order 0 has a meaning.
        assert held == wanted | ({("0", "fixed"), ("0", "nearest")} if op != "entmax" else set())


def test_alphas_are_for_entmax_and_order_0_is_not(target: Target) -> None:
    assert {case.op for case in places(target, Selection(ops=("entmax",), alphas=("3/2",)))} == {"entmax"}
    assert places(target, Selection(ops=("entmax",), orders=("0",))) == []
    assert {case.op for case in places(target, Selection(orders=("0",)))} == set(OPS[1:])


def test_a_target_of_one_rule_and_order_has_a_place_for_each_dtype(target: Target) -> None:
    scope = Scope("weights", takes=(), order="2", rules=("nearest:7:fixed:2",), dtypes=("float32", "float16"))
    (first, second) = places(replace(target, scopes=(scope,)), Selection())
    assert (first.order, first.rule, first.dtype, second.dtype) == ("2", "nearest:7:fixed:2", "float32", "float16")


def test_the_usual_places_have_every_op_and_rule_and_few_orders(target: Target) -> None:
    wide = replace(target, scopes=tuple(replace(scope, dtypes=tuple(FORMATS)) for scope in target.scopes))
    whole = places(wide, Selection())
    few = usual(whole, Selection())
    assert few == [case for case in whole if case.order in USUAL_ORDERS and case.dtype in USUAL_DTYPES]
    assert {case.rule.partition(":")[0] for case in few} == {"adaptive", "fixed", "anchored", "nearest"}
    assert left_out(whole, few) == [
        "orders 0, 1/16, 3/2, 3, 8, 10000, 100000000",
        "dtypes float8_e4m3fn, float8_e5m2",
    ]


def test_what_was_asked_for_and_what_is_few_stays(target: Target) -> None:
    asked = Selection(orders=("3", "8", "1/16", "10000", "3/2", "0"), dtypes=("float32",))
    whole = places(target, asked)
    assert usual(whole, asked) == whole
    # The orders that a target takes, when there is none of the usual among them.
    odd = replace(target, scopes=(Scope("weights", orders=("3..60", "100..10000"), dtypes=("float32",)),))
    whole = places(odd, Selection())
    assert {case.order for case in whole} == {"3", "8", "10000"}
    assert usual(whole, Selection()) == whole
    assert left_out(whole, whole) == []


@pytest.mark.parametrize("requires", [("causal",), ("mask", "lengths"), ("scale", "key_norm_term", "empty")])
def test_a_target_that_requires_options_has_its_places(target: Target, requires: tuple[str, ...]) -> None:
    scope = Scope("attention", dtypes=("float32",), options=requires, requires=requires)
    few = Selection(orders=("1",))
    assert len(places(replace(target, scopes=(scope,)), few)) == 4
    # Regression has no mask: nobody can call it with one.
    assert places(replace(target, scopes=(replace(scope, op="regression", requires=("mask",)),)), few) == []


def test_what_takes_no_form_has_no_place(target: Target) -> None:
    scope = Scope("attention", dtypes=("float32",), shapes=Shapes(most_rank=2))
    assert places(replace(target, scopes=(scope,)), Selection()) == []
