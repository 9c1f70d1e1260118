"""Every formula of docs/theory.md §2 and of the rounding of §4, against mpmath at two precisions.

The condition units are in tests/verify/truth/test_theory_units.py; rounding of every representable value is in
test_formats.py.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import pytest
from tests.reference.defined import (
    agree,
    both_precisions,
    ends,
    every_order,
    exact,
    mp,
    ratio_form,
    rounded,
    sparsemax,
    working,
)

from kernelproof import reference
from kernelproof.reference import Adaptive, Kernel
from kernelproof.reference.arithmetic.guess import guess_root
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.solver import cap_bits

# docs/theory.md §2: computing it well


@both_precisions
@pytest.mark.parametrize("order", ["1/16", "1/2", "0.9"])
@pytest.mark.parametrize("near", [False, True], ids=["random", "near the threshold"])
def test_the_low_anchored_form_gives_the_smallest_weight(near: bool, order: str, bits: int) -> None:
    """n < 1: p_k of the smallest key solves Σ ((z_j − z_k)/n + p_k^(1/n))^n = 1, to full relative precision."""
    n = exact(order)
    z = [0.0, -float(np.nextafter(float(n), 0.0)) if near else -0.99 * float(n)]
    found = reference.entmax(z, order=order, precision=bits)
    assert found.support.all()
    with working(bits, n):
        offsets = [(mp(x) - min(z)) / mp(n) for x in z]
        low, high = mpmath.mpf(-4000), mpmath.mpf(0)
        for _ in range(mpmath.mp.prec):
            middle = (low + high) / 2
            root = mpmath.mpf(2) ** (middle / mp(n))
            full = mpmath.fsum((offset + root) ** mp(n) for offset in offsets) >= 1
            low, high = (low, middle) if full else (middle, high)
        root, smallest = mpmath.mpf(2) ** (low / mp(n)), mpmath.mpf(2) ** low
        agree(found.weights, [(offset + root) ** mp(n) for offset in offsets], bits)
        least, most = ends(found.weights.values()[-1], bits)
        assert least * (1 - mpmath.mpf(2) ** (20 - bits)) <= smallest <= most * (1 + mpmath.mpf(2) ** (20 - bits))


@both_precisions
@pytest.mark.parametrize("order", ["1", "3/2", "2", "3", "8", "64", "1e4"])
@pytest.mark.parametrize("keys", [8, 128])
def test_newton_on_the_norm_climbs_to_the_root(keys: int, order: str, bits: int) -> None:
    """Newton on ‖u‖_n − 1: Δτ = S(1 − S^(−1/n))/W, monotone for n ≥ 1, in 5 steps at most, and Newton on S − 1 in more.

    `guess_root` takes these steps in float64; the root is the threshold that the oracle proves.
    """
    n = exact(order)
    z = np.random.default_rng(keys).normal(0, 2, keys)
    found = reference.entmax(z, order=order, precision=bits).threshold.values().item()
    with working(bits, n):
        scaled, order_ = [mp(x) / mp(n) for x in z.tolist()], mp(n)

        def sums(tau: Any) -> tuple[Any, Any]:
            u = [x - tau for x in scaled if x > tau]
            return mpmath.fsum(x**order_ for x in u), mpmath.fsum(x ** (order_ - 1) for x in u)

        def steps(update: Any) -> list[Any]:
            """The iterates from the left end of the bracket until a step below 2^-50."""
            taus = [max(scaled) - 1]
            while len(taus) < 60:
                step = update(*sums(taus[-1]))
                if abs(step) < mpmath.mpf(2) ** -50:
                    break
                taus.append(taus[-1] + step)
            return taus

        def on_the_norm(S: Any, W: Any) -> Any:
            return S * (1 - S ** (-1 / order_)) / W

        start = max(scaled) - 1 + mpmath.mpf(2) ** -4
        norm = sums(start)[0] ** (1 / order_)
        slope = mpmath.diff(lambda tau: sums(tau)[0] ** (1 / order_), start)
        # mpmath.diff is a difference quotient with a step of half its digits.
        assert abs(-(norm - 1) / slope - on_the_norm(*sums(start))) <= mpmath.mpf(2) ** (40 - bits)
        climbed = steps(on_the_norm)
        plain = steps(lambda S, W: (S - 1) / (order_ * W))
        assert all(a < b for a, b in pairwise(climbed))
        assert len(climbed) - 1 <= 5
        assert len(climbed) <= len(plain)
        low, high = ends(found, bits)
        # A step below 2^-50 of a quadratic iteration leaves less than that.
        assert low - mpmath.mpf(2) ** -50 <= climbed[-1] <= high + mpmath.mpf(2) ** -50
        _, _, shift = guess_root(np.sort(z.max() - z), float(n))
        # û = γ/n with γ = n − λ. A step in float64 rounds its sums of up to 128 terms, γ and γ/n; û is at most 1.
        assert abs((max(scaled) - low) - (1 - mp(shift) / order_)) <= 256 * 2.0**-53


@both_precisions
@every_order
def test_the_support_is_decided_without_the_threshold(order: str, bits: int) -> None:
    """i is in the support ⇔ Σ_{z_j > z_i} ((z_j − z_i)/n)^n < 1; an entry with d_i ≥ n is 0."""
    n = exact(order)
    generator = np.random.default_rng(9)
    rows = [generator.normal(0, scale, 12) for scale in (0.02, 0.3, 2.0, 30.0, 3e4)]
    rows += [-np.array([0.0, gap]) for gap in (float(n), np.nextafter(float(n), 0.0), np.nextafter(float(n), np.inf))]
    if n in {1, 2, 3}:
        # The keys at the top are 2^n, and n/2 above the next: the sum there is exactly 1.
        rows += [np.array([0.0] * 2 ** int(n) + [-float(n) / 2, -float(n)])]
    for z in rows:
        found = reference.entmax(z, order=order)
        with working(bits, n):
            top = max(z.tolist())
            for i, x in enumerate(z.tolist()):
                mass = mpmath.fsum(((mp(y) - x) / mp(n)) ** mp(n) for y in z.tolist() if y > x)
                assert mass == 1 or abs(mass - 1) > mpmath.mpf(2) ** (16 - bits)
                assert found.support[i] == (mass < 1)
                assert found.boundary[i] == (mass == 1)
                if mp(top) - x >= mp(n):
                    assert mass >= 1
                    assert found.weights.hi[i] == 0.0


@both_precisions
@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_order_one_is_rational_and_ties_of_rounding_go_to_even(name: str, bits: int) -> None:
    """n = 1 is rational; 7 to 8 % of the nonzero weights of random rows of 8 are midpoints of their format."""
    z = np.random.default_rng(11).normal(size=(600, 8)).astype(FORMATS[name].dtype)
    found = reference.entmax(z, order=1)
    assert all(isinstance(value, Fraction) for value in found.weights.values().ravel())
    ties = 0
    with working(bits):
        for row, given in zip(z.astype(float).tolist(), found.weights.round(name).astype(float), strict=True):
            expected = [rounded(weight, name) for weight in sparsemax(row)]
            assert given.tolist() == [value for value, _ in expected]
            ties += sum(tie for _, tie in expected)
    # About 1800 weights: one standard deviation of their share is 0.7 %; three on each side.
    assert 0.05 <= ties / found.support.sum() <= 0.1


# docs/theory.md §4: truth and error


@both_precisions
@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("order", ["1/2", "3/2", "2", "8", "64", "inf"])
def test_weights_are_rounded_correctly(order: str, name: str, bits: int) -> None:
    """Correct rounding: the exact weight, straight to the format, subnormals included."""
    z = np.random.default_rng(4).normal(0, 3, 24).astype(FORMATS[name].dtype)
    n, scores = Kernel(order).order, z.astype(float).tolist()
    given = reference.entmax(z, order=order).weights.round(name).astype(float)
    with working(bits, n if isinstance(n, Fraction) else Fraction(1)):
        terms = [mpmath.exp(mp(x) - max(scores)) for x in scores]
        softmax = [term / mpmath.fsum(terms) for term in terms]
        expected = ratio_form([mp(x) for x in scores], mp(n), Adaptive(1)) if isinstance(n, Fraction) else softmax
        assert given.tolist() == [rounded(weight, name)[0] for weight in expected]


@both_precisions
@pytest.mark.parametrize("order", ["1", "2", "8", "inf"])
def test_bfloat16_is_not_reached_through_float32(order: str, bits: int) -> None:
    """Never through another format: float64 → bfloat16 by way of float32 rounds twice."""
    n = Kernel(order).order
    with working(bits):
        # Above the midpoint of 1/2 and its successor by less than float32 sees; two keys of that gap have this weight.
        p = mpmath.mpf("0.5") + mpmath.mpf(2) ** -9 + mpmath.mpf(2) ** -31
        q = 1 - p
        gap = mp(n) * (p ** (1 / mp(n)) - q ** (1 / mp(n))) if isinstance(n, Fraction) else mpmath.log(p / q)
        once = rounded(p, "bfloat16")[0]
        twice = rounded(mp(rounded(p, "float32")[0]), "bfloat16")[0]
    weights = reference.entmax([float(gap), 0.0], order=order).weights
    assert once != twice
    assert float(weights.round("bfloat16")[0]) == once
    assert float(weights.round("float32")[0].astype("bfloat16")) == twice


@both_precisions
@every_order
@pytest.mark.parametrize("name", list(FORMATS))
def test_the_precision_cap(name: str, order: str, bits: int) -> None:
    """Precision cap: (|e_min| + p)/min(n, 1) bits; at n = 1/16 and float64 17 200. The oracle adds a word."""
    n, target = exact(order), FORMATS[name]
    cap = cap_bits(reference.Mechanism(Kernel(order), Adaptive(1)))(target)
    with working(bits):
        assert cap == 64 + mpmath.ceil((abs(target.emin) + target.precision) / min(mp(n), 1))
    if (name, order) == ("float64", "1/16"):
        assert cap == 64 + 17_200


@every_order
def test_both_neighbours_may_be_said_of_orders_that_are_no_integers(order: str) -> None:
    """ "Both neighbours" may be said for non-integer orders only."""
    (block,) = reference.entmax([0.0, 0.125, 0.25], order=order).weights.blocks
    assert block.both == (exact(order).denominator != 1)
