"""L5: outputs and Jacobians tend to those of softmax attention at rate 1/n, with their exact coefficients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx

from kernelproof.reference import Adaptive, Kernel, entmax, entmax_vjp, regression
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.claims.entmax_limit import EXPONENTS, First, moment, relative_shift, remainders
from kernelproof.theory.evidence import certified, symbolic
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import dot
from kernelproof.theory.series import Series, ball, balls, constant, logits_of, softmax, spread, toward_limit, variable
from kernelproof.theory.statement import Statement

ROWS = ((0.0, 0.5, -1.25), (0.0, -3.0, 1.0, 0.25, -0.75), (2.0, 1.5, -4.0, 0.0))
Slope = Callable[[Any, Any, Any], Any]


def weight_slope(p: Any, log: Any, mean: Any) -> Any:
    """``ω_i = p_i[(E − ℓ_i²)/2 − ℓ_i]``, the coefficient of 1/n in ``p_i(n)^{1−1/n}``; in any arithmetic."""
    return p * (relative_shift(log, mean) - log)


def jacobian_slope(p: Sequence[Any], log: Sequence[Any], slope: Slope) -> list[list[Any]]:
    """``diag(ω) − ωpᵀ − pωᵀ + H·ppᵀ``, with ω from `slope` and the entropy ``H = −Σ p ℓ``, which is Σω."""
    mean = moment(p, log, 2)
    omega = [slope(each, at, mean) for each, at in zip(p, log, strict=True)]
    entropy = -dot(p, log)
    return [
        [(omega[i] if i == j else 0) - omega[i] * p[j] - p[i] * omega[j] + entropy * p[i] * p[j] for j in range(len(p))]
        for i in range(len(p))
    ]


def build(first: First = relative_shift, slope: Slope = weight_slope) -> Claim:
    """The claim with these coefficients of the weights and of the powers in the Jacobian."""

    def output(settings: Settings) -> Finding:
        e, p = sympy.Symbol("epsilon", real=True, nonzero=True), sympy.Symbol("p", positive=True)
        log, mean, value, c = sympy.symbols("l E v c", real=True)
        slope_of_term = sympy.diff(p * (1 + e * c) * value, e).subs(c, (mean - log**2) / 2)
        return symbolic.identities(
            ("a key's term", slope_of_term, p * first(log, mean) * value),
            domain="all m, all logits and values; n → ±∞",
            detail="ŷ = Σ p_i v_i is linear in the weights, whose expansion is p_i[1 + (E − ℓ_i²)/(2n)] + O(n⁻²) by "
            "L2; the O(n⁻²) terms add up to at most Σ|v_i| times the largest",
            seed=settings.seed,
        )  # fmt: skip

    def jacobian(settings: Settings) -> Finding:
        p, r = sympy.symbols("p r", positive=True)
        e = sympy.Symbol("epsilon", real=True, nonzero=True)
        log, mean, wi, wj, w = sympy.symbols("l E a b s", real=True)
        power = p * (1 + e * (mean - log**2) / 2)
        moving = sympy.exp((1 - e) * (log + sympy.log(power / p)))
        product = (p + e * wi) * (r + e * wj) / (1 + e * w)
        return symbolic.identities(
            ("slope of p^{1−ε}", sympy.diff(moving, e).subs(e, 0).subs(sympy.exp(log), p), slope(p, log, mean)),
            ("slope of w_iw_j/W", sympy.diff(product, e).subs(e, 0), p * wj + r * wi - p * r * w),
            ("Σω = H", *_sums(slope)),
            domain="all m, all logits; n → ±∞",
            detail="J(n) = diag(w) − wwᵀ/W with w = p(n)^{1−1/n} is analytic in ε = 1/n near 0, where w = p and W = 1",
            seed=settings.seed,
        )

    def commute(settings: Settings) -> Finding:
        z = sympy.symbols("z_1 z_2 z_3", real=True)
        terms = [sympy.exp(each) for each in z]
        total = sympy.Add(*terms)
        p, log = [term / total for term in terms], [each - sympy.log(total) for each in z]
        mean = moment(p, log, 2)
        moves = [each * first(at, mean) for each, at in zip(p, log, strict=True)]
        stated = jacobian_slope(p, log, slope)
        return symbolic.identities(
            *[(f"entry ({i}, {j})", sympy.diff(moves[i], z[j]), stated[i][j]) for i, j in ((0, 0), (0, 1))],
            domain="all rows of 3 logits; the other entries by symmetry",
            detail="the derivative in z of the weights' coefficient is the Jacobian's coefficient: the two limits "
            "commute",
            seed=settings.seed,
        )

    def outputs(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 96):
            return _agree(
                _outputs(settings, first), "3 keys in the plane, values in the plane, n = 2^10 to 2^40, −2^20 and −2^40"
            )

    def jacobians(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 96):
            return _agree(
                _jacobians(settings, slope), f"{len(ROWS)} rows, n = 2^10 to 2^40, −2^20 and −2^40, every entry"
            )

    def box(settings: Settings) -> Finding:
        def slack(p: arb, r: arb, eps: arb) -> arb:
            return 4 - _top(jacobian_remainders([p, r, 1 - p - r], eps, slope))

        part = (Fraction(1, 4), Fraction(3, 8))
        return certified.supported(
            slack,
            {"p": part, "r": part, "eps": (0, Fraction(1, 8))},
            domain="rows of 3 keys whose weights at order n are in [1/4, 3/8], [1/4, 3/8] and the rest; n ≥ 8",
            precision=64,
            detail="half the second derivative in 1/n of every entry of J(n) − J(∞) − (the coefficient)/n is below 4 "
            "everywhere, so its size is at most 4/n²: with the expansion, an error bound, not only an order",
        )

    return Claim(
        id="output_limit",
        label="L5",
        title="Outputs and Jacobians tend to those of softmax at rate 1/n",
        statement=r"With $p = \mathrm{softmax}(z)$, $\ell = \log p$, $E = \sum_j p_j \ell_j^2$, "
        r"$H = -\sum_j p_j \ell_j$ and $\omega_i = p_i[(E - \ell_i^2)/2 - \ell_i]$, as $n \to \pm\infty$ "
        r"\[\hat y(n) = \sum_i p_i v_i + \frac{1}{n} \sum_i p_i \frac{E - \ell_i^2}{2} v_i + O(n^{-2}),\] "
        r"\[\frac{\partial\,\mathrm{entmax}_n(z)}{\partial z} = \mathrm{diag}(p) - pp^\top + \frac{1}{n}"
        r"\bigl(\mathrm{diag}(\omega) - \omega p^\top - p\,\omega^\top + H\,pp^\top\bigr) + O(n^{-2}).\]",
        source="ours",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"a row of finite logits in $\mathbb{R}^m$, fixed; in attention $z = \beta s$"),
            Variable("v_i", "values, fixed"),
            Variable("n", r"order, $n \to \infty$ or $n \to -\infty$"),
        ),
        assumptions=(Assumption("fixed row", "$z$ and $v$ do not change with $n$"),),
        formal=Statement(domains.domain(m=domains.integers(1))),
        argument="The coefficient of the output is linear in those of the weights; the entries of the Jacobian are "
        "shown for three keys, and others follow by symmetry. That the expansion may be differentiated "
        "rests on its being analytic.",
        checks=(
            Check("output", "the coefficient of the output", Role.PROOF, output),
            Check("jacobian", "the coefficient of the Jacobian", Role.PROOF, jacobian),
            Check("outputs", "certified outputs, with the remainder enclosed", Role.SUPPORT, outputs),
            Check("jacobians", "certified Jacobians, with the remainder enclosed", Role.SUPPORT, jacobians),
            Check("commute", "the coefficient's derivative is the derivative's coefficient", Role.SUPPORT, commute),
            Check("box", "the Jacobian's remainder on a box of rows and orders", Role.SUPPORT, box),
        ),
    )


def _sums(slope: Slope) -> tuple[Any, Any]:
    p, r = sympy.symbols("p r", positive=True)
    weights, log = [p, r, 1 - p - r], list(sympy.symbols("l_1 l_2 l_3", real=True))
    mean = moment(weights, log, 2)
    return sum(slope(each, at, mean) for each, at in zip(weights, log, strict=True)), -dot(weights, log)


def jacobian_remainders(weights: Sequence[arb], eps: arb, slope: Slope) -> list[Series]:
    """The entries of ``J(n) − J(∞) − ε·coefficient``, ε = 1/n, as series at `eps`, of the rows of these weights."""
    limit = softmax(logits_of(weights, eps, 3))
    step = variable(eps, 3)
    powers = [((1 - step) * weight.log()).exp() for weight in weights]
    total = sum(powers[1:], powers[0])
    stated = jacobian_slope(limit, [p.log() for p in limit], slope)
    found = []
    for i, (w, p) in enumerate(zip(powers, limit, strict=True)):
        for j in range(i + 1):
            now = (w if i == j else constant(0, 3)) - w * powers[j] / total
            found.append(now - (p if i == j else constant(0, 3)) + p * limit[j] - step * stated[i][j])
    return found


def _top(entries: Sequence[Series]) -> arb:
    top = arb(0)
    for each in entries:
        top = top.max(abs(each[2]).upper())
    return top


def _outputs(settings: Settings, first: First) -> Any:
    q, keys = [[0.25, 0.5]], [[0.0, 1.0], [1.0, -0.5], [-0.75, 0.25]]
    values = [[1.0, 0.0], [-2.0, 1.0], [0.5, 3.0]]
    bits = settings.precision + 96
    at_limit = regression(q, keys, values, Kernel(inf), Adaptive(1), precision=bits)
    limit = balls(at_limit.weighting.weights.values().ravel())
    log = [p.log() for p in limit]
    mean = moment(limit, log, 2)
    for text, order in toward_limit(EXPONENTS):
        found = regression(q, keys, values, Kernel(order), Adaptive(1), precision=bits)
        eps = certified.interval(Fraction(0), Fraction(1, order))
        rest = remainders(balls(found.weighting.weights.values().ravel()), eps, first)
        for c in range(2):
            column = [ball(value[c]) for value in values]
            stated = sum(p * first(at, mean) * v for p, at, v in zip(limit, log, column, strict=True))
            left = order * (ball(found.y.values()[0, c]) - ball(at_limit.y.values()[0, c]))
            size = sum(abs(each[2]) * abs(v) for each, v in zip(rest, column, strict=True))
            yield f"n = {text}, coordinate {c}", left, stated + spread(size / order)


def _jacobians(settings: Settings, slope: Slope) -> Any:
    bits = settings.precision + 96
    for z in ROWS:
        limit = balls(entmax(list(z), order=inf, precision=bits).weights.values())
        stated = jacobian_slope(limit, [p.log() for p in limit], slope)
        at_limit = jacobian_of(z, inf, bits)
        for text, order in toward_limit(EXPONENTS):
            found = balls(entmax(list(z), order=order, precision=bits).weights.values())
            eps = certified.interval(Fraction(0), Fraction(1, order))
            rest = spread(_top(jacobian_remainders(found, eps, slope)) / order)
            rows = jacobian_of(z, order, bits)
            for i in range(len(z)):
                for j in range(len(z)):
                    left = order * (rows[i][j] - at_limit[i][j])
                    yield f"z = {z}, n = {text}, entry ({i}, {j})", left, stated[i][j] + rest


def jacobian_of(z: Sequence[float], order: Any, bits: int) -> list[list[arb]]:
    """The Jacobian of entmax by the reference, row i from the cotangent e_i."""
    eye = np.eye(len(z))
    return [balls(entmax_vjp(list(z), row.tolist(), order=order, precision=bits)["z"].values()) for row in eye]


def _agree(pairs: Any, domain: str) -> Finding:
    return certified.agree(
        pairs,
        domain=domain,
        # Below one half, the smallest n still distinguishes the coefficient from twice, half or minus itself.
        width=0.5,
        detail="n times the distance from the limit is the coefficient up to a remainder that is enclosed",
    )


CLAIM = build()
FALSE = (
    FalseVariant("the coefficient counted twice", build(lambda log, mean: mean - log**2)),
    FalseVariant(
        "the weights' coefficient for that of their powers", build(slope=lambda p, log, mean: p * (mean - log**2) / 2)
    ),
    FalseVariant("the other sign of the logarithm", build(slope=lambda p, log, mean: p * ((mean - log**2) / 2 + log))),
)
