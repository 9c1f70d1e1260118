"""M1: at fixed logits the support only grows with the order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx
from hypothesis import strategies as st

from kernelproof.reference import entmax
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, draws, exact, sampled, symbolic
from kernelproof.theory.evidence.ball import Ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Term = Callable[[Any, Any], Any]
Case = tuple[list[float], tuple[draws.Order, draws.Order]]


def gap_term(gap: Any, n: Any) -> Any:
    """``(a/n)^n``, which the exact test of the support sums over larger logits; in any arithmetic."""
    return (gap / n) ** n


def build(term: Term = gap_term, *, grows: bool = True) -> Claim:
    """The claim for a support decided by the sum of `term`; without `grows`, the claim that it shrinks."""

    def slope(settings: Settings) -> Finding:
        n, gap, e = sympy.symbols("n a e", positive=True)
        low = sympy.Symbol("z_i", real=True)
        logarithm = n * sympy.log(gap / n)
        steps = (
            ("the term of z_j = z_i + a in the mass at z_i/n", ((low + gap) / n - low / n) ** n, term(gap, n)),
            ("the term as an exponential", term(gap, n), sympy.exp(logarithm)),
            ("the slope in n of its logarithm", sympy.diff(logarithm, n), sympy.log(gap / n) - 1),
            ("that slope at n = a(1 + e)/exp(1)", sympy.log(sympy.E / (1 + e)) - 1, -sympy.log(1 + e)),
        )
        return symbolic.identities(
            *steps,
            domain="all n > 0, logits z_i, gaps a > 0 and e > 0",
            detail="key i has weight at order n exactly if Σ (a_j/n)^n < 1 over its gaps a_j = z_j − z_i > 0: the mass "
            "Σ [z_j/n − t]₊^n falls in t from above 1 to 0 and is 1 at the threshold, which z_i/n must exceed",
            seed=settings.seed,
        )

    def falls(settings: Settings) -> Finding:
        e = sympy.Symbol("e", positive=True)
        sign = 1 if grows else -1
        return symbolic.positive(
            ("the rate at which the logarithm falls at n = a(1 + e)/exp(1)", sign * sympy.log(1 + e)),
            domain="all a > 0 and n > a/exp(1)",
            detail="for a key with weight at order n every term is below 1, so every gap is below n, hence below each "
            "order from n to n′: every term falls, the sum stays below 1, the key keeps its weight",
            seed=settings.seed,
        )

    def box(settings: Settings) -> Finding:
        def fall(r: Ball, s: Ball, n: Ball, h: Ball) -> Any:
            before = term(r * n, n) + term(s * n, n)
            after = term(r * n, n + h) + term(s * n, n + h)
            return before - after if grows else after - before

        return certified.positive(
            fall,
            {"r": ("1/4", 1), "s": ("1/4", 1), "n": ("1/2", 3), "h": (1, 3)},
            domain="two gaps rn and sn with r, s in [1/4, 1], orders n in [1/2, 3] and n + h, h in [1, 3]",
            precision=settings.precision,
            detail="the sum that decides is smaller at n + h than at n",
        )

    def rational_rows(settings: Settings) -> Finding:
        return exact.holds(
            _rows(settings.seed, term, grows=grows),
            domain="60 seeded rows of 7 logits, multiples of 1/8 in [−3, 3], and orders 1 to 6",
            detail="supports decided in rational numbers; each is held against those of all larger orders",
        )

    def oracle(settings: Settings) -> Finding:
        return sampled.positive(
            st.tuples(draws.logits(), draws.rising()),
            lambda case: _kept(case, settings.precision, grows=grows),
            settings,
            domain="rows of 2 to 6 logits, multiples of 1/16 in [−4, 4], and orders n < n′ from 1/4 to ∞",
            detail="the least weight at order n′ of the keys that have weight at order n",
            show=lambda case: f"z = {case[0]}, n = {draws.name(case[1][0])}, n′ = {draws.name(case[1][1])}",
        )

    def negative(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            heavy, sparse = (draws.solved([0.0, -2.0], Fraction(n), settings.precision)[1] for n in (-2, 1))
            return certified.exists(
                "z = (0, −2), n = −2 < n′ = 1: the second key's weight at n minus that at n′, which is 0",
                heavy - sparse,
                domain="two keys",
                detail="every key has weight at n < 0 (H1): the support grows as 1/n falls, and not with n across 0",
            )

    return Claim(
        id="support_grows",
        label="M1",
        title="The support only grows with the order",
        statement=r"For $0 < n < n' \le \infty$ and any $z$, "
        r"\[\{i : \mathrm{entmax}_n(z)_i > 0\} \subseteq \{i : \mathrm{entmax}_{n'}(z)_i > 0\}.\]",
        source="ours",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"logits, a row in $\mathbb{R}^m$, the same at both orders"),
            Variable("n, n'", r"orders; $\alpha = 1 + 1/n$; softmax at $\infty$, where every key has weight"),
        ),
        assumptions=(Assumption("positive order", "$n > 0$"),),
        formal=Statement(domains.domain(n=domains.positive())),
        argument="Each term of the sum that decides is shown to fall while its gap is below the order; that the "
        "sum of such terms then falls, and that a key with weight has all its gaps below n, is said.",
        checks=(
            Check("slope", r"$\frac{d}{dn}\, n\log(a/n) = \log(a/n) - 1$", Role.PROOF, slope),
            Check("falls", "$(a/n)^n$ falls in $n$ for $n > a/e$, so for all gaps below $n$", Role.PROOF, falls),
            Check("rational_rows", "supports of rising integer orders are nested", Role.SUPPORT, rational_rows),
            Check("negative_order", "negative orders break it", Role.NECESSITY, negative, drops="positive order"),
            Check("oracle", "no key of the support is lost at a larger order", Role.SUPPORT, oracle),
            Check("box", "the deciding sum of two gaps falls", Role.SUPPORT, box),
        ),
    )


def _rows(seed: int, term: Term, *, grows: bool) -> Iterator[tuple[str, bool]]:
    generator = np.random.default_rng(seed)
    for steps in generator.integers(-24, 25, size=(60, 7)).tolist():
        z = [Fraction(x, 8) for x in steps]
        supports = [
            {i for i, low in enumerate(z) if sum(term(high - low, n) for high in z if high > low) < 1}
            for n in range(1, 7)
        ]
        for n, (smaller, larger) in enumerate(pairwise(supports), start=1):
            nested = smaller <= larger if grows else larger <= smaller
            yield f"z = {list(map(str, z))}, orders {n} and {n + 1}: {sorted(smaller)}, {sorted(larger)}", nested


def _kept(case: Case, precision: int, *, grows: bool) -> arb:
    z, orders = case
    first, then = orders if grows else orders[::-1]
    kept = entmax(z, order=first, precision=precision).support
    return draws.least([weight for weight, on in zip(draws.solved(z, then, precision), kept, strict=True) if on])


CLAIM = build()
FALSE = (
    FalseVariant("the gaps are not divided by n", build(lambda gap, n: gap**n)),
    FalseVariant("the power does not depend on n", build(lambda gap, n: gap / n)),
    FalseVariant("the support shrinks", build(grows=False)),
)
