"""The Karush-Kuhn-Tucker conditions: they identify the rows of weights that are entmax, from the weights alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import assume
from hypothesis import strategies as st

from kernelproof.reference import entmax
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, draws, sampled, symbolic
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Gradient = Callable[[Any, Any], Any]
Case = tuple[list[float], Fraction, int]
PLANTED = (
    (1, ("1/2", "3/8", "1/8")),
    (2, ("1/2", "1/2", "1/2", "1/2")),
    (1, ("1/4", "1/4", "1/2")),
    (2, ("3/4", "1/2", "1/4", "1/4", "1/4")),
    (3, ("1/2", "1/2", "1/2", "1/2", "1/2", "1/2", "1/2", "1/2")),
    (3, ("3/4", "3/4", "1/2", "1/4", "1/4")),
)
"""(n, the u_i = p_i^(1/n) of the support): multiples of 1/4 or 1/8 with ``Σ u_i^n = 1``."""


def entropy_slope(p: Any, alpha: Any) -> Any:
    """``p^(α−1)/(α − 1)``, the negative derivative of the entropy by a weight; in any arithmetic."""
    return p ** (alpha - 1) / (alpha - 1)


def build(gradient: Gradient = entropy_slope, *, off: int = 1) -> Claim:
    """The claim with the condition ``gradient(p_i, α) = z_i − μ``; off the support z_i ≥ μ if `off` is −1."""

    def stationary(settings: Settings) -> Finding:
        p, rate = sympy.Symbol("p", positive=True), sympy.Symbol("epsilon", real=True, nonzero=True)
        z, mu = sympy.symbols("z mu", real=True)
        alpha = 1 + rate
        lagrangian = p * z - p**alpha / (alpha * (alpha - 1)) - mu * p
        return symbolic.identities(
            ("slope of the Lagrangian in p_i", sympy.diff(lagrangian, p), z - mu - gradient(p, alpha)),
            given=(alpha,),
            domain="all α > 0 but 1, weights p > 0, z and multipliers μ",
            detail="the objective ⟨p, z⟩ + H_α(p), whose constant has slope 0; off the support (α > 1) the "
            "slope at p = 0 is z_i − μ and must not be above 0",
            seed=settings.seed,
        )

    def both_ways(settings: Settings) -> Finding:
        u, p, over = sympy.symbols("u p n", positive=True)
        e, under = sympy.Symbol("e", nonnegative=True), sympy.Symbol("n", negative=True)

        def conditions(n: Any) -> list[tuple[str, Any, Any]]:
            alpha = 1 + 1 / n
            return [
                ("necessary: p = u^n with u = z/n − τ has z − nτ on the right", gradient(u**n, alpha), n * u),
                ("sufficient: the condition gives back the weight", (gradient(p, alpha) / n) ** n, p),
            ]

        outside = ("sufficient: off the support, z = μ − e, so does [(z − μ)/n]₊", sympy.Max(-off * e / over, 0), 0)
        # With 1/n = −y the condition at p = x^{1/y} is −1/(x·y), which falls without bound as x does.
        x, y = sympy.symbols("x y", positive=True)
        steep = 1 / gradient(x ** (1 / y), 1 - y)
        edge = ("n < 0: the left side falls to −∞ as p → 0", sympy.limit(sympy.simplify(steep), x, 0, "+"), 0)
        return symbolic.either_sign(
            symbolic.identities(*conditions(under), edge, domain="all n < 0", seed=settings.seed),
            symbolic.identities(*conditions(over), outside, domain="all n > 0", seed=settings.seed),
            variable="n",
            domain="all n = 1/(α − 1) ≠ 0, all u > 0 and p > 0; μ = nτ",
            detail="for n < 0 a weight of 0 would need z_i − μ = −∞, so there is none. Entmax meets the "
            "conditions with μ = nτ. Whatever meets them has p_i = [z_i/n − μ/n]₊^n, also off "
            "the support, and sums to 1 at one μ only: so it is entmax",
        )

    def one_multiplier(settings: Settings) -> Finding:
        n, u = sympy.Symbol("n", real=True, nonzero=True), sympy.Symbol("u", positive=True)
        x = sympy.Symbol("x", real=True)
        return symbolic.positive(
            ("−n times the slope of a weight u^n in the threshold", -n * sympy.diff((u - x) ** n, x).subs(x, 0)),
            domain="all n ≠ 0 and u > 0",
            detail="Σ [z_i/n − τ]₊^n falls strictly in τ for n > 0 and rises for n < 0, so one τ makes it 1",
            seed=settings.seed,
        )

    def planted(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _planted(gradient, settings.precision),
                domain=f"{len(PLANTED)} rows of order 1 to 3, made from rational weights and μ = 1/2 by the "
                "conditions, with keys at and below μ",
                width=1e-30,
                detail="the oracle's weights against those that the row was made from",
            )

    def on_support(settings: Settings) -> Finding:
        def sides(case: Case) -> tuple[arb, arb]:
            z, n, which = case
            p = draws.solved(z, n, settings.precision)
            live = [i for i, weight in enumerate(p) if weight > 0]
            first, then = live[0], live[which % len(live)]
            multipliers = [rational(Fraction(z[i])) - gradient(p[i], 1 + 1 / rational(n)) for i in (first, then)]
            return multipliers[0], multipliers[1]

        return sampled.equal(
            st.tuples(draws.logits(), draws.both_sides(), st.integers(0, 5)),
            sides,
            settings,
            domain="rows of 2 to 6 logits, multiples of 1/16 in [−4, 4], orders from 1/4 to 32 and −32 to −9/8",
            width=1e-20,
            detail="z_i − p_i^(α−1)/(α−1) of two keys of the oracle's support",
            show=lambda case: f"z = {case[0]}, n = {case[1]}",
        )

    def off_support(settings: Settings) -> Finding:
        def value(case: tuple[list[float], Fraction]) -> arb:
            z, n = case
            found = entmax(z, order=n, precision=settings.precision)
            # A key at the threshold has z_i = μ, which no ball decides; the planted rows cover such keys.
            assume(not found.boundary.any() and not found.support.all())
            p = [draws.ball(weight) for weight in found.weights.values()]
            top = max(range(len(z)), key=z.__getitem__)
            mu = rational(Fraction(z[top])) - gradient(p[top], 1 + 1 / rational(n))
            below = [Fraction(x) for x, on in zip(z, found.support, strict=True) if not on]
            return draws.least([off * (mu - rational(x)) for x in below])

        return sampled.positive(
            st.tuples(draws.logits(), draws.orders()),
            value,
            settings,
            domain="rows of 2 to 6 logits, multiples of 1/16 in [−4, 4], orders from 1/4 to 32, a key off the support",
            detail="μ − z_i for the keys off the oracle's support, μ from the largest weight",
            show=lambda case: f"z = {case[0]}, n = {case[1]}",
        )

    return Claim(
        id="kkt",
        title="The optimality conditions of entmax",
        statement=r"Let $\alpha = 1 + 1/n$. A row $p \ge 0$ with $\sum_i p_i = 1$ is $\mathrm{entmax}_n(z)$ if and "
        r"only if, for some $\mu$, \[\frac{p_i^{\alpha-1}}{\alpha-1} = z_i - \mu \quad (p_i > 0), \qquad "
        r"z_i \le \mu \quad (p_i = 0).\] That is $\mu = n\tau$, and there is only one. For $\alpha < 1$ no "
        r"$p_i$ is 0, and "
        r"$\mu$ is above every $z_i$.",
        source="Peters, Niculae & Martins, Sparse sequence-to-sequence models, ACL 2019; "
        "Blondel, Martins & Niculae, Learning with Fenchel-Young losses, JMLR 21, 2020",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"logits, a row in $\mathbb{R}^m$"),
            Variable(
                r"\alpha",
                r"$0 < \alpha < \infty$, $\alpha \ne 1$; order $n = 1/(\alpha - 1)$, below $-1$ for $\alpha < 1$",
            ),
            Variable(r"\tau", r"the threshold in $p_i = [z_i/n - \tau]_+^n$"),
        ),
        formal=Statement(domains.domain(n=domains.orders())),
        argument="That the conditions at one key hold for every key, that a concave problem on the simplex has its "
        "maximum where they hold, and that one multiplier only makes the weights sum to 1, is said.",
        checks=(
            Check("stationary", "they are the conditions of the variational form", Role.PROOF, stationary),
            Check("both_ways", "they hold for entmax, and give its formula back", Role.PROOF, both_ways),
            Check("one_multiplier", r"one $\mu$ makes the weights sum to 1", Role.PROOF, one_multiplier),
            Check("planted", "rows made from the conditions are solved by their weights", Role.SUPPORT, planted),
            Check("on_support", "the oracle has one multiplier on the support", Role.SUPPORT, on_support),
            Check("off_support", "logits off its support are below the multiplier", Role.SUPPORT, off_support),
        ),
    )


def _planted(gradient: Gradient, precision: int) -> Iterator[tuple[str, arb, arb]]:
    for n, bases in PLANTED:
        p = [Fraction(Fraction(u) ** n) for u in bases]
        mu = Fraction(1, 2)
        # n = 1/(α − 1) and p^(α−1) = u are rational, so the logits are; multiples of 1/8, so float64 holds them.
        z = [mu + n * Fraction(u) for u in bases] + [mu, mu - Fraction(1, 8), mu - 3]
        weights = draws.solved([float(x) for x in z], Fraction(n), precision)
        for i, (weight, planted) in enumerate(zip(weights, [*p, *[Fraction(0)] * 3], strict=True)):
            yield f"n = {n}, z = {list(map(str, z))}, key {i}", weight, rational(planted)
            if planted:
                left = gradient(rational(planted), 1 + 1 / rational(n))
                yield f"n = {n}, z = {list(map(str, z))}, key {i}: the condition", left, rational(z[i] - mu)


CLAIM = build()
FALSE = (
    FalseVariant("the factor 1/(α − 1) is missing", build(lambda p, alpha: p ** (alpha - 1))),
    FalseVariant("divided by α as well", build(lambda p, alpha: p ** (alpha - 1) / (alpha * (alpha - 1)))),
    FalseVariant("logits off the support are above μ", build(off=-1)),
)
