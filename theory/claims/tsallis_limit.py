"""The entropies of entmax tend to Shannon's as α → 1, and how fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy
from flint import arb
from hypothesis import assume
from hypothesis import strategies as st

from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, draws, sampled, symbolic
from kernelproof.theory.evidence.ball import Ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Term = Callable[[Any, Any], Any]
Rate = Callable[[Any, Any], Any]
Case = tuple[list[int], int]


def tsallis(p: Any, alpha: Any) -> Any:
    """``(p − p^α)/(α(α − 1))``, the part of one weight in H_α, as the weights sum to 1; in any arithmetic."""
    return (p - p**alpha) / (alpha * (alpha - 1))


def first_order(p: Any, t: Any) -> Any:
    """``p(t + t²/2)`` with t = −log p, the part of one weight in the rate; in any arithmetic."""
    return p * (t + t**2 / 2)


def build(term: Term = tsallis, rate: Rate = first_order) -> Claim:
    """The claim for entropies that sum `term`, and tend to Shannon's at `rate`."""

    def limit(settings: Settings) -> Finding:
        p, q = sympy.symbols("p q", positive=True)
        e = sympy.Symbol("epsilon", real=True, nonzero=True)
        alpha = 1 + e
        whole = (1 - p**alpha - q**alpha) / (alpha * e)
        shannon = -p * sympy.log(p)
        slope = sympy.limit((term(p, alpha) - shannon) / e, e, 0, "+-")
        return symbolic.identities(
            (
                "H_α of two weights by terms, p + q = 1",
                term(p, alpha) + term(q, alpha),
                whole + (p + q - 1) / (alpha * e),
            ),
            ("the limit of a term", sympy.limit(term(p, alpha), e, 0, "+-"), shannon),
            ("the limit of (term − its limit)/(α − 1)", slope, -rate(p, -sympy.log(p))),
            given=(alpha,),
            domain="α = 1 + ε → 1 from both sides, all p > 0",
            detail="H_α is a finite sum of such terms; p = 0 adds 0 for every α > 0",
            seed=settings.seed,
        )

    def taylor(settings: Settings) -> Finding:
        s = sympy.Symbol("s", nonnegative=True)
        first, second = sympy.exp(-s) - 1 + s, 1 - s + s**2 / 2 - sympy.exp(-s)
        return symbolic.identities(
            *(
                (f"{name}, derivative {order} at 0", sympy.diff(function, s, order).subs(s, 0), 0)
                for name, function, orders in (("exp(−s) − 1 + s", first, 2), ("1 − s + s²/2 − exp(−s)", second, 3))
                for order in range(orders)
            ),
            ("second derivative of the first", sympy.diff(first, s, 2), sympy.exp(-s)),
            ("third derivative of the second", sympy.diff(second, s, 3), sympy.exp(-s)),
            domain="all s ≥ 0",
            detail="exp(−s) > 0, so both functions are ≥ 0: s − s²/2 ≤ 1 − exp(−s) ≤ s",
            seed=settings.seed,
        )

    def bounds(settings: Settings) -> Finding:
        p, e = sympy.symbols("p epsilon", positive=True)
        t = sympy.Symbol("t", nonnegative=True)
        # With p^ε = exp(−s), s = εt: a term is p(1 − exp(−s))/(ε(1 + ε)), and 1 − exp(−s) is in [s − s²/2, s].
        s = e * t
        most, fewest = (p * part / (e * (1 + e)) for part in (s, s - s**2 / 2))
        return symbolic.positive(
            ("Shannon's term minus the largest possible", sympy.simplify(p * t - most)),
            (
                "ε times the rate, minus Shannon's term plus the least possible",
                sympy.simplify(e * rate(p, t) - p * t + fewest),
            ),
            domain="all ε = α − 1 > 0 and weights p = exp(−t), t ≥ 0",
            detail="so each term of H_α is between Shannon's minus ε times the rate, and Shannon's",
            seed=settings.seed,
            strict=False,
        )

    def box(settings: Settings) -> Finding:
        def slack(p: Ball, e: Ball) -> Any:
            t = -p.log()
            gap = p * t - term(p, 1 + e)
            return gap.min(e * rate(p, t) - gap)

        return certified.positive(
            slack,
            {"p": ("1/10", "9/10"), "e": ("1/2", 3)},
            domain="p in [1/10, 9/10], α in [3/2, 4]",
            precision=settings.precision,
            detail="both bounds of a term",
        )

    def rows(settings: Settings) -> Finding:
        def value(case: Case) -> arb:
            shares, exponent = case
            # A row of one weight has entropy 0 at every α.
            assume(sum(1 for share in shares if share) > 1)
            p = [arb(share) / sum(shares) for share in shares if share]
            e = arb(2) ** -exponent
            entropy = (1 - sum((x ** (1 + e) for x in p), start=arb(0))) / (e * (1 + e))
            shannon = -sum((x * x.log() for x in p), start=arb(0))
            bound = e * sum((rate(x, -x.log()) for x in p), start=arb(0))
            return draws.least([shannon - entropy, bound - (shannon - entropy)])

        return sampled.positive(
            st.tuples(st.lists(st.integers(0, 40), min_size=2, max_size=7), st.integers(-3, 30)),
            value,
            settings,
            domain="rational rows of 2 to 7 weights and α = 1 + 2^−k, k from −3 to 30",
            detail="Shannon's entropy minus H_α, and the bound minus that",
            show=lambda case: f"p ∝ {case[0]}, α = 1 + 2^{-case[1]}",
        )

    return Claim(
        id="tsallis_limit",
        title="The entropies of entmax become Shannon's",
        statement=r"Let $H_\alpha(p) = \frac{1 - \sum_i p_i^\alpha}{\alpha(\alpha - 1)}$, "
        r"$H_1(p) = -\sum_i p_i \log p_i$ and $E(p) = \sum_i p_i \log^2 p_i$, with $0 \log 0 = 0$. As $\alpha \to 1$, "
        r"\[H_\alpha(p) = H_1(p) - (\alpha - 1)\Bigl(H_1(p) + \frac{E(p)}{2}\Bigr) + o(\alpha - 1),\] and for every "
        r"$\alpha > 1$, $0 \le H_1 - H_\alpha \le (\alpha - 1)(H_1 + E/2)$.",
        source="the limit: Tsallis, Possible generalization of Boltzmann-Gibbs statistics, Journal of Statistical "
        "Physics 52, 1988; the rate and the bound: ours",
        kind=Kind.THEOREM,
        variables=(
            Variable("p", r"weights, $p_i \ge 0$ and $\sum_i p_i = 1$"),
            Variable(r"\alpha", r"$\alpha > 0$, $\alpha \ne 1$; order $n = 1/(\alpha - 1)$ where $\alpha > 1$"),
        ),
        formal=Statement(domains.domain(alpha=domains.positive())),
        argument="H_α is a finite sum of terms whose limits and bounds are shown; the bounds follow from "
        "derivatives at 0 by Taylor's theorem.",
        checks=(
            Check("limit", "the limit and the slope of each term", Role.PROOF, limit),
            Check("taylor", r"$s - s^2/2 \le 1 - e^{-s} \le s$", Role.PROOF, taylor),
            Check("bounds", "both bounds of each term", Role.PROOF, bounds),
            Check("box", "both bounds over a box of weights and orders", Role.SUPPORT, box),
            Check("rows", "both bounds for rows of weights", Role.SUPPORT, rows),
        ),
    )


CLAIM = build()
FALSE = (
    FalseVariant("the factor 1/α is missing", build(lambda p, alpha: (p - p**alpha) / (alpha - 1))),
    FalseVariant("the rate has E for E/2", build(rate=lambda p, t: p * (t + t**2))),
    FalseVariant("the rate lacks the entropy", build(rate=lambda p, t: p * t**2 / 2)),
)
