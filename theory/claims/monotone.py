"""A larger logit never has a smaller weight."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import isinf
from typing import Any

import sympy
from flint import arb
from hypothesis import assume
from hypothesis import strategies as st

from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, draws, sampled, symbolic
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Weight = Callable[[Any, Any], Any]
Case = tuple[list[float], draws.Order]


def of_base(u: Any, n: Any) -> Any:
    """``u^n``, the weight of a key with ``u = z/n − τ > 0``; in any arithmetic."""
    return u**n


def build(weight: Weight = of_base, *, strict_off: bool = False) -> Claim:
    """The claim with `weight` of a base; if `strict_off`, that the order is strict off the support as well."""

    def rises(settings: Settings) -> Finding:
        n = sympy.Symbol("n", real=True, nonzero=True)
        u, c = sympy.symbols("u c", positive=True)
        x = sympy.Symbol("x", real=True)
        return symbolic.positive(
            ("slope of a weight in its logit, finite order", sympy.diff(weight(u + x / n, n), x).subs(x, 0)),
            ("slope of a weight in its logit, softmax", sympy.diff(c * sympy.exp(x), x).subs(x, 0)),
            ("a weight above the threshold", weight(u, n)),
            domain="all n ≠ 0 and n = ∞, all u = z/n − τ > 0 and weights c > 0",
            detail="one threshold serves the row; for n > 0 the weight rises strictly and continuously from 0 where "
            "z > nτ, and is 0 where z ≤ nτ; for n < 0 every z is below nτ, and the weight rises strictly",
            seed=settings.seed,
        )

    def spacing(settings: Settings) -> Finding:
        n = sympy.Symbol("n", real=True, nonzero=True)
        u, v, c = sympy.symbols("u v c", positive=True)
        z, tau = sympy.symbols("z tau", real=True)
        d = sympy.Symbol("d", nonnegative=True)
        return symbolic.identities(
            ("finite order, bases v and u", weight(v, n) ** (1 / n) - weight(u, n) ** (1 / n), v - u),
            ("those of logits d apart", ((z + d) / n - tau) - (z / n - tau), d / n),
            ("softmax, logits d apart", sympy.log(c * sympy.exp(d)) - sympy.log(c), d),
            domain="all n ≠ 0 and n = ∞, d ≥ 0, two keys of the support",
            seed=settings.seed,
        )

    def oracle(settings: Settings) -> Finding:
        def value(case: Case) -> arb:
            z, n = case
            p = [weight for _, weight in sorted(zip(z, draws.solved(z, n, settings.precision), strict=True))]
            pairs = [(low, high) for low, high in pairwise(p) if strict_off or high > 0]
            return draws.least([high - low for low, high in pairs])

        return sampled.positive(
            st.tuples(draws.logits(unique=True), draws.all_orders()),
            value,
            settings,
            domain="rows of 2 to 6 different logits, multiples of 1/16 in [−4, 4], orders from 1/4 to ∞ and from "
            "−32 to −9/8",
            detail="differences of the oracle's weights of neighbouring logits, the larger one of positive weight",
            show=_words,
        )

    def distances(settings: Settings) -> Finding:
        def sides(case: Case) -> tuple[arb, arb]:
            z, n = case
            live = [(x, p) for x, p in zip(z, draws.solved(z, n, settings.precision), strict=True) if p > 0]
            assume(len(live) > 1)
            (x, p), (y, r) = live[:2]
            if isinf(n):
                return (p / r).log(), arb(x) - arb(y)
            order = draws.order_ball(n)
            return order * (p ** (1 / order) - r ** (1 / order)), arb(x) - arb(y)

        return sampled.equal(
            st.tuples(draws.logits(), draws.all_orders()),
            sides,
            settings,
            domain="rows of 2 to 6 logits, multiples of 1/16 in [−4, 4], orders from 1/4 to ∞ and from "
            "−32 to −9/8, two keys of the support",
            width=1e-20,
            detail="n(p_i^(1/n) − p_j^(1/n)), for softmax log(p_i/p_j), against z_i − z_j",
            show=_words,
        )

    def box(settings: Settings) -> Finding:
        return certified.positive(
            lambda u, d, n: weight(u + d / n, n) - weight(u, n),
            {"u": ("1/20", 1), "d": ("1/10", 1), "n": ("1/2", 3)},
            domain="u = z/n − τ in [1/20, 1], logits d in [1/10, 1] apart, n in [1/2, 3]",
            precision=settings.precision,
            detail="the larger logit has the larger weight",
        )

    return Claim(
        id="monotone",
        title="The weights keep the order of the logits",
        statement=r"Let $p = \mathrm{entmax}_n(z)$ with $n > 0$, $n = \infty$ or $n < -1$. If $z_i \ge z_j$ "
        r"then $p_i \ge p_j$; if "
        r"$z_i > z_j$ and $p_i > 0$ then $p_i > p_j$. For two keys of the support "
        r"\[n\,(p_i^{1/n} - p_j^{1/n}) = z_i - z_j,\] at $n = \infty$ $\log p_i - \log p_j = z_i - z_j$.",
        source="folklore; Martins & Astudillo, From softmax to sparsemax, ICML 2016, for n = 1",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"logits, a row in $\mathbb{R}^m$"),
            Variable("n", r"order; $\alpha = 1 + 1/n$; softmax at $\infty$"),
        ),
        formal=Statement(domains.domain(n=domains.orders())),
        argument="One threshold serves the whole row; that a function of the logit which rises above the threshold "
        "and is 0 below, or rises everywhere, keeps the order is said.",
        checks=(
            Check("rises", "a weight rises with its logit above the threshold", Role.PROOF, rises),
            Check("spacing", "the distance of two keys of the support", Role.PROOF, spacing),
            Check("oracle", "the oracle's weights keep the order", Role.SUPPORT, oracle),
            Check("distances", "its weights keep the distances", Role.SUPPORT, distances),
            Check("box", "over a box of bases, distances and orders", Role.SUPPORT, box),
        ),
    )


def _words(case: Case) -> str:
    return f"z = {case[0]}, n = {draws.name(case[1])}"


CLAIM = build()
FALSE = (
    FalseVariant("the power is negative", build(lambda u, n: u ** (-n))),
    FalseVariant("the inverse power", build(lambda u, n: u ** (1 / n))),
    FalseVariant("strict off the support as well", build(strict_off=True)),
)
