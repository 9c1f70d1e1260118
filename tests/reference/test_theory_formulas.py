"""Every formula of docs/theory.md §1 that the oracle computes, against mpmath at two precisions; a test names its own.

The oracle works with as many bits as mpmath, so that the comparison is to all of them. Section 2 and the
rounding of section 4 are in test_theory_computing.py, the condition units in
tests/verify/truth/test_theory_units.py. Each rule against its own definition, empty balls and tied k-th keys are in
test_rules.py.
"""

from __future__ import annotations

from fractions import Fraction
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
    gamma_of,
    mp,
    ratio_form,
    u_hat,
    working,
)

from kernelproof import reference
from kernelproof.reference import Adaptive, Anchored, DomainError, Fixed, Kernel, Nearest, mechanism
from kernelproof.reference.scores import exact_scores

SCORES = [-0.5, -0.25, -0.875, -0.28125, -3.0, -40.0]
RULES = [Fixed(2.5), Anchored(1.75), Adaptive(1.5), Nearest(3, Fixed(2.5)), Nearest(3, Anchored(1.75)), Nearest(2)]


@both_precisions
@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("uniform", lambda _: mpmath.mpf(1)),
        ("epanechnikov", lambda t: 1 - t),
        ("biweight", lambda t: (1 - t) ** 2),
        ("triweight", lambda t: (1 - t) ** 3),
        ("gaussian", lambda t: mpmath.exp(-t / 2)),
    ],
)
def test_named_kernels(name: str, kernel: Any, bits: int) -> None:
    """K_n(t) = [1 − t]₊^n at t = D/h²: n = 0 uniform, 1, 2, 3 and ∞ Gaussian; [x]⁰ = 1 on the closed ball."""
    distances = [0.5, 2.0, 3.25, 4.0]
    found = reference.weights([-d / 2 for d in distances], *mechanism(name, h=2), precision=bits)
    with working(bits):
        terms = [kernel(mp(d) / 4) for d in distances]
        agree(found.weights, [term / mpmath.fsum(terms) for term in terms], bits)


@both_precisions
@every_order
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_is_the_ratio_form_with_its_gamma(rule: Any, order: str, bits: int) -> None:
    """w_i ∝ [1 − d_i/γ]₊^n with γ = (h² − min D)/2, γ, (n/β)û, or that of the keys kept."""
    n = exact(order)
    found = reference.weights(SCORES, Kernel(order), rule, precision=bits)
    with working(bits, n):
        expected = ratio_form([mp(s) for s in SCORES], mp(n), rule)
        agree(found.weights, expected, bits)
        assert found.support.tolist() == [weight > 0 for weight in expected]
        inner = rule.then if isinstance(rule, Nearest) else rule
        kept = sorted(SCORES, reverse=True)[: rule.k] if isinstance(rule, Nearest) else SCORES
        gamma = gamma_of([mp(s) for s in kept], mp(n), inner)
        beta = mp(inner.exact) if isinstance(inner, Adaptive) else 1
        # τ is where the support begins, in units of score/n: n·τ = β(max s − γ).
        low, high = (n * end for end in ends(found.threshold.values().item(), bits))
        slack = mpmath.mpf(2) ** (16 - bits) * max(1, gamma)
        assert low - slack <= beta * (max(SCORES) - gamma) <= high + slack


@both_precisions
@every_order
def test_the_logarithm_of_the_ratio_form(order: str, bits: int) -> None:
    """[1 − d_i/γ]₊^n = exp(n·log1p(−d_i/γ))."""
    n = exact(order)
    found = reference.weights(SCORES, Kernel(order), Anchored(4), precision=bits)
    with working(bits, n):
        ratios = [(mp(s) - max(SCORES)) / 4 for s in SCORES]
        terms = [mpmath.exp(n * mpmath.log1p(x)) if x > -1 else mpmath.mpf(0) for x in ratios]
        agree(found.weights, [term / mpmath.fsum(terms) for term in terms], bits)


@both_precisions
@every_order
@pytest.mark.parametrize("z", [[0.5, 0.25, -0.125, -9.0], [0.25] * 5, [3e4, -1e4, 0.0]], ids=["row", "ties", "one hot"])
def test_adaptive_root_and_its_bracket(z: list[float], order: str, bits: int) -> None:
    """Σ [z_i/n − τ]₊^n = 1; û = max z/n − τ ∈ [m^(−1/n), 1], so τ ∈ [max z/n − 1, max z/n − m^(−1/n)]."""
    n = exact(order)
    found = reference.entmax(z, order=order, precision=bits).threshold.values().item()
    with working(bits, n):
        low, high = (max(z) / mp(n) - end for end in reversed(ends(found, bits)))
        # τ is a difference of numbers up to max z/n.
        slack = mpmath.mpf(2) ** (16 - bits) * (1 + max(z) / mp(n))
        root = u_hat([mp(max(z)) - x for x in z], mp(n))
        assert high - low <= slack
        assert low - slack <= root <= high + slack
        least = mpmath.mpf(len(z)) ** (-1 / mp(n))
        assert high >= least
        assert low <= 1
        if len(set(z)) == 1:
            assert low - slack <= least <= high + slack
        elif max(z) > 1e4:
            assert low - slack <= 1 <= high + slack


@both_precisions
@every_order
def test_entmax_is_anchored_at_n_u_hat(order: str, bits: int) -> None:
    """entmax of z is `Anchored` at γ = n·û, in logits."""
    n, z = exact(order), [0.5, 0.375, 0.25, -50.0]
    with working(bits, n):
        gamma = n * u_hat([max(z) - mp(x) for x in z], mp(n))
        exponent = mpmath.mp.prec
        nearby = Fraction(int(mpmath.nint(mpmath.ldexp(gamma, exponent))), 2**exponent)
        row = reference.weights(z, Kernel(order), Anchored(nearby), precision=bits)
        agree(row.weights, ratio_form([mp(x) for x in z], mp(n), Adaptive(1)), bits)
    entmax = reference.entmax(z, order=order, precision=bits)
    assert np.array_equal(row.weights.round("float64"), entmax.weights.round("float64"))


@both_precisions
@every_order
def test_the_mass_equation_holds_at_the_bandwidth_of_the_oracle(order: str, bits: int) -> None:
    """Σ_j [h² − D_j]₊^n = (2n/β)^n at h² = −2nτ/β; the mass rises with h², so the ends of τ bracket it."""
    n, beta = exact(order), Fraction(3, 2)
    tau = reference.weights(SCORES, Kernel(order), Adaptive(beta), precision=bits).threshold.values().item()
    with working(bits, n):

        def mass(threshold: Any) -> Any:
            square = -2 * mp(n) * threshold / mp(beta)
            return mpmath.fsum(((square + 2 * s) / (2 * mp(n) / mp(beta))) ** mp(n) for s in SCORES if square > -2 * s)

        lowest, highest = ends(tau, bits)
        assert mass(highest) <= 1 + mpmath.mpf(2) ** -bits
        assert mass(lowest) >= 1 - mpmath.mpf(2) ** -bits
        assert abs(mass(highest) - mass(lowest)) <= mpmath.mpf(2) ** (24 - bits * min(n, Fraction(1)))


@both_precisions
@pytest.mark.parametrize("alpha", ["5/4", "4/3", "float32 4/3", "3/2", "2", "3"])
def test_alpha_is_one_plus_one_over_n(alpha: str, bits: int) -> None:
    """α = 1 + 1/n: p_i = [(α − 1)z_i − τ]₊^(1/(α − 1)), with α as it was received: float32 4/3 is not order 3."""
    rounded = Fraction(float(np.float32(4) / np.float32(3)))
    number, z = rounded if alpha.startswith("float32") else Fraction(alpha), [0.5, 0.25, -0.125, -9.0]
    assert Kernel(1 / (number - 1)).alpha == number
    assert (number == Fraction(4, 3)) == (alpha == "4/3")
    with working(bits, 1 / (number - 1)):
        a = mp(number)
        low, high = (a - 1) * max(z) - 1, (a - 1) * mp(max(z))
        for _ in range(mpmath.mp.prec):
            tau = (low + high) / 2
            full = mpmath.fsum(((a - 1) * x - tau) ** (1 / (a - 1)) for x in z if (a - 1) * x > tau) >= 1
            low, high = (tau, high) if full else (low, tau)
        expected = [((a - 1) * x - low) ** (1 / (a - 1)) if (a - 1) * x > low else mpmath.mpf(0) for x in z]
        agree(reference.entmax(z, alpha=number, precision=bits).weights, expected, bits)


@both_precisions
def test_order_infinity_under_every_rule(bits: int) -> None:
    """n = ∞: `Adaptive(β)` is softmax(βs), the Gaussian of σ² = 1/β = h²; `Anchored` is argmax, shared among ties."""
    kernel = Kernel("inf")
    with working(bits):
        terms = [mpmath.exp(4 * mp(s)) for s in SCORES]
        expected = [term / mpmath.fsum(terms) for term in terms]
        for rule in (Adaptive(4), Fixed(Fraction(1, 2)), Nearest(9, Adaptive(4))):
            agree(reference.weights(SCORES, kernel, rule, precision=bits).weights, expected, bits)
        tied = reference.weights([0.5, -2.0, 0.5, 0.25, 0.5], kernel, Anchored(3), precision=bits)
        agree(tied.weights, [mp(share) / 3 for share in (1, 0, 1, 0, 1)], bits)


@both_precisions
@pytest.mark.parametrize("exponent", [9, 21, 33])
def test_the_gaussian_is_reached_with_a_growing_bandwidth_only(exponent: int, bits: int) -> None:
    """h² = 2nσ² and γ = n/β tend to the Gaussian; with h or γ held constant all weight falls on the nearest key.

    With x = D/(2σ²) or x = βd the terms are (1 − x/n)^n = exp(−x − x²/(2n) − …), so the logarithm of a ratio of two
    weights is off by x²/n at most while x ≤ n/2.
    """
    n, near = 2**exponent, SCORES[:4]
    rules: list[Any] = [Fixed(2 ** ((exponent + 1) // 2)), Anchored(n)]
    with working(bits, Fraction(n)):
        for rule in rules:
            # σ = 1 and β = 1; exponents are odd, so that h² = 2n is a square.
            found = reference.weights(near, Kernel(n), rule, precision=bits)
            agree(found.weights, ratio_form([mp(s) for s in near], mp(n), rule), bits)
            low = [ends(value, bits)[0] for value in found.weights.values()]
            for weight, score in zip(low, near, strict=True):
                x = [abs(mp(s)) if isinstance(rule, Fixed) else max(near) - mp(s) for s in (score, near[0])]
                assert abs(mpmath.log(weight / low[0]) + x[0] - x[1]) <= max(x) ** 2 / n
    for constant in (Fixed(2), Anchored(2)):
        held = reference.weights(near, Kernel(2**33), constant).weights
        assert held.lo[1] >= 1 - 2.0**-53
        assert held.hi[[0, 2, 3]].max() < 2.0**-1000


def test_order_zero_needs_a_ball_or_a_count() -> None:
    """Order 0 is allowed with `Fixed` and `Nearest` only."""
    for rule in (Adaptive(1), Anchored(1)):
        with pytest.raises(DomainError, match="order 0"):
            reference.weights(SCORES, Kernel(0), rule)
    for allowed, count in ((Fixed(1), 3), (Nearest(2), 2), (Nearest(2, Fixed(1)), 2)):
        found = reference.weights(SCORES, Kernel(0), allowed)
        assert sorted(found.weights.round("float64"))[-count:] == [1 / count] * count
        assert found.support.sum() == count


@both_precisions
def test_scores_of_queries_and_keys(bits: int) -> None:
    """D_i = ‖q − k_i‖², s_i = −D_i/2, and z_i = β(q·k_i − ‖k_i‖²/2) differs from βs by a constant in i."""
    generator = np.random.default_rng(6)
    q, k = generator.normal(size=(2, 5)), generator.normal(size=(4, 5))
    beta = Fraction(3, 4)
    # A product of two float64 has 106 bits; from 160 bits on mpmath's sums of five are exact too.
    with working(max(bits, 240)):
        for t, query in enumerate(q):
            squares = [mpmath.fsum((mp(a) - mp(b)) ** 2 for a, b in zip(query, key, strict=True)) for key in k]
            dots = [mpmath.fdot(map(mp, query), map(mp, key)) for key in k]
            norms = [mpmath.fdot(map(mp, key), map(mp, key)) for key in k]
            s = exact_scores(q, k, beta, distance=True)[t]
            z = exact_scores(q, k, beta, distance=False)[t]
            tiny = mpmath.mpf(2) ** (8 - mpmath.mp.prec)
            for i in range(len(k)):
                assert abs(mp(s[i]) + mp(beta) * squares[i] / 2) <= tiny * squares[i]
                assert abs(mp(z[i]) - mp(beta) * dots[i]) <= tiny * (1 + abs(dots[i]))
                constant = mp(z[i]) - mp(beta) * norms[i] / 2 - mp(s[i])
                assert abs(constant - mp(beta) * mpmath.fdot(map(mp, query), map(mp, query)) / 2) <= 64 * tiny


@both_precisions
@pytest.mark.parametrize("order", ["1/2", "1", "2", "8", "inf"])
@pytest.mark.parametrize("rule", [Fixed(5), Adaptive(Fraction(1, 2)), Nearest(3)], ids=str)
def test_regression_is_nadaraya_watson(rule: Any, order: str, bits: int) -> None:
    """ŷ(q) = Σ w_i v_i with the weights of the distances; dot products need −‖k_i‖²/2 unless all norms are equal."""
    generator = np.random.default_rng(2)
    q, k, v = (generator.normal(size=shape).astype(np.float32) for shape in ((3, 4), (6, 4), (6, 2)))
    n = Kernel(order).order
    y = reference.regression(q, k, v, Kernel(order), rule, precision=bits).y
    with working(bits, n if isinstance(n, Fraction) else Fraction(1)):
        expected = []
        for query in q:
            s = [-mpmath.fsum((mp(float(a)) - float(b)) ** 2 for a, b in zip(query, key, strict=True)) / 2 for key in k]
            if isinstance(n, Fraction):
                w = ratio_form(s, mp(n), rule)
            else:
                rate = 1 / mp(rule.exact) ** 2 if isinstance(rule, Fixed) else getattr(rule, "beta", 1)
                cut = sorted(s)[-rule.k] if isinstance(rule, Nearest) else min(s)
                terms = [mpmath.exp(mp(rate) * x) if x >= cut else mpmath.mpf(0) for x in s]
                w = [term / mpmath.fsum(terms) for term in terms]
            expected += [mpmath.fsum(x * float(row[c]) for x, row in zip(w, v, strict=True)) for c in range(2)]
        agree(y, expected, bits - 8)  # a mean of values up to 2^3
    if not isinstance(rule, Fixed):
        plain = reference.attention(q[None], k[None], v[None], Kernel(order), rule, scale=1).y.round("float64")[0]
        # Not to half the digits of float64: the norms move the output itself, and not its rounding.
        assert not np.allclose(plain, y.round("float64"), rtol=2.0**-26, atol=0.0)
        signs = np.sign(k)  # every ‖k‖² is 4
        apart, dots = (
            reference.attention(
                q[None], signs[None], v[None], Kernel(order), rule, scale=1, key_norm_term=term
            ).y.round("float64")
            for term in (True, False)
        )
        assert np.array_equal(apart, dots)
