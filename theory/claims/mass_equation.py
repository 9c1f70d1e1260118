"""C4: the adaptive bandwidth is the only root of an equation in squared distances, and lies in a known interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from math import pow as power
from sys import float_info
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import strategies as st
from scipy.optimize import brentq

from kernelproof.reference import Adaptive, Kernel, entmax, regression
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.correspondence import (
    ORDERS,
    PLANTED,
    cases,
    out_of_reach,
    planted_distances,
    truncated_power,
    width,
)
from kernelproof.theory.evidence import certified, draws, exact, sampled, symbolic
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.evidence.draws import ball
from kernelproof.theory.finding import Evidence, Finding
from kernelproof.theory.statement import Statement

Target = Callable[[Any, Any], Any]
TOLERANCE = 4 * float_info.epsilon
"""The smallest rtol that brentq accepts."""


def mass_scale(n: Any, beta: Any) -> Any:
    """``2n/β``, whose n-th power is the required mass; in any arithmetic."""
    return 2 * n / beta


def build(scale: Target = mass_scale, floor: Callable[[Any, Any], Any] = lambda m, n: m ** (-1 / n)) -> Claim:
    """The claim with the right side ``scale^n``, and with h² ≥ min D + ``scale·floor(m, n)``."""

    def derivation(settings: Settings) -> Finding:
        h, d = sympy.Symbol("H", real=True), sympy.Symbol("D", nonnegative=True)
        beta, n, y = sympy.symbols("beta n y", positive=True)
        tau = -beta * h / (2 * n)
        return symbolic.identities(
            ("u = z/n − τ at z = −βD/2, τ = −βH/(2n)", -beta * d / (2 * n) - tau, (h - d) / mass_scale(n, beta)),
            ("its power, y = H − D > 0", (beta * y / (2 * n)) ** n * scale(n, beta) ** n, y**n),
            domain="all n > 0, β > 0, m and d; H any real number in the place of h²",
            detail="so Σ[u_i]₊^n = 1 ⇔ Σ[H − D_i]₊^n = (2n/β)^n: the roots of the equation are the −2nτ/β of the "
            "thresholds τ that make weights",
            seed=settings.seed,
        )

    def rises(settings: Settings) -> Finding:
        y, n = sympy.symbols("y n", positive=True)
        return symbolic.positive(
            ("slope of y^n", sympy.diff(y**n, y)),
            domain="all n > 0 and every y = H − D_j > 0",
            detail="F(H) = Σ_j [H − D_j]₊^n is continuous, 0 up to min D and strictly rising beyond: at most one "
            "root, and none up to min D because the right side is positive",
            seed=settings.seed,
        )

    def reaches(settings: Settings) -> Finding:
        beta, n = sympy.symbols("beta n", positive=True)
        m = sympy.Symbol("m", integer=True, positive=True)
        c = scale(n, beta)
        return symbolic.identities(
            ("the nearest key alone at H = min D + 2n/β", mass_scale(n, beta) ** n, c**n),
            ("m keys at the nearest distance, at the lower end", m * (c * floor(m, n)) ** n, c**n),
            domain="all n > 0, β > 0 and m ≥ 1",
            detail="(H − min D)^n ≤ F(H) ≤ m(H − min D)^n, so F is at least the right side at min D + 2n/β and at most "
            "at min D + (2n/β)m^{−1/n}: by continuity there is a root, between the two",
            seed=settings.seed,
        )

    def planted(settings: Settings) -> Finding:
        del settings
        return exact.equal(
            _planted(scale),
            domain=f"{len(PLANTED)} rows of order 1 to 4 with a rational bandwidth, at two β",
            detail="the mass at the bandwidth of the row, and whether it is below and above at H ± 1/1000",
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _masses(settings, scale),
                domain="seeded cases of 1 to 17 keys in 1 to 8 dimensions, β from 1/4 to 4, n in "
                f"{', '.join(map(str, ORDERS))}",
                width=width(settings),
                detail="the mass at h² = −2nτ/β with the certified threshold, over the right side, against 1",
            )

    def within(settings: Settings) -> Finding:
        def slack(case: tuple[list[float], Any]) -> arb:
            z, order = case
            n, top = rational(order), rational(Fraction(max(z)))
            tau = ball(entmax(z, order=order, precision=settings.precision).threshold.values()[()])
            # β = 2: z = −D, and h² = −nτ.
            excess, step = top - n * tau, scale(n, arb(2))
            # Ties attain the lower end and a single key the upper one: 2^-40 of room for the width of the balls.
            room = arb(2) ** -40 * step
            return draws.least([excess - step * floor(rational(Fraction(len(z))), n) + room, step - excess + room])

        return sampled.positive(
            st.tuples(draws.logits(least=1), draws.orders()),
            slack,
            settings,
            domain="rows of 1 to 6 logits, multiples of 1/16 in [−4, 4], and orders from 1/4 to 32",
            detail="h² − min D is between (2n/β)m^{−1/n} and 2n/β, up to 2^-40",
            show=lambda case: f"z = {case[0]}, n = {case[1]}",
        )

    def referee(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _brent(settings, scale),
                domain="seeded cases of 1 to 17 keys in 1 to 8 dimensions, β from 1/4 to 4, n in "
                f"{', '.join(map(str, ORDERS))}",
                # (rtol·h² + (2n + m + 4)/n·ε(h² − min D))/h² for n ≥ 1/2 and m ≤ 17 is at most 48 ε of float64.
                width=64 * float_info.epsilon,
                detail="the root found by Brent's method in float64, with the error that its tolerance and the "
                "rounding of the mass allow, against −2nτ/β with the certified threshold of entmax",
                evidence=Evidence.SAMPLED,
            )

    def negative(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            square, weight = out_of_reach(settings)
            return certified.exists(
                "q = 13, keys −1, 0, 1/2 and 2, n = −2, β = 1: the least of a key's weight and of 121 − h², "
                "h² = −2nτ/β = 117",
                weight.min(121 - square),
                domain="one row of four keys, the nearest at squared distance 121",
                detail="all keys have weight, while Σ [h² − D_j]₊^n has no term: at n < 0 the equation is "
                "another one (H2)",
            )

    return Claim(
        id="mass_equation",
        label="C4",
        title="The adaptive bandwidth is the only root of the mass equation",
        statement=r"For every $n > 0$ and $\beta > 0$ the equation \[\sum_j \bigl[h^2 - \|q-k_j\|^2\bigr]_+^n = "
        r"\Bigl(\frac{2n}{\beta}\Bigr)^n\] has exactly one root $h^2$. It is the squared bandwidth of "
        r"$\mathrm{entmax}_n(\beta s)$, $s_j = -\|q-k_j\|^2/2$, and \[\frac{2n}{\beta}\,m^{-1/n} \le "
        r"h^2 - \min_j \|q-k_j\|^2 \le \frac{2n}{\beta}.\]",
        source="arXiv:2601.22766, the bandwidth of the adaptive rule; uniqueness and the interval: ours",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_j", r"query and $m \ge 1$ keys in $\mathbb{R}^d$"),
            Variable("h", "bandwidth"),
            Variable("n", r"order, $0 < n < \infty$"),
            Variable(r"\beta", r"inverse temperature, $\beta > 0$"),
        ),
        assumptions=(Assumption("positive order", "$n > 0$"),),
        formal=Statement(domains.domain(n=domains.positive(), beta=domains.positive(), m=domains.integers(1))),
        argument="That a continuous function which rises strictly from 0 beyond the nearest key passes its right "
        "side exactly once is the intermediate value theorem, for a sum of the terms that are shown to "
        "rise.",
        checks=(
            Check("derivation", "weights sum to 1 exactly at a root", Role.PROOF, derivation),
            Check("rises", "the mass rises strictly beyond the nearest key", Role.PROOF, rises),
            Check("reaches", "it passes the right side inside the interval", Role.PROOF, reaches),
            Check("planted", "rows whose bandwidth is rational", Role.SUPPORT, planted),
            Check("oracle", "the certified bandwidth has the right mass", Role.SUPPORT, oracle),
            Check("interval", "certified bandwidths lie in the interval", Role.SUPPORT, within),
            Check("negative_order", "negative orders break it", Role.NECESSITY, negative, drops="positive order"),
            Check("brentq", "SciPy finds the same root", Role.REFEREE, referee),
        ),
    )


def mass(square: Any, squares: Sequence[Any], order: Fraction) -> Any:
    """``Σ [H − D_j]₊^n``; a Fraction for rationals and an integer order, else a ball."""
    return sum(truncated_power(square - each, order) for each in squares)


def _planted(scale: Target) -> Iterator[tuple[str, Any, Any]]:
    step = Fraction(1, 1000)
    for n, bases in PLANTED:
        for beta in (Fraction(1), Fraction(3, 8)):
            square, squares = planted_distances(n, bases, beta)
            right, order = scale(n, beta) ** n, Fraction(n)
            name = f"n = {n}, β = {beta}, D = {list(map(str, squares))}, H = {square}"
            yield name, mass(square, squares, order), right
            sides = mass(square - step, squares, order) < right, mass(square + step, squares, order) > right
            yield f"{name} ± {step}", sides, (True, True)


def _thresholds(settings: Settings) -> Iterator[tuple[str, Any, Fraction, arb]]:
    """(name, case, order, −2nτ/β with the certified τ)."""
    for order in ORDERS:
        for case in cases(settings.seed):
            q, k, v = case.arrays()
            found = regression(q, k, v, Kernel(order), Adaptive(case.beta), precision=settings.precision)
            tau = ball(found.weighting.threshold.values().ravel()[0])
            yield f"n = {order}, {case}", case, order, -2 * rational(order) * tau / rational(case.beta)


def _masses(settings: Settings, scale: Target) -> Iterator[tuple[str, arb, arb]]:
    for name, case, order, square in _thresholds(settings):
        right = scale(rational(order), rational(case.beta)) ** rational(order)
        yield name, mass(square, [ball(each) for each in case.distances], order) / right, arb(1)


def _brent(settings: Settings, scale: Target) -> Iterator[tuple[str, arb, arb]]:
    for name, case, order, square in _thresholds(settings):
        n, squares = float(order), [float(each) for each in case.distances]
        step = float(scale(order, case.beta))
        right, low = power(step, n), min(squares)

        def excess(h2: float, n: float = n, squares: list[float] = squares, right: float = right) -> float:
            return float(sum(power(h2 - each, n) for each in squares if h2 > each)) - right

        # 1/8 beyond the ends of the interval, so that rounding there changes no sign.
        bracket = low + step * power(len(squares), -1 / n) * 7 / 8, low + step * 9 / 8
        found = float(brentq(excess, *bracket, xtol=float_info.min, rtol=TOLERANCE))
        # The sign of the rounded mass is right unless mass and right side agree to ε = (2n + m + 4)u: n + n from the
        # rounded bases, m from the sum, 2 + 2 from the powers. F(H′)/F(H) ≥ ((H′ − min D)/(H − min D))^n, so in that
        # case H is within ε/n of the root, relative to H − min D; the 2 covers second order.
        epsilon = (2 * n + len(squares) + 4) * float_info.epsilon / 2
        error = TOLERANCE * found + 2 * epsilon / n * (found - low)
        yield name, square, arb(found, error)


CLAIM = build()


def _only(claim: Claim, *names: str) -> Claim:
    return replace(claim, checks=tuple(check for check in claim.checks if check.id in names))


FALSE = (
    FalseVariant("the factor 2 is missing", build(lambda n, beta: n / beta)),
    FalseVariant("the factor n is missing", build(lambda _, beta: 2 / beta)),
    FalseVariant("β is missing", build(lambda n, _: 2 * n)),
    FalseVariant("the lower end without its root", build(floor=lambda m, _: 1 / m)),
    FalseVariant("Brent's root of another equation", _only(build(lambda n, beta: n / beta), "brentq")),
    FalseVariant("the mass of another equation", _only(build(lambda n, beta: n / beta), "oracle")),
)
