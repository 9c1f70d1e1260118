"""Diagnosis: the smallest set of roundings that explains every failure is told, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from kernelproof.verify.cases.case import Case
from kernelproof.verify.judging.diagnosis import GRADE, LARGEST, Assumption, assumptions, explaining
from kernelproof.verify.records import Contract, Errors, Judgement

CASE = Case.parse("entmax order=inf rule=adaptive:1 dtype=bfloat16 family=random shape=3x8 feature=1 seed=0")
RIGHT = Judgement(decided=9)
WRONG = Judgement(decided=9, failed=1)
NONE = np.zeros(1)
POWERLESS = Judgement(vacuous=9, errors={"output": Errors(NONE, NONE, NONE)})


def rejudge(needed: Mapping[str, set[str]], otherwise: Judgement = WRONG) -> Callable[[str, Contract], Judgement]:
    """A check passes if the contract has all roundings that it needs."""
    return lambda name, contract: RIGHT if needed[name] <= set(contract.roundings or ()) else otherwise


def test_the_least_comes_first() -> None:
    for op in ("entmax", "attention"):
        sizes = [len(each.roundings) for each in assumptions(op) if not each.computes]
        assert sizes == sorted(sizes)
        assert max(sizes) == LARGEST
        assert sum(each.computes for each in assumptions(op)) == 1


def test_the_smallest_set_is_found() -> None:
    found = explaining(CASE, ("a",), Contract(), rejudge({"a": {"exponentials"}}), None)
    assert found[0] == Assumption(("exponentials",))
    assert "exponentials" in found[0].words
    both = explaining(CASE, ("a",), Contract(), rejudge({"a": {"exponentials", "denominator"}}), None)
    assert both == (Assumption(("exponentials", "denominator")),)


def test_every_failed_check_must_pass() -> None:
    needed = {"a": {"exponentials"}, "b": {"no such rounding"}}
    assert explaining(CASE, ("a", "b"), Contract(), rejudge(needed), None) == ()


def test_what_explains_one_case_must_explain_the_next() -> None:
    first = explaining(CASE, ("a",), Contract(), rejudge({"a": {"exponentials"}}), None)
    assert explaining(CASE, ("a",), Contract(), rejudge({"a": {"denominator"}}), first)[0] == Assumption(
        ("exponentials", "denominator")
    )
    assert explaining(CASE, ("a",), Contract(), rejudge({"a": set()}), ()) == ()


def test_a_pass_without_power_explains_nothing() -> None:
    assert explaining(CASE, ("a",), Contract(), lambda *_: POWERLESS, None) == ()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_that_store_all_digits_have_no_storage_roundings(dtype: str) -> None:
    case = Case.parse(CASE.text.replace("bfloat16", dtype))
    assert explaining(case, ("a",), Contract(), rejudge({"a": set()}), None) == ()


def test_it_adds_to_what_is_declared_at_grade_c() -> None:
    assumed = Assumption(("denominator",)).added(CASE, Contract(grade="A", roundings=("exponentials",)))
    assert assumed.roundings == ("exponentials", "denominator")
    assert assumed.grade == GRADE
    assert Assumption(("denominator",)).added(CASE, Contract(grade="D")).grade == "D"
    assert Assumption(computes=True).added(CASE, Contract()).compute == "bfloat16"
