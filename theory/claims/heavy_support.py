"""H1: with a negative order every key has weight, between two powers of its gap."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy
from flint import arb
from hypothesis import strategies as st

from kernelproof.reference import entmax
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, draws, sampled, symbolic
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Tail = Callable[[Any, Any, Any], Any]
Top = Callable[[Any, Any], Any]


def tail(top: Any, gap: Any, nu: Any) -> Any:
    """``(û + d/ν)^−ν``, the weight of a key d below the largest logit; in any arithmetic."""
    return (top + gap / nu) ** (-nu)


def largest_top(m: Any, nu: Any) -> Any:
    """``m^{1/ν}``, the largest that û is; in any arithmetic."""
    return m ** (1 / nu)


def build(weight: Tail = tail, most: Top = largest_top) -> Claim:
    """The claim with `weight` of a gap, and û at most `most`."""

    def form(settings: Settings) -> Finding:
        z, tau = sympy.symbols("z_max tau", real=True)
        gap, nu = sympy.Symbol("d", nonnegative=True), sympy.Symbol("nu", positive=True)
        top = sympy.Symbol("u", positive=True)
        return symbolic.identities(
            ("z_i/n − τ for n = −ν, z_i = max z − d", (z - gap) / -nu - tau, (z / -nu - tau) + gap / nu),
            ("its power", (top + gap / nu) ** -nu, weight(top, gap, nu)),
            domain="all ν > 0, gaps d ≥ 0 and û = max z/n − τ > 0",
            seed=settings.seed,
        )

    def one_root(settings: Settings) -> Finding:
        top, nu = sympy.symbols("u nu", positive=True)
        gap = sympy.Symbol("d", nonnegative=True)
        return symbolic.positive(
            ("minus the slope of a weight in û", -sympy.diff(weight(top, gap, nu), top)),
            ("minus its slope in the gap", -sympy.diff(weight(top, gap, nu), gap)),
            ("a weight", weight(top, gap, nu)),
            domain="all ν > 0, û > 0 and d ≥ 0",
            detail="the sum of the weights is continuous and falls strictly in û > 0 from ∞ to 0: it is 1 at one û",
            seed=settings.seed,
        )

    def ends(settings: Settings) -> Finding:
        nu = sympy.Symbol("nu", positive=True)
        m = sympy.Symbol("m", integer=True, positive=True)
        return symbolic.identities(
            ("the weight of gap 0 at û = 1", weight(1, 0, nu), 1),
            ("m of them at the other end", m * weight(most(m, nu), 0, nu), 1),
            domain="all ν > 0 and m ≥ 1",
            detail="at û = 1 the sum is at least that of the largest key, 1, and at m^{1/ν} at most m times that",
            seed=settings.seed,
        )

    def oracle(settings: Settings) -> Finding:
        def slack(case: tuple[list[float], Fraction]) -> arb:
            z, order = case
            nu, size = -rational(order), rational(Fraction(len(z)))
            p = draws.solved(z, order, settings.precision)
            # Ties attain the lower bound and a single key both: 2^-40 of room for the width of the balls.
            room = arb(2) ** -40
            found = []
            for value, logit in zip(p, z, strict=True):
                gap = rational(Fraction(max(z)) - Fraction(logit))
                low, high = weight(most(size, nu), gap, nu), weight(arb(1), gap, nu)
                found += [value - low * (1 - room), high * (1 + room) - value, low]
            return draws.least(found)

        return sampled.positive(
            st.tuples(draws.logits(least=1), st.sampled_from(draws.HEAVY)),
            slack,
            settings,
            domain="rows of 1 to 6 logits, multiples of 1/16 in [−4, 4], and orders from −32 to −9/8",
            detail="certified weights lie between (m^{1/ν} + d/ν)^−ν and (1 + d/ν)^−ν, up to 2^-40",
            show=lambda case: f"z = {case[0]}, n = {case[1]}",
        )

    def far(settings: Settings) -> Finding:
        z = [0.0, -(2.0**60)]
        found = entmax(z, order=Fraction(-2), precision=settings.precision)
        value = draws.ball(found.weights.values()[1])
        return certified.exists(
            "z = (0, −2^60), n = −2: the weight of the second key",
            value if found.support.all() else -value,
            domain="two keys",
            detail="it is about 2^−118, where softmax has exp(−2^60)",
        )

    return Claim(
        id="heavy_support",
        label="H1",
        title="With a negative order every key has weight",
        statement=r"Let $n = -\nu < 0$ and $d_i = \max z - z_i$. There is exactly one $\hat u > 0$ with "
        r"\[p_i = \Bigl(\hat u + \frac{d_i}{\nu}\Bigr)^{-\nu}, \qquad \sum_i p_i = 1, \qquad "
        r"1 \le \hat u \le m^{1/\nu},\] so for every key "
        r"\[0 < \Bigl(m^{1/\nu} + \frac{d_i}{\nu}\Bigr)^{-\nu} \le p_i \le \Bigl(1 + \frac{d_i}{\nu}\Bigr)^{-\nu}.\] "
        r"No key is ever at a threshold, and there is no ball outside which the weights are 0.",
        source="ours; for α below 1 the Tsallis entropies: Tsallis, Journal of Statistical Physics 52, 1988",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"logits, a row in $\mathbb{R}^m$"),
            Variable(r"\nu", r"$-n$, any positive number; $\alpha = 1 - 1/\nu$, above 0 for $\nu > 1$"),
            Variable(r"\hat u", r"$\max z/n - \tau$, the base of the largest weight"),
        ),
        formal=Statement(domains.domain(nu=domains.positive(), m=domains.integers(1))),
        argument="The weights are shown to fall in û, one by one; that their sum then passes 1 once, and does so "
        "between the two ends, is the intermediate value theorem.",
        checks=(
            Check("form", r"the weight of a gap at order $-\nu$", Role.PROOF, form),
            Check("one_root", r"every weight is positive and falls in $\hat u$", Role.PROOF, one_root),
            Check("ends", r"the sum is at least 1 at $1$ and at most 1 at $m^{1/\nu}$", Role.PROOF, ends),
            Check("oracle", "certified weights lie between the bounds", Role.SUPPORT, oracle),
            Check("far", "a key very far away has weight", Role.SUPPORT, far),
        ),
    )


CLAIM = build()
FALSE = (
    FalseVariant("the gap is not divided by ν", build(lambda top, gap, nu: (top + gap) ** (-nu))),
    FalseVariant("the power of a compact kernel", build(lambda top, gap, nu: (top + gap / nu) ** nu)),
    FalseVariant("ν − 1 for ν in the power", build(lambda top, gap, nu: (top + gap / nu) ** (1 - nu))),
    FalseVariant("û at most m", build(most=lambda m, _: m)),
    FalseVariant("û at most m^{−1/ν}", build(most=lambda m, nu: m ** (-1 / nu))),
)
