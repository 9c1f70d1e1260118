"""η counts with κ, what a target flushes is added once, and both are defined in one place."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kernelproof.reference.formats import FORMATS, Format
from kernelproof.verify.cases.case import Case
from kernelproof.verify.judging.errors import first_order, first_order_bound
from kernelproof.verify.judging.underflow import eta, eta_of, flushed, underflow
from kernelproof.verify.records import Contract, Floats, Values
from kernelproof.verify.truth.box import box_interval

ROOT = Path(__file__).resolve().parents[3]


def kappa_of(error: Floats, target: Format, unit: float, *, flush: bool, terms: int = 1) -> Floats:
    zero = np.zeros(error.shape)
    truth = Values(zero, zero, zero, np.full(error.shape, unit))
    return first_order(error, truth, target, flush=flush, terms=terms).kappa


@pytest.mark.parametrize("terms", [1, 7])
@pytest.mark.parametrize("unit", [0.0, 1e-30, 1.5])
@pytest.mark.parametrize("name", list(FORMATS))
def test_without_flushing_kappa_counts_eta(name: str, unit: float, terms: int) -> None:
    target = FORMATS[name]
    half = max(2.0 ** (target.emin - target.precision), 5e-324)
    one = target.unit_roundoff * unit + terms * half
    errors = one * np.array([0.0, 1.0, 4.0, 1000.0])
    # Bit for bit: the formula that records of before have their numbers from.
    assert kappa_of(errors, target, unit, flush=False, terms=terms).tolist() == (errors / one).tolist()


@pytest.mark.parametrize("terms", [1, 7])
@pytest.mark.parametrize("name", list(FORMATS))
def test_what_is_flushed_is_added_once(name: str, terms: int) -> None:
    target = FORMATS[name]
    normal, one = terms * 2.0**target.emin, terms * eta(target)
    errors = np.array([normal, normal + 4 * one, 4 * normal])
    found = kappa_of(errors, target, 0.0, flush=True, terms=terms)
    # A result of 0 for the largest subnormal is no error. Four times as much is one, and not one of κ = 4.
    assert found.tolist() == [0.0, 4.0, 3 * normal / one]


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("name", list(FORMATS))
def test_the_bound_is_the_inverse_of_the_measure(name: str, flush: bool) -> None:
    target = FORMATS[name]
    zero = np.zeros(3)
    truth = Values(zero, zero, zero, np.array([0.0, 2.0**-20, 1.0]))
    for kappa in (1.0, 4.0, 1000.0):
        bound = first_order_bound(kappa, truth, target, flush=flush, terms=3)
        # The bound is rounded to float64, next to its smallest normal number by as much as some η.
        off = 2 * np.spacing(bound) / (target.unit_roundoff * truth.unit + 3 * eta(target)) + kappa * 2.0**-50
        assert (np.abs(first_order(bound, truth, target, flush=flush, terms=3).kappa - kappa) <= off).all()


@pytest.mark.parametrize("flush", [False, True])
def test_the_box_adds_it_once(flush: bool) -> None:
    case = Case.parse("entmax order=1 rule=adaptive:1 dtype=float32 family=two_keys shape=1x2 feature=wide seed=0")
    target = FORMATS["float32"]
    # The second key is far off the support: its weight is exactly 0 at every corner, and underflow is all there is.
    scores = np.array([0.0, -1e6])
    wanted = Fraction(2) ** (-126 if flush else -150)
    for kappa in (1.0, 4.0, 32.0):
        assert box_interval(case, scores, 1, kappa, target, flush=flush) == (-wanted, wanted)


@pytest.mark.parametrize("name", list(FORMATS))
def test_slacks_have_room_for_the_larger_once(name: str) -> None:
    target = FORMATS[name]
    assert eta_of(target, Contract()) == eta(target) >= underflow(target, flush=False)
    assert eta_of(target, Contract(flush_to_zero=True)) == flushed(target, flush=True) == 2.0**target.emin
    assert flushed(target, flush=False) == 0


def test_there_is_one_formula() -> None:
    said = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "verify").rglob("*.py"))
        if "backends" not in path.parts and re.search(r"smallest\)? / 2|target\.emin if", path.read_text("utf-8"))
    ]
    assert said == ["verify/judging/underflow.py"]
