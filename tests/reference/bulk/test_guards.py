"""What the proofs assume is checked when they are used: each test fails if its guard is taken out."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction as F
from itertools import pairwise

import numpy as np
import pytest
from flint import arb, ctx, fmpq

from kernelproof.reference.arithmetic.guess import guess_root
from kernelproof.reference.bulk import batches, mass_terms, row_certificate, rows
from kernelproof.reference.bulk import sparsemax as exact
from kernelproof.reference.bulk.double_word import OPERATION
from kernelproof.reference.bulk.mass_terms import LARGE, LEAST, POWER, SOFTMAX, TINY, Order
from kernelproof.reference.bulk.row_certificate import DECIDED
from kernelproof.reference.model import Adaptive, Kernel, Mechanism

UPWARD_X86 = 0x800


def form_of(order: F | float) -> Order:
    found = batches.order_of(order)
    assert found is not None
    return found


def filtered(z: list[float], order: F | float) -> batches.Open:
    solve = batches.filter_of(Mechanism(Kernel(order), Adaptive()))
    assert solve is not None
    ((_, found),) = batches.chunks(np.array([z]), solve, 1)
    return found


@contextmanager
def rounding_upward() -> Iterator[None]:
    libm = ctypes.CDLL(None)
    before = libm.fegetround()
    try:
        assert libm.fesetround(UPWARD_X86) == 0
        yield
    finally:
        libm.fesetround(before)


@pytest.mark.skipif(sys.platform != "linux", reason="sets the rounding mode through the C library of Linux")
def test_another_rounding_mode_is_seen() -> None:
    form, z = form_of(F(2)), np.array([[0.0, 0.3, 1.0]])
    out = batches.Open(z.copy(), z.copy(), z.copy(), np.empty(1, dtype=np.uint8))
    with rounding_upward():
        rows.solve_rows(form, z, *out)
    assert out.status[0] != DECIDED
    rows.solve_rows(form, z, *out)
    assert out.status[0] == DECIDED


def certified(z: list[float], order: F, size: int, start: float) -> tuple[int, np.ndarray, np.ndarray]:
    """`certify` told that the support of the descending z is its first `size` keys, with s = `start`."""
    count = len(z)
    lo, hi, near = np.zeros(count), np.zeros(count), np.zeros(count)
    gap = (z[size - 1] - z[size]) * (1 - 2.0**-52) if size < count else np.inf
    found, root = np.zeros((row_certificate.FOUND, count)), np.zeros(row_certificate.ROOT)
    found[row_certificate.KEYS] = z
    status = row_certificate.certify(form_of(order), size, count, z[size - 1], start, gap, found, root)
    if status == DECIDED:
        row_certificate.bound(size, np.arange(count), found, lo, hi, near)
    return status, lo, hi


def proposal(z: list[float], order: F) -> float:
    """s of the descending z if all of them are in the support, from the float64 guess; nothing is proved by it."""
    _, v, shift = guess_root(-np.array(z) + z[0], float(order))
    return float(order) * v if order < 1 else float(order) - shift - (z[0] - z[-1])


@pytest.mark.parametrize("order", [F(1), F(2), F(27, 10), F(1, 2)])
def test_a_wrong_support_is_not_certified(order: F) -> None:
    # Three close keys share the weight; one at a gap of 4 has none at orders up to 3.
    z = [0.0, -0.01, -0.02, -4.0]
    assert certified(z, order, 3, proposal(z[:3], order))[0] == DECIDED
    for size in (1, 2, 4):
        for start in (proposal(z[:size], order), 1e-12, 1e-3, 0.4, 0.9):
            assert certified(z, order, size, start)[0] != DECIDED


@pytest.mark.parametrize("order", [F(1, 2), F(1), F(2), F(27, 10), F(64)])
def test_a_bad_proposal_is_refined_or_refused(order: F) -> None:
    z = [0.0, -0.01, -0.02]
    truth = certified(z, order, 3, proposal(z, order))
    assert truth[0] == DECIDED
    for start in (1e-200, 1e-6, 0.2, float(order) * 0.999, float(order) * 5, -1.0, np.nan, np.inf):
        status, lo, hi = certified(z, order, 3, start)
        if status == DECIDED:
            assert np.all(np.maximum(lo, truth[1]) <= np.minimum(hi, truth[2]))


def test_a_root_finer_than_the_arithmetic_is_not_decided() -> None:
    """Sparsemax of [1, 2^-110] has s = 2^-111 exactly, but the mass equation is known to 2^-99 only."""
    status, lo, _ = certified([1.0, 2.0**-110], F(1), 2, 2.0**-111)
    assert status != DECIDED or lo[1] > 0.0
    assert certified([1.0, 2.0**-60], F(1), 2, 2.0**-61)[0] == DECIDED


def test_a_key_just_inside_and_just_outside() -> None:
    """[1, 10^-30]: the gap is 1 as a float64, and below it as a number; sparsemax gives both keys weight."""
    found = filtered([1.0, 1e-30], F(1))
    # p = (1 − d)/2 = 5·10^-31.
    assert found.status[0] != DECIDED or 0 < found.lo[0, 1] <= 5.1e-31
    outside = filtered([1.0, -1e-30], F(1))
    assert outside.status[0] == DECIDED and outside.hi[0].tolist() == [1.0, 0.0]


def test_a_gap_of_exactly_an_inexact_order_is_not_decided() -> None:
    """With a double word below n the second key has weight; its pair of floats alone looks like n."""
    below = [n for q in range(3, 60) if (n := F(1, q)) > F(form_of(n).head) + F(form_of(n).tail)]
    assert below
    for n in below:
        form = form_of(n)
        assert not exact.reaches(form, form.head, form.tail)
        assert filtered([form.head, -form.tail], n).status[0] != DECIDED
    assert exact.reaches(form_of(F(1, 4)), 0.25, 0.0) and not exact.reaches(form_of(F(1, 4)), 0.25, -1e-300)


def test_a_row_without_a_key_is_not_decided() -> None:
    for order in (F(1), F(2), F(10**8), float("inf")):
        assert filtered([-np.inf, -np.inf], order).status[0] != DECIDED


@pytest.mark.parametrize("order", [F(2**20), F(10**8), float("inf")])
def test_a_key_far_below_has_weight_all_the_same(order: F | float) -> None:
    for low in (-1e308, -1950.0, -1e6 if order == F(10**8) else -3000.0):
        found = filtered([1e308 if low == -1e308 else 0.0, low, -np.inf], order)
        assert found.status[0] == DECIDED
        assert found.near[0].tolist() == [1.0, 0.0, 0.0] and found.hi[0, 1] > 0.0 == found.hi[0, 2]


def test_exponents_without_digits() -> None:
    for y in (-651.0, -700.0, -759.9, -760.1, -1e300):
        head, bound = mass_terms.decay(y, 0.0)
        assert head == 0.0
        with ctx.workprec(128):
            assert arb(y).exp() * 2 < bound
    # Half the least subnormal is what rounds to 0.
    assert mass_terms.decay(-759.0, 0.0)[1] == TINY and mass_terms.decay(-761.0, 0.0)[1] == LEAST
    assert all(np.isnan(mass_terms.decay(y, 0.0)).all() for y in (1.5, 800.0, np.nan))


@pytest.mark.parametrize("order", [F(1, 16), F(9, 10), F(1), F(2), F(27, 10), F(64), F(10**4), F(10**8), float("inf")])
def test_terms_are_within_their_bound(order: F | float) -> None:
    form = form_of(order)
    rng = np.random.default_rng(0)
    reach = min(float(order), 60.0)
    z = np.sort(rng.uniform(-reach, 0, 400))[::-1].copy()
    anchored = form.form not in {LARGE, SOFTMAX}
    anchor = float(z[-1]) if anchored else float(z[0])
    point = max(0.25 * reach, float(order) - reach) if anchored else (3.7 if form.form == LARGE else 0.0)
    base, head, tail = (np.empty(len(z)) for _ in range(3))
    mass_terms.evaluate(form, z, len(z), anchor, point, 0.0, base, head, tail)
    bound, worst = mass_terms.term_error(form), arb(0)
    with ctx.workprec(400):
        for i, key in enumerate(z.tolist()):
            difference = arb(key) - anchor
            if not isinstance(order, F):
                truth = difference.exp()
            else:
                n = fmpq(order.numerator, order.denominator)
                u = (difference + point) / n if anchored else 1 - (arb(point) - difference) / n
                truth = u**n
            if head[i]:
                error = abs((arb(head[i]) + arb(tail[i])) / truth - 1)
                assert error < bound
                worst = max(worst, error)
    # Not so wide that the test says nothing: the bound holds for exponents to −650, these end at −60. Order 1 is exact.
    assert worst > bound * 2.0**-14 or order == 1


def test_enclosures_hold_their_interval_and_roundings_are_proved() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20000):
        h = float(rng.choice([1.0 + rng.random(), 1.0, 2.0 - 2.0**-52])) * 2.0 ** float(rng.integers(-800, 0))
        g = float(rng.choice([0.5, -0.5, 0.25, -0.25, 0.0, rng.uniform(-0.5, 0.5)])) * np.spacing(h)
        h, g = h + g, g - ((h + g) - h)
        radius = 2.0 ** float(rng.integers(-110, -45))
        lo, hi, near = row_certificate.enclose(h, g, radius)
        ends = [(F(h) + F(g)) * (1 + sign * F(radius)) for sign in (-1, 1)]
        assert F(lo) <= ends[0] and (ends[1] <= F(hi) or hi == 1.0)
        assert np.isnan(near) or (float(ends[0]) == near == float(ends[1]))


def test_powers_by_multiplication() -> None:
    for n in range(1, 65):
        h, g = mass_terms.word_power(1.5, 2.0**-60, n)
        truth = (F(1.5) + F(1, 2**60)) ** n
        assert abs((F(h) + F(g)) / truth - 1) <= (n - 1) * F(OPERATION)
    assert all(a < b for a, b in pairwise(mass_terms.word_power(1.5, 0.0, n)[0] for n in range(1, 65)))


def test_orders_choose_their_form() -> None:
    forms = {F(64): POWER, F(65): mass_terms.REAL, F(3, 2): mass_terms.REAL, F(2**20): LARGE}
    assert {order: form_of(order).form for order in forms} == forms
    assert form_of(float("inf")).form == SOFTMAX and batches.order_of(F(1, 2**11)) is None
    assert form_of(F(3, 2)).exact and not form_of(F(4, 3)).exact
