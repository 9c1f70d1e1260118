"""C5: ReLUmax is kernel regression whose ball reaches a constant beyond the nearest key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx

from kernelproof.reference import Anchored, Kernel, attention, mechanism, regression, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.correspondence import (
    ORDERS,
    CorrespondenceCase,
    Floats,
    breaks,
    cases,
    compact_weights,
    dots_and_squares,
    full_logit,
    mean_variation,
    mixture,
    named,
    shares,
    truncated_power,
    width,
)
from kernelproof.theory.evidence import certified, exact, symbolic
from kernelproof.theory.evidence.draws import ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import normalized
from kernelproof.theory.statement import Statement

INTEGERS = (1, 2, 3, 7)
REACHES = tuple(map(Fraction, ("1", "1/4", "5/2", "9")))
Square = Callable[[Any, Any, Any], Any]


def bandwidth_squared(nearest: Any, gamma: Any, beta: Any) -> Any:
    """``h² = min D + 2γ/β``; in any arithmetic."""
    return nearest + 2 * gamma / beta


def build(square: Square = bandwidth_squared, logit: Callable[[Any, Any, Any], Any] = full_logit) -> Claim:
    """The claim with the bandwidth `square`, for the logits `logit`."""

    def algebra(settings: Settings) -> Finding:
        q, k = sympy.symbols("Q K", nonnegative=True)
        x = sympy.Symbol("x", real=True)
        qi, ki = sympy.symbols("q_i k_i", real=True)
        low, d = sympy.symbols("L D", nonnegative=True)
        beta, gamma, c, n, a, rest = sympy.symbols("beta gamma c n a A", positive=True)
        h = square(low, gamma, beta)
        return symbolic.identities(
            ("each coordinate of ‖q − k‖²", (qi - ki) ** 2, qi**2 + ki**2 - 2 * qi * ki),
            ("the logit", logit(x, k, beta), -beta * (q + k - 2 * x) / 2 + beta * q / 2),
            ("the ReLU's argument", gamma + (-beta * d / 2 + beta * low / 2), beta * h / 2 * (1 - d / h)),
            ("a common factor cancels", (c * a) ** n / ((c * a) ** n + (c * rest) ** n), a**n / (a**n + rest**n)),
            domain="all n > 0, β > 0, γ > 0, m and d; without ‖k‖² in the logits: keys of equal norm",
            detail="L = min D and max z = −βL/2 up to the constant βQ/2 (and βK/2, for equal norms) that the "
            "difference to the maximum drops; [cx]₊ = c[x]₊ for c = βh²/2 > 0",
            seed=settings.seed,
        )

    def mass(settings: Settings) -> Finding:
        gamma, n, beta = sympy.symbols("gamma n beta", positive=True)
        low = sympy.Symbol("L", nonnegative=True)
        return symbolic.positive(
            ("the nearest key's weight, before normalization", gamma**n),
            ("h² − min D", sympy.expand(square(low, gamma, beta) - low)),
            domain="all n > 0, β > 0, γ > 0",
            detail="at the maximum the ReLU's argument is γ: no row is without mass",
            seed=settings.seed,
        )

    def rows(settings: Settings) -> Finding:
        return exact.equal(
            _rows(settings, square),
            domain=f"seeded cases of 1 to 17 keys in 1 to 8 dimensions, γ from 1/4 to 9, n in {INTEGERS}",
            detail="weights from the logits and from the kernel of the distances, in rationals",
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _pairs(settings, square),
                domain=f"the same cases, n in {', '.join(map(str, ORDERS))}",
                width=width(settings),
                detail="certified weights and outputs of the rule, of attention and of regression against the kernel "
                "of the distances",
            )

    def infinite(settings: Settings) -> Finding:
        return exact.equal(
            _at_infinity(settings),
            domain="seeded cases of 1 to 17 keys and one with a tie, order ∞",
            detail="[1 − d/γ]₊^n → 0 for every d > 0 as n → ∞: with γ held constant the nearest keys share all weight",
        )

    def unequal(settings: Settings) -> Finding:
        # q = (1, 0), keys (2, 0) and (1, 0): q·k = (2, 1), D = (1, 0), ReLUmax with γ = 2.
        far, near = _definition([Fraction(2), Fraction(1)], Fraction(2), Fraction(1))
        return certified.exists(
            "q = (1, 0), keys (2, 0) and (1, 0), β = n = 1, γ = 2: the farther key's weight minus the nearer's",
            ball(far - near),
            domain="two keys of norms 2 and 1; then random and real keys, n = 1, γ = 1, β = 1/√d",
            detail="the farther key may have more weight, which no falling kernel of the distance gives it",
            numbers=breaks("mean total variation without ‖k‖²", _norm_break, settings.seed),
        )

    return Claim(
        id="relumax",
        label="C5",
        title="ReLUmax is kernel regression anchored at the nearest key",
        statement=r"For $\gamma > 0$, $\beta > 0$ and logits $z_i = \beta(q\cdot k_i - \|k_i\|^2/2)$, or "
        r"$z_i = \beta\,q\cdot k_i$ if all $\|k_i\|$ are equal, "
        r"\[\frac{[z_i - \max z + \gamma]_+^n}{\sum_j [z_j - \max z + \gamma]_+^n} = "
        r"\frac{K_n(\|q-k_i\|^2/h^2)}{\sum_j K_n(\|q-k_j\|^2/h^2)}, \qquad "
        r"h^2 = \min_j \|q-k_j\|^2 + \frac{2\gamma}{\beta},\] and the sums are never 0.",
        source="arXiv:2601.22766, ReLUmax (n = 1, margin 1) and the anchored bandwidth; every n > 0 and margin: ours",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_i", r"query and $m \ge 1$ keys in $\mathbb{R}^d$"),
            Variable("n", r"order, $0 < n < \infty$"),
            Variable(r"\gamma", "margin: how far below the maximum a logit may be and keep weight"),
            Variable(r"\beta", r"inverse temperature, $\beta > 0$"),
            Variable("K_n(t)", r"$[1 - t]_+^n$"),
        ),
        assumptions=(
            Assumption("equal key norms", r"$\|k_i\| = R$ for all $i$, where the logits leave out $\|k_i\|^2/2$"),
        ),
        formal=Statement(
            domains.domain(
                n=domains.positive(),
                gamma=domains.positive(),
                beta=domains.positive(),
                m=domains.integers(1),
                d=domains.integers(1),
            )
        ),
        argument="‖q − k‖² is a sum over coordinates and each weight a quotient of sums over keys: the identities "
        "are shown for one coordinate, and for one key against the others; max z belongs to the nearest "
        "key, and [cx]₊ = c[x]₊ for c > 0.",
        checks=(
            Check("algebra", r"the argument of the ReLU is $(\beta/2)(h^2 - D_i)$", Role.PROOF, algebra),
            Check("mass", "every row has mass", Role.PROOF, mass),
            Check("rational_rows", "both weightings are the same rationals", Role.SUPPORT, rows),
            Check("oracle", "certified weights and outputs agree at every order", Role.SUPPORT, oracle),
            Check("infinite_order", r"at order $\infty$ the nearest keys share the weight", Role.SUPPORT, infinite),
            Check("unequal_norms", "unequal norms break it", Role.NECESSITY, unequal, drops="equal key norms"),
        ),
    )


def _definition(z: list[Fraction], gamma: Fraction, order: Fraction) -> list[Any]:
    """ReLUmax by its definition, from the logits and their maximum."""
    powers = [truncated_power(each - max(z) + gamma, order) for each in z]
    return normalized(powers if order.denominator == 1 else [ball(each) for each in powers])


def _settings(seed: int) -> Iterator[tuple[CorrespondenceCase, bool, Fraction, list[Fraction]]]:
    """(case, whether its keys have equal norms and ‖k‖² is left out, γ, the logits)."""
    for equal in (False, True):
        for number, case in enumerate(cases(seed, equal_norms=equal)):
            z = [Fraction(each) for each in case.logits(key_norm_term=not equal)]
            yield case, equal, REACHES[number % len(REACHES)], z


def _rows(settings: Settings, square: Square) -> Iterator[tuple[str, Any, Any]]:
    for case, _, gamma, z in _settings(settings.seed):
        h2 = square(min(case.distances), gamma, case.beta)
        for n in INTEGERS:
            name = f"n = {n}, γ = {gamma}, {case}"
            yield name, _definition(z, gamma, Fraction(n)), compact_weights(case.distances, h2, Fraction(n))


def _pairs(settings: Settings, square: Square) -> Iterator[tuple[str, arb, arb]]:
    bits = settings.precision
    paper = mechanism("relumax")
    for case, equal, gamma, z in _settings(settings.seed):
        floats, low = list(map(float, z)), min(case.distances)
        unit = compact_weights(case.distances, square(low, Fraction(1), case.beta), Fraction(1))
        named_rule = weights(floats, *paper, precision=bits).weights.values()
        yield from named(f"relumax, {case}", named_rule, unit)
        q, k, v = case.arrays()
        for order in ORDERS:
            name, kernel = f"n = {order}, γ = {gamma}, {case}", Kernel(order)
            right = compact_weights(case.distances, square(low, gamma, case.beta), order)
            found = weights(floats, kernel, Anchored(gamma), precision=bits)
            yield from named(f"rule, {name}", found.weights.values(), right)
            yield from named(f"definition, {name}", _definition(z, gamma, order), right)
            attended = attention(
                q, k, v, kernel, Anchored(gamma), scale=case.beta, key_norm_term=not equal, precision=bits
            )
            yield from named(f"attention, {name}", attended.y.values().ravel(), mixture(right, case.values))
            y = regression(q, k, v, kernel, Anchored(gamma / case.beta), precision=bits).y
            yield from named(f"regression, {name}", y.values().ravel(), mixture(right, case.values))


def _at_infinity(settings: Settings) -> Iterator[tuple[str, Any, Any]]:
    rows = [case.scores for case in cases(settings.seed)] + [[1.0, 0.0, 1.0, -0.5]]
    for z in rows:
        found = weights(z, Kernel(inf), Anchored(2), precision=settings.precision).weights.values()
        share = Fraction(1, z.count(max(z)))
        yield f"z = {z}", list(map(Fraction, found)), [share if each == max(z) else Fraction(0) for each in z]


def _norm_break(q: Floats, k: Floats) -> float:
    dots, squares = dots_and_squares(q, k)
    beta = float(q.shape[-1]) ** -0.5
    p, r = (shares(np.maximum(z - z.max(axis=-1, keepdims=True) + 1, 0)) for z in (beta * dots, -beta * squares / 2))
    return mean_variation(p, r)


CLAIM = build()
FALSE = (
    FalseVariant("the factor 2 is missing", build(lambda low, gamma, beta: low + gamma / beta)),
    FalseVariant("β is missing", build(lambda low, gamma, _: low + 2 * gamma)),
    FalseVariant("the distance of the nearest key is missing", build(lambda _, gamma, beta: 2 * gamma / beta)),
    FalseVariant("the ‖k‖² term is missing for keys of any norm", build(logit=lambda x, _, beta: beta * x)),
)
