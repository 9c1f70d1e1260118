"""a(κ) = ½ ulp_s(|y| + R) + R + κ·u_c·unit: what it adds once, what grows, and κ as its inverse."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.judging.allowance import allowance_of
from kernelproof.verify.judging.errors import errors_of, first_order
from kernelproof.verify.judging.grades import GRADE_LIMITS, band_of, grade_of, limit_of, power_of, sharp_of
from kernelproof.verify.judging.precision import eta, precision_of
from kernelproof.verify.records import Contract, Floats, Values
from kernelproof.verify.truth.box import box_interval

every_format = pytest.mark.parametrize("name", list(FORMATS))


def values(head: Floats, unit: Floats | float, stored: Floats | float = 0.0, radius: float = 0.0) -> Values:
    zero = np.zeros_like(head)
    return Values(head, zero, zero + radius, zero + unit, stored)


@pytest.mark.parametrize("flush", [False, True])
@every_format
def test_kappa_is_the_inverse_of_the_allowance(name: str, flush: bool) -> None:
    precision = precision_of(name, Contract(flush_to_zero=flush))
    truth = values(np.array([0.0, 0.25, -1.0, 0.75]), np.array([0.0, 2.0**-20, 1.0, 3.0]), np.array([0, 0, 0.125, 1]))
    allowance = allowance_of(truth, precision, terms=3)
    for kappa in (1.0, 4.0, 1000.0, 1e6):
        bound = allowance.at(kappa)
        # The bound is rounded to float64, and is large beside a κ that counts η.
        off = 2 * np.spacing(bound) / allowance.rate + kappa * 2.0**-50
        assert (np.abs(allowance.kappa_of(bound) - kappa) <= off).all()
    # Less than what is fixed is no error at all, and κ never falls below 0.
    assert allowance.kappa_of(allowance.fixed).tolist() == [0.0] * 4
    assert allowance.kappa_of(allowance.fixed / 2).tolist() == [0.0] * 4


@every_format
def test_the_terms(name: str) -> None:
    """Half an ulp at |y| + R, not at |y|; R, the radius and half an ulp once; u_c·unit and η with κ."""
    precision = precision_of(name, Contract())
    target = FORMATS[name]
    u = target.unit_roundoff
    # 0.75 + 0.5 is in the next binade: its spacing is twice as large.
    truth = values(np.array([-0.75]), 3.0, 0.5, radius=2.0**-40)
    allowance = allowance_of(truth, precision)
    assert allowance.forced[0] == u + 0.5
    assert allowance.fixed[0] == u + 0.5 + 2.0**-40
    assert allowance.rate[0] == precision.unit * 3.0 + eta(precision.compute)
    assert allowance.at(7.0)[0] == allowance.fixed[0] + 7 * allowance.rate[0]
    assert allowance_of(values(np.array([-0.75]), 3.0), precision).forced[0] == u / 2
    strict = allowance_of(truth, precision, strict=True)
    assert strict.rate[0] == precision.unit * 0.75 + eta(precision.compute)


@every_format
def test_the_spacing_of_subnormals_is_the_floor(name: str) -> None:
    precision, target = precision_of(name, Contract()), FORMATS[name]
    smallest = 2.0 ** (target.emin - target.precision + 1)
    tiny = np.array([0.0, smallest / 16, smallest, 2.0**target.emin])
    forced = allowance_of(values(tiny, 0.0), precision).forced
    assert forced.tolist() == [max(smallest / 2, 5e-324)] * 4


@pytest.mark.parametrize("terms", [1, 7])
@every_format
def test_what_is_flushed_is_added_once(name: str, terms: int) -> None:
    flushing, plain = (precision_of(name, Contract(flush_to_zero=flush)) for flush in (True, False))
    truth = values(np.zeros(1), 0.0)
    normal = 2.0 ** FORMATS[name].emin
    with_it, without = (allowance_of(truth, each, terms=terms) for each in (flushing, plain))
    assert with_it.fixed[0] - without.fixed[0] == pytest.approx(terms * normal, rel=2.0**-50)
    assert with_it.rate[0] == without.rate[0]
    # It is not forced on every target: those that flush declare it.
    assert with_it.forced[0] == without.forced[0]
    # A result of 0 for the largest subnormal is no error. Four times as much is one.
    found = first_order(np.array([terms * normal, 4 * terms * normal]), values(np.zeros(2), 0.0), flushing, terms=terms)
    assert found.kappa[0] == 0.0
    assert found.kappa[1] > 4.0


@pytest.mark.parametrize("flush", [False, True])
def test_the_box_adds_it_once(flush: bool) -> None:
    case = Case.parse("entmax order=1 rule=adaptive:1 dtype=float32 family=two_keys shape=1x2 feature=wide seed=0")
    precision = precision_of("float32", Contract(flush_to_zero=flush))
    # The second key is far off the support: its weight is exactly 0 at every corner. It may be flushed, and stored.
    scores, flushed = np.array([0.0, -1e6]), Fraction(2) ** -126 if flush else Fraction(0)
    for stored in (0.0, 2.0**-10):
        more = flushed + Fraction(stored)
        wanted = more + precision.half_step(more)
        for kappa in (1.0, 4.0, 32.0):
            assert box_interval(case, scores, 1, kappa, precision, stored) == (-wanted, wanted)


def test_what_is_not_finite() -> None:
    precision = precision_of("float32", Contract())
    truth = values(np.array([0.5, 0.5, 0.5, np.nan]), np.array([1.0, np.inf, np.nan, 1.0]), np.array([np.inf, 0, 0, 0]))
    allowance = allowance_of(truth, precision)
    assert np.isinf(allowance.at(4.0)[:3]).all()
    # An infinite unit forgives every finite error, and no grade forgives a NaN.
    found = errors_of(np.array([1e9, 1e9, 1e9, np.nan]), truth, allowance, precision.storage)
    assert found.kappa.tolist() == [0.0] * 4
    lost = errors_of(np.array([np.nan, np.inf, -np.inf, 0.0]), truth, allowance, precision.storage)
    assert np.isinf(lost.kappa).all()


def test_grades_have_no_cap() -> None:
    assert dict(GRADE_LIMITS) == {"A": 4.0, "B": 32.0, "C": 1e3, "D": 1e6, "E": np.inf}
    assert [limit_of(grade) for grade in "ABCDE"] == list(GRADE_LIMITS.values())
    assert [power_of(grade) for grade in "ABCDE"] == [4.0, 32.0, 1e3, 1e6, 1e6]
    assert [grade_of(each) for each in (4.0, 4.1, 32.0, 1e3, 1001.0, 1e6, 1.1e6, np.inf, np.nan)] == list("ABBCDDEFF")


@pytest.mark.parametrize("compute", ["float64", "float32", "float16", "bfloat16", "float8_e5m2"])
def test_bands_that_no_conditioning_excuses(compute: str) -> None:
    """A wrong support is explained up to κu = 1/16 and a sum up to 1/256, but always by the κ of A."""
    unit = FORMATS[compute].unit_roundoff
    for grade in "ABCDE":
        assert band_of(grade, unit) == max(4.0, min(limit_of(grade), 1e6, 2.0**-4 / unit))
        assert sharp_of(grade, unit) == max(4.0, min(limit_of(grade), 2.0**-8 / unit))
