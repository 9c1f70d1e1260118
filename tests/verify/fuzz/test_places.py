"""Where the search for the worst error looks, and where it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernelproof.verify.case import OPS
from kernelproof.verify.declaring import Shapes
from kernelproof.verify.fuzz.places import places
from kernelproof.verify.scope import Scope
from kernelproof.verify.suites import ORDERS, Selection
from kernelproof.verify.targets import Target, describe, find


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


def test_what_takes_no_form_has_no_place(target: Target) -> None:
    scope = Scope("attention", dtypes=("float32",), shapes=Shapes(most_rank=2))
    assert places(replace(target, scopes=(scope,)), Selection()) == []
