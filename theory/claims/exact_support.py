"""The gaps alone decide which keys have weight, without solving for the threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import strategies as st

from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, draws, exact, sampled, symbolic
from kernelproof.theory.evidence.ball import Ball
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Term = Callable[[Any, Any], Any]
PLANTED = (
    (1, ("1/2", "1/3", "1/6")),
    (1, ("1/4", "1/4", "1/4", "1/4")),
    (2, ("3/5", "4/5")),
    (2, ("2/7", "3/7", "6/7")),
    (2, ("1/2", "1/2", "1/2", "1/2")),
    (3, ("3/6", "4/6", "5/6")),
    (3, ("1/9", "6/9", "8/9")),
    (4, ("30/353", "120/353", "272/353", "315/353")),
)
"""(n, the u_i of the support): rationals with ``Σ u_i^n = 1``, so that τ is known without solving for it."""


def gap_term(gap: Any, n: Any) -> Any:
    """``(gap/n)^n``, the part of the mass 1 taken by a key with a larger logit; in any arithmetic."""
    return (gap / n) ** n


def build(term: Term = gap_term, reach: Callable[[Any], Any] = lambda n: n) -> Claim:
    """The claim whose test sums `term`, with weight 0 for gaps of at least ``reach(n)``."""

    def mass_falls(settings: Settings) -> Finding:
        n, u = sympy.symbols("n u", positive=True)
        t = sympy.Symbol("t", real=True)
        return symbolic.positive(
            ("minus the slope of (u − t)^n at t = 0", -sympy.diff((u - t) ** n, t).subs(t, 0)),
            domain="all n > 0 and every u = z_j/n − τ > 0",
            detail="F(τ) = Σ_j [z_j/n − τ]₊^n is continuous, is 0 at τ = max z/n, grows without bound as τ → −∞ and "
            "falls strictly between: so F(τ) = 1 has one root, and τ < t ⇔ F(t) < 1 for every t ≤ max z/n",
            seed=settings.seed,
        )

    def at_the_key(settings: Settings) -> Finding:
        n, gap = sympy.symbols("n a", positive=True)
        low = sympy.Symbol("z_i", real=True)
        return symbolic.identities(
            ("the term of z_j = z_i + a in F(z_i/n)", ((low + gap) / n - low / n) ** n, term(gap, n)),
            domain="all n > 0, every z_i and every gap a > 0",
            detail="p_i = [z_i/n − τ]₊^n > 0 ⇔ τ < z_i/n ⇔ F(z_i/n) < 1; in F(z_i/n) the keys with z_j ≤ z_i are 0",
            seed=settings.seed,
        )

    def far_keys(settings: Settings) -> Finding:
        n = sympy.Symbol("n", positive=True)
        e = sympy.Symbol("e", nonnegative=True)
        return symbolic.positive(
            ("log (d/n)^n at d = reach", n * sympy.log(sympy.simplify(reach(n) / n))),
            ("log (d/n)^n at d = reach·(1 + e)", n * sympy.log(sympy.simplify(reach(n) / n) * (1 + e))),
            domain="all n > 0 and gaps d = n(1 + e), e ≥ 0",
            detail="the largest logit's term alone is then at least 1, so the sum is not below 1",
            seed=settings.seed,
            strict=False,
        )

    def planted(settings: Settings) -> Finding:
        return exact.holds(
            _planted(term),
            domain=f"{len(PLANTED)} rows of order 1 to 4 with a rational threshold, and keys around and exactly at it",
            detail="the sum in rationals against the support that the row was made with",
        )

    def random_rows(settings: Settings) -> Finding:
        return sampled.positive(
            st.tuples(draws.logits(), draws.orders()),
            lambda case: _margin(term, case, settings.precision),
            settings,
            domain="rows of 2 to 6 logits, multiples of 1/16 in [−4, 4], and orders from 1/4 to 32",
            detail="1 − S_i > 0 where the oracle's weight is positive, S_i − 1 ≥ 0 where it is 0",
            show=lambda case: f"z = {case[0]}, n = {case[1]}",
        )

    def box(settings: Settings) -> Finding:
        def off(w: Ball, e: Ball, n: Ball) -> Any:
            first, second = n * (w ** (1 / n) + e), n * ((1 - w) ** (1 / n) + e)
            return term(first, n) + term(second, n) - 1

        return certified.positive(
            off,
            {"w": ("1/10", "9/10"), "e": ("1/5", 1), "n": ("1/2", 4)},
            domain="two keys of weights w and 1 − w, a third e below the threshold: w in [1/10, 9/10], e in [1/5, 1], "
            "n in [1/2, 4]",
            precision=settings.precision,
            detail="the sum of the key below the threshold is above 1",
        )

    def negative(settings: Settings) -> Finding:
        # The sum is rational: (1/−2)^−2 = 4.
        with ctx.workprec(settings.precision):
            weight, held = draws.solved([0.0, -1.0], Fraction(-2), settings.precision)[1], term(arb(1), arb(-2))
            return certified.exists(
                "z = (0, −1), n = −2: the least of the second key's weight and of S_2 − 1, S_2 = (1/−2)^−2 = 4",
                weight.min(held - 1),
                domain="two keys",
                detail="the sum is above 1, and the key has weight, as every key has at n < 0 (H1); d ≥ n holds of all",
            )

    return Claim(
        id="exact_support",
        title="The support is decided by the gaps, without the threshold",
        statement=r"Let $p = \mathrm{entmax}_n(z)$, $p_i = [z_i/n - \tau]_+^n$ with $\sum_i p_i = 1$. Then "
        r"\[p_i > 0 \iff S_i = \sum_{z_j > z_i}\Bigl(\frac{z_j - z_i}{n}\Bigr)^n < 1,\] "
        r"and $p_i = 0$ if $d_i = \max z - z_i \ge n$.",
        source="ours; for n = 1 the support of the projection on the simplex, Held, Wolfe & Crowder, "
        "Validation of subgradient optimization, Mathematical Programming 6, 1974",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"logits, a row in $\mathbb{R}^m$"),
            Variable("n", r"order, $0 < n < \infty$; $\alpha = 1 + 1/n$"),
            Variable(r"\tau", "the threshold"),
        ),
        assumptions=(Assumption("positive order", "$n > 0$"),),
        formal=Statement(domains.domain(n=domains.positive())),
        argument="The mass is a sum of the terms that are shown to fall; that it is continuous and passes 1 once, "
        "so that τ < t exactly if the mass at t is below 1, is said.",
        checks=(
            Check("value_at_the_key", "the mass at $t = z_i/n$ is $S_i$", Role.PROOF, at_the_key),
            Check("mass_falls", r"the mass falls in $t$, so $\tau < z_i/n \iff S_i < 1$", Role.PROOF, mass_falls),
            Check("far_keys", "a gap of $n$ or more makes $S_i$ at least 1", Role.PROOF, far_keys),
            Check("planted", "the sums decide rows whose threshold is known", Role.SUPPORT, planted),
            Check("negative_order", "negative orders break it", Role.NECESSITY, negative, drops="positive order"),
            Check("oracle", "the sums decide as the oracle does", Role.SUPPORT, random_rows),
            Check("box", "keys below the threshold have a sum above 1", Role.SUPPORT, box),
        ),
    )


def total(term: Term, z: Sequence[Any], i: int, n: Any) -> Any:
    """``S_i``, the terms of the keys with a larger logit than key i; in any arithmetic."""
    return sum((term(other - z[i], n) for other in z if other > z[i]), start=0 * z[i])


def _planted(term: Term) -> Iterator[tuple[str, bool]]:
    for n, bases in PLANTED:
        # z = n(u + τ) with τ = 1/4; keys below, exactly at, and far below the threshold have no weight.
        z = [n * (Fraction(u) + Fraction(1, 4)) for u in bases]
        z += [n * Fraction(1, 4), n * Fraction(1, 4) - Fraction(1, 100), n * Fraction(1, 4) - 5]
        for i in range(len(z)):
            inside = i < len(bases)
            found = total(term, z, i, n)
            yield f"n = {n}, z = {list(map(str, z))}, key {i}: S = {found}, weight {inside}", (found < 1) == inside


def _margin(term: Term, case: tuple[list[float], Fraction], precision: int) -> arb:
    z, order = case
    weights = draws.solved(z, order, precision)
    exact_z = [Fraction(x) for x in z]
    margins = []
    for i, weight in enumerate(weights):
        if order.denominator == 1:
            found = total(term, exact_z, i, order.numerator)
            right = (found < 1) if weight > 0 else (found >= 1)
            margins.append(arb(1 if right else -1))
        else:
            ball = total(term, [rational(x) for x in exact_z], i, rational(order))
            # A key exactly at the threshold has S = 1 and weight 0.
            off = arb(1) if ball >= 1 else ball - 1
            margins.append(1 - ball if weight > 0 else off)
    return draws.least(margins)


CLAIM = build()
FALSE = (
    FalseVariant("the gaps are not divided by n", build(lambda gap, n: gap**n)),
    FalseVariant("the outer power is missing", build(lambda gap, n: gap / n)),
    FalseVariant("half the reach", build(reach=lambda n: n / 2)),
)
