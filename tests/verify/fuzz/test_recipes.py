"""Every recipe that is drawn can be built, and the draws reach all there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families import families
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.fuzz.recipes import Space, features, recipes
from kernelproof.verify.records import OPS, Inputs
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.target import Target

Loaded = Callable[[str], Target]


def drawn(space: Space, count: int) -> list[Case]:
    found: list[Case] = []

    @hypothesis.seed(0)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(recipes(space))
    def collect(case: Case | None) -> None:
        if case is not None:
            found.append(case)

    collect()
    return found


@pytest.fixture
def everything(faulty: Loaded) -> Space:
    dtypes = ("float32", "float64", "float16", "bfloat16")
    target = replace(faulty("ops"), scopes=tuple(Scope(op, dtypes=dtypes) for op in OPS))
    return Space(target, OPS, dtypes=target.dtypes)


def test_what_is_drawn_can_be_built_and_is_a_line_of_text(everything: Space) -> None:
    for case in drawn(everything, 250):
        assert Case.parse(case.text) == case
        assert inputs_of(case).arrays


def test_draws_reach_every_op_dtype_and_family(everything: Space) -> None:
    found = drawn(everything, 1000)
    assert {case.op for case in found} == set(OPS)
    assert {case.dtype for case in found} == set(everything.dtypes)
    for op in ("entmax", "weights"):
        wanted = {name for name in families() if features(name, op)[0]}
        assert {case.family for case in found if case.op == op} == wanted
    assert any(case.alpha is not None for case in found)
    assert any(case.order == "inf" for case in found)


def test_what_the_user_asks_for_is_all_that_is_drawn(everything: Space) -> None:
    space = replace(everything, ops=("entmax",), orders=("3/2",), dtypes=("float32",))
    found = drawn(space, 60)
    assert {(case.op, case.order, case.dtype) for case in found} == {("entmax", "3/2", "float32")}


def test_a_target_of_one_order_is_asked_for_no_other(faulty: Loaded) -> None:
    target = replace(faulty("right"), scopes=(Scope("entmax", takes=(), dtypes=("float32",)),)).with_order("2", None)
    found = drawn(Space(target, ("entmax",), dtypes=("float32",)), 40)
    assert found
    assert {case.order for case in found} == {"2"}


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        ({}, True),
        ({"orders": ("2.5", "3")}, True),
        ({"alphas": ("1.4",)}, False),  # the float64 1.4 is not 1 + 2/5
        ({"orders": ("2",)}, False),
        ({"ops": ("weights", "attention")}, False),
        ({"dtypes": ("float64",)}, False),
    ],
)
def test_a_kept_case_is_held_by_what_asks_for_its_like(everything: Space, asked: dict[str, Any], held: bool) -> None:
    case = Case("entmax", "5/2", None, "adaptive:1", "float32", "random", (2, 4), "1")
    assert replace(everything, **asked).holds(Subject(case)) is held
    if not asked:
        assert replace(everything, alphas=("3/2",)).holds(Subject(replace(case, order="", alpha="1.5")))


def test_a_witness_is_held_by_its_arrays_and_options_whatever_its_family_builds(everything: Space) -> None:
    scope = Scope("attention", dtypes=("float32",), options=("causal",))
    space = replace(everything, target=replace(everything.target, scopes=(scope,)))
    # One key is left of a recipe with NaN at the second.
    case = Case("attention", "1", None, "adaptive:1", "float32", "special", (1, 1, 1, 1, 1, 1), "nan")
    arrays = {name: np.ones((1, 1, 1), dtype=np.float32) for name in "qkv"}
    assert space.holds(Subject(case, Inputs(arrays, {"causal": True})))
    assert not space.holds(Subject(case, Inputs(arrays, {"mask": np.ones((1, 1, 1), dtype=bool)})))
