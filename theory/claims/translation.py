"""Adding one number to all logits changes no weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb
from hypothesis import strategies as st

from kernelproof.reference import entmax
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import draws, exact, sampled, symbolic
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Shift = Callable[[Any, Any], Any]
Case = tuple[list[float], Fraction, int]


def threshold_shift(c: Any, n: Any) -> Any:
    """``c/n``, by which the threshold moves when the logits move by c; in any arithmetic."""
    return c / n


def build(shift: Shift = threshold_shift, move: Callable[[float, float], float] = lambda x, c: x + c) -> Claim:
    """The claim that `move` of every logit changes no weight and moves the threshold by `shift`."""

    def argument(settings: Settings) -> Finding:
        z, c, tau, rest = sympy.symbols("z c tau lambda", real=True)
        n = sympy.Symbol("n", real=True, nonzero=True)
        return symbolic.identities(
            ("finite order: the base of a weight", (z + c) / n - (tau + shift(c, n)), z / n - tau),
            ("softmax: a weight", sympy.exp((z + c) - (rest + c)), sympy.exp(z - rest)),
            domain="all n ≠ 0 and n = ∞, all z, c and thresholds τ, λ",
            detail="with τ + c/n (softmax: λ + c) in the place of τ every weight is what it was, so they sum to 1 "
            "again; the sum is strictly monotone in the threshold while it is positive, so there is no other",
            seed=settings.seed,
        )

    def one_threshold(settings: Settings) -> Finding:
        n, u = sympy.Symbol("n", real=True, nonzero=True), sympy.Symbol("u", positive=True)
        x = sympy.Symbol("x", real=True)
        return symbolic.positive(
            ("finite order: −n times the slope of a weight u^n", -n * sympy.diff((u - x) ** n, x).subs(x, 0)),
            ("softmax: minus the slope of a weight u", -sympy.diff(u * sympy.exp(-x), x).subs(x, 0)),
            domain="all n ≠ 0 and n = ∞, all u > 0",
            detail="each weight falls in the threshold for n > 0 and rises for n < 0: one threshold only "
            "makes the weights sum to 1",
            seed=settings.seed,
        )

    def sparsemax(settings: Settings) -> Finding:
        return exact.equal(
            _rows(settings.seed, move),
            domain="40 seeded rows of 6 logits and 40 shifts, multiples of 1/16, n = 1",
            detail="the oracle's weights are rational numbers at n = 1",
        )

    def weights(settings: Settings) -> Finding:
        def sides(case: Case) -> tuple[arb, arb]:
            z, n, steps = case
            moved = [move(x, steps / 16) for x in z]
            return draws.worst(*(draws.solved(row, n, settings.precision) for row in (z, moved)))

        return _drawn(settings, sides, "the oracle's weights before and after", infinite=True)

    def threshold(settings: Settings) -> Finding:
        def sides(case: Case) -> tuple[arb, arb]:
            z, n, steps = case
            c = Fraction(steps, 16)
            before, after = (
                draws.ball(entmax(row, order=n, precision=settings.precision).threshold.values()[()])
                for row in (z, [move(x, float(c)) for x in z])
            )
            return before + rational(shift(c, n)), after

        return _drawn(settings, sides, "the oracle's thresholds before and after", infinite=False)

    return Claim(
        id="translation",
        title="Adding a constant to all logits changes nothing",
        statement=r"For every $c$ and every order $n > 0$, $n = \infty$ or $n < -1$, "
        r"\[\mathrm{entmax}_n(z + c\,\mathbf{1}) = \mathrm{entmax}_n(z),\] "
        r"and for finite $n$ the threshold moves by $c/n$.",
        source="folklore; Martins & Astudillo, From softmax to sparsemax, ICML 2016, for n = 1",
        kind=Kind.THEOREM,
        variables=(Variable("z", r"logits, a row in $\mathbb{R}^m$"), Variable("c", "a real number")),
        formal=Statement(domains.domain(n=domains.orders(), c=domains.real())),
        argument="Each weight is shown to be the same with the moved threshold; that the sum of terms which "
        "all fall, or all rise, "
        "strictly passes 1 at one threshold only is said.",
        checks=(
            Check("argument", "each weight is the same with the moved threshold", Role.PROOF, argument),
            Check("one_threshold", "there is one threshold only", Role.PROOF, one_threshold),
            Check("sparsemax", "the same rationals at $n = 1$", Role.SUPPORT, sparsemax),
            Check("weights", "the oracle's weights do not change", Role.SUPPORT, weights),
            Check("threshold", "the oracle's threshold moves by $c/n$", Role.SUPPORT, threshold),
        ),
    )


def _drawn(settings: Settings, sides: Callable[[Case], tuple[arb, arb]], detail: str, *, infinite: bool) -> Finding:
    return sampled.equal(
        st.tuples(draws.logits(), draws.all_orders() if infinite else draws.both_sides(), st.integers(-(2**20), 2**20)),
        sides,
        settings,
        domain="rows of 2 to 6 logits in [−4, 4] and shifts up to 2^16, multiples of 1/16; orders from 1/4 to "
        + ("∞" if infinite else "32")
        + " and from −32 to −9/8",
        width=1e-20,
        detail=detail,
        show=lambda case: f"z = {case[0]}, n = {draws.name(case[1])}, c = {case[2]}/16",
    )


def _rows(seed: int, move: Callable[[float, float], float]) -> Iterator[tuple[str, list[Fraction], list[Fraction]]]:
    generator = np.random.default_rng(seed)
    for _ in range(40):
        z = (generator.integers(-24, 25, size=6) / 16).tolist()
        c = float(generator.integers(-(2**20), 2**20) / 16)
        moved = [move(x, c) for x in z]
        before, after = (entmax(row, order=1).weights.values().tolist() for row in (z, moved))
        yield f"z = {z}, c = {c}", before, after


CLAIM = build()
FALSE = (
    FalseVariant("the threshold moves by c", build(shift=lambda c, _: c)),
    FalseVariant("logits may be multiplied", build(move=lambda x, c: x * c)),
)
