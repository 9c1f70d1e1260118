"""C8: every rule is one formula of the gaps, with one number γ per query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import inf
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import strategies as st

from kernelproof.reference import Adaptive, Anchored, Fixed, Kernel, Nearest, entmax, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.correspondence import (
    ORDERS,
    CorrespondenceCase,
    cases,
    compact_weights,
    exact_shares,
    named,
    truncated_power,
    width,
)
from kernelproof.theory.evidence import certified, draws, exact, sampled, symbolic
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.evidence.draws import ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import normalized
from kernelproof.theory.statement import Statement

INTEGERS = (1, 2, 3, 7)
NEGATIVE = (Fraction(-2), Fraction(-5, 2))
FixedReach = Callable[[Any, Any], Any]
AdaptiveReach = Callable[[Any, Any, Any], Any]
Floor = Callable[[Any, Any], Any]


def fixed_reach(square: Any, nearest: Any) -> Any:
    """``γ = (h² − min D)/2``; in any arithmetic."""
    return (square - nearest) / 2


def adaptive_reach(top: Any, n: Any, beta: Any) -> Any:
    """``γ = (n/β)û``; in any arithmetic."""
    return n * top / beta


def least_top(m: Any, n: Any) -> Any:
    """``m^{−1/n}``, a lower bound of û; in any arithmetic."""
    return m ** (-1 / n)


def build(fixed: FixedReach = fixed_reach, adaptive: AdaptiveReach = adaptive_reach, floor: Floor = least_top) -> Claim:
    """The claim with this γ of `Fixed`, this γ of `Adaptive`, and this lower bound of û."""

    def one_formula(settings: Settings) -> Finding:
        low, d = sympy.symbols("L D", nonnegative=True)
        h, wide, gamma, c, a, rest = sympy.symbols("H B gamma c a A", positive=True)
        n = sympy.Symbol("n", real=True, nonzero=True)
        reach, tail = fixed(h, low), fixed(-wide, low)
        return symbolic.identities(
            ("1 − D/h² with γ = (h² − L)/2", 1 - d / h, (h - low) / h * (1 - (d - low) / 2 / reach)),
            ("n < 0: 1 + D/B with γ = −(B + L)/2", 1 + d / wide, (wide + low) / wide * (1 - (d - low) / 2 / tail)),
            ("the γ of a ball anchored at min D + 2γ", fixed(low + 2 * gamma, low), gamma),
            ("a common factor cancels", (c * a) ** n / ((c * a) ** n + (c * rest) ** n), a**n / (a**n + rest**n)),
            given=(h - low,),
            domain="all n ≠ 0, m and d; n > 0: h² = H > L = min D; n < 0: h² = B > 0",
            detail="(h² − L)/h² > 0, or (h² + L)/h² > 0 for n < 0, is common to all keys, and d_i = (D_i − "
            "L)/2; if h² ≤ min D there is no weight "
            "(n > 0) on either side; for `Nearest` the keys are those kept",
            seed=settings.seed,
        )

    def threshold(settings: Settings) -> Finding:
        top, gap = sympy.symbols("z_max d", real=True)
        n = sympy.Symbol("n", real=True, nonzero=True)
        beta, u = sympy.symbols("beta u", positive=True)
        tau = top * beta / n - u
        return symbolic.identities(
            ("z_i/n − τ for z = βs, s = max s − d", beta * (top - gap) / n - tau, u * (1 - gap / adaptive(u, n, beta))),
            domain="all n ≠ 0, β > 0, m and d; û = u = max z/n − τ > 0",
            detail="û^n is common to all keys and cancels; û > 0 because weights sum to 1",
            seed=settings.seed,
        )

    def ends(settings: Settings) -> Finding:
        s, r = sympy.symbols("s r", nonnegative=True)
        n = sympy.Symbol("n", real=True, nonzero=True)
        m, top = sympy.Symbol("m", positive=True), 1 / (1 + s)
        return symbolic.identities(
            ("the n-th power of the lower end", floor(m, n) ** n, 1 / m),
            ("it over 1/(1 + s), m = 1 + s + r", top * (1 + s + r), 1 + r / (1 + s)),
            ("1 minus the upper", 1 - top, s / (1 + s)),
            domain="all n ≠ 0 and m ≥ 1",
            detail="û^n = max p = 1/(1 + s) is at most Σp = 1, and at least 1/m because m·max p ≥ Σp: s ≥ 0 and "
            "r = m − 1 − s ≥ 0; x^{1/n} is monotone, so û lies between m^{−1/n} and 1, n < 0 from 1 on",
            seed=settings.seed,
        )

    def exponential(settings: Settings) -> Finding:
        d, beta, s = sympy.symbols("d beta s", positive=True)
        n, gamma = sympy.Symbol("n", real=True, nonzero=True), sympy.Symbol("gamma", positive=True)
        inside, large = sympy.log(1 - 1 / (1 + s)), sympy.Symbol("N", positive=True)
        at_one = [(1 - d / adaptive(1, side * large, beta)) ** (side * large) for side in (1, -1)]
        return symbolic.identities(
            ("exp(n·log1p(−d/γ)), d/γ = 1/(1 + s)", sympy.exp(n * inside), (1 - 1 / (1 + s)) ** n),
            ("the same where γ < 0, −d/γ = s", sympy.exp(n * sympy.log(1 + s)), (1 + s) ** n),
            ("n → ∞ at û = 1", sympy.limit(at_one[0], large, sympy.oo), sympy.exp(-beta * d)),
            ("n → −∞ at û = 1", sympy.limit(at_one[1], large, sympy.oo), sympy.exp(-beta * d)),
            ("softmax of gaps", sympy.exp(-beta * d), sympy.exp(beta * (gamma - d)) / sympy.exp(beta * gamma)),
            domain="all n ≠ 0, β > 0, 0 < d < γ or γ < 0; order ∞ for `Adaptive`",
            detail="û lies between m^{−1/n} and 1, so it tends to 1; at order ∞ the formula is exp(−βd_i)",
            seed=settings.seed,
        )

    def rows(settings: Settings) -> Finding:
        return exact.equal(
            _rows(settings, fixed),
            domain=f"seeded cases of 1 to 17 keys in 1 to 8 dimensions, n in {INTEGERS}, three h and γ each",
            detail="the kernel of the distances and the formula of the gaps, in rationals",
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _pairs(settings, fixed, adaptive),
                domain="seeded cases of 1 to 17 keys in 1 to 8 dimensions, every rule, also after `Nearest(3)`; n in "
                f"{', '.join(map(str, (*ORDERS, *NEGATIVE)))} and ∞",
                width=width(settings),
                detail="certified weights against the formula with the γ of the rule; û from the certified threshold",
            )

    def interval(settings: Settings) -> Finding:
        def slack(case: tuple[list[float], Any]) -> arb:
            z, order = case
            n = rational(order)
            found = entmax(z, order=order, precision=settings.precision)
            top = rational(Fraction(max(z))) / n - ball(found.threshold.values()[()])
            # A row of one key, or of ties, attains an end: 2^-40 of room for the width of the balls.
            room, side = arb(2) ** -40, 1 if order > 0 else -1
            return draws.least([side * (top - floor(rational(Fraction(len(z))), n)) + room, side * (1 - top) + room])

        return sampled.positive(
            st.tuples(draws.logits(least=1), draws.both_sides()),
            slack,
            settings,
            domain="rows of 1 to 6 logits, multiples of 1/16 in [−4, 4], and orders from 1/4 to 32 and −32 to −9/8",
            detail="û is between m^{−1/n} and 1 up to 2^-40",
            show=lambda case: f"z = {case[0]}, n = {case[1]}",
        )

    return Claim(
        id="one_form",
        label="C8",
        title="Every rule is one formula of the gaps",
        statement=r"Let $s_i = -\|q-k_i\|^2/2$, $D = \min_j \|q-k_j\|^2$ and $d_i = \max s - s_i$. Under every rule "
        r"$w_i \propto [1 - d_i/\gamma]_+^n$, with a constant $\gamma$ for the anchored one and "
        r"\[\gamma = \frac{h^2 - D}{2} \text{ (fixed } h\text{)}, "
        r"\qquad \gamma = \frac{n}{\beta}\,\hat u \text{ (adaptive)},\] "
        r"where $\hat u = \max z/n - \tau$ is between $m^{-1/n}$ and $1$, for $z = \beta s$ and its threshold "
        r"$\tau$; with "
        r"fixed $h$ and $h^2 \le D$ there are no weights. For $n < 0$, $\gamma$ is negative: $w_i \propto (1 + "
        r"d_i/|\gamma|)^{-|n|}$ with $|\gamma| = (h^2 + D)/2$ for the kernel $(1 + \|q-k\|^2/h^2)^{-|n|}$, minus a "
        r"constant, or the same $\frac{n}{\beta}\hat u$. Where the nearest keys are kept first, the same holds among "
        r"those. At $n = \pm\infty$ the adaptive rule is $w_i \propto e^{-\beta d_i}$.",
        source="ours; the rules: arXiv:2601.22766, normalized ReLU, ReLUmax, entmax and top-k as bandwidths",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_i", r"query and $m \ge 1$ keys in $\mathbb{R}^d$"),
            Variable("d_i", "gap of a score to the largest"),
            Variable(r"\gamma", "for $n > 0$ how far below the largest a score may be and keep weight"),
            Variable("n", r"order, $n \ne 0$; below $-1$ for the adaptive rule, where $\alpha = 1 + 1/n > 0$"),
            Variable(r"\hat u", r"$n$-th root of the largest weight"),
        ),
        formal=Statement(domains.domain(n=domains.nonzero(), beta=domains.positive(), m=domains.integers(1))),
        argument="The identities are shown for one key against the others; that a factor common to all keys "
        "cancels, that the largest of m weights lies between 1/m and 1, and that `Nearest` applies the "
        "same to the keys kept, is said.",
        checks=(
            Check("one_formula", "a ball of any $h$ is a reach beyond the nearest key", Role.PROOF, one_formula),
            Check("threshold", r"the adaptive reach is $(n/\beta)\hat u$", Role.PROOF, threshold),
            Check("ends", r"$\hat u$ is between $m^{-1/n}$ and $1$", Role.PROOF, ends),
            Check("exponential", r"the form with a logarithm, and order $\infty$", Role.PROOF, exponential),
            Check("rational_rows", "both forms are the same rationals", Role.SUPPORT, rows),
            Check("oracle", "certified weights agree under every rule and order", Role.SUPPORT, oracle),
            Check("interval", r"certified $\hat u$ is in the interval", Role.SUPPORT, interval),
        ),
    )


def formula(gaps: list[Any], gamma: Any, order: Fraction) -> list[Any]:
    """``[1 − d_i/γ]₊^n`` divided by its sum; Fractions for a rational γ and an integer order, else balls."""
    if isinstance(gamma, arb):
        return exact_shares([truncated_power(1 - ball(each) / gamma, order) for each in gaps])
    powers = [truncated_power(1 - each / gamma, order) for each in gaps]
    return exact_shares(powers if order.denominator == 1 else [ball(each) for each in powers])


def _gaps(case: CorrespondenceCase) -> list[Fraction]:
    return [(each - min(case.distances)) / 2 for each in case.distances]


def _bandwidths(case: CorrespondenceCase) -> list[Fraction]:
    """Rational h beyond the nearest key: barely, half-way, and beyond all keys."""
    low, high = min(case.distances), max(case.distances)
    found = []
    for target in (low, (low + high) / 2, high + 1):
        # The smallest multiple of 1/8 whose square is beyond the target.
        h = Fraction(1, 8)
        while h**2 <= target:
            h += Fraction(1, 8)
        found.append(h)
    return found


def _rows(settings: Settings, fixed: FixedReach) -> Iterator[tuple[str, Any, Any]]:
    for case in cases(settings.seed):
        low, gaps = min(case.distances), _gaps(case)
        for n in map(Fraction, INTEGERS):
            for h in _bandwidths(case):
                name = f"n = {n}, h = {h}, {case}"
                yield name, compact_weights(case.distances, h**2, n), formula(gaps, fixed(h**2, low), n)
                gamma = h
                anchored = compact_weights(case.distances, low + 2 * gamma, n)
                yield f"anchored, n = {n}, γ = {gamma}, {case}", anchored, formula(gaps, gamma, n)


def _pairs(settings: Settings, fixed: FixedReach, adaptive: AdaptiveReach) -> Iterator[tuple[str, arb, arb]]:
    for case in cases(settings.seed):
        for kept in (None, 3):
            yield from _ruled(settings, case, kept, fixed, adaptive)


def _ruled(
    settings: Settings, case: CorrespondenceCase, kept: int | None, fixed: FixedReach, adaptive: AdaptiveReach
) -> Iterator[tuple[str, arb, arb]]:
    """The weights of one case under every rule, after `Nearest(kept)` for cases without a tie there."""
    gaps, bits = _gaps(case), settings.precision
    ordered = sorted(gaps)
    if kept is not None and kept < len(gaps) and ordered[kept - 1] == ordered[kept]:
        return
    last = ordered[-1] if kept is None else ordered[min(kept, len(gaps)) - 1]
    near = [i for i, gap in enumerate(gaps) if gap <= last]
    prefix = "" if kept is None else f"the {kept} nearest, "

    def solved(order: Any, rule: Fixed | Anchored | Adaptive) -> Any:
        found = weights(case.scores, Kernel(order), rule if kept is None else Nearest(kept, rule), precision=bits)
        values = found.weights.values()
        return [values[i] for i in near], found

    mine = [gaps[i] for i in near]
    for order in (*ORDERS, *NEGATIVE):
        side = 1 if order > 0 else -1
        for h in _bandwidths(case):
            right = formula(mine, fixed(side * h**2, min(case.distances)), order)
            yield from named(f"{prefix}h = {h}, n = {order}, {case}", solved(order, Fixed(h))[0], right)
            right = formula(mine, side * h, order)
            yield from named(f"{prefix}γ = {h}, n = {order}, {case}", solved(order, Anchored(h))[0], right)
        values, found = solved(order, Adaptive(case.beta))
        n, beta = rational(order), rational(case.beta)
        top = beta * rational(Fraction(max(case.scores))) / n - ball(found.threshold.values()[()])
        right = formula(mine, adaptive(top, n, beta), order)
        yield from named(f"{prefix}adaptive, n = {order}, {case}", values, right)
    softmax = normalized([(-rational(case.beta * each)).exp() for each in mine])
    yield from named(f"{prefix}adaptive, n = ∞, {case}", solved(inf, Adaptive(case.beta))[0], softmax)


CLAIM = build()
FALSE = (
    FalseVariant("γ = h² − min D", build(lambda square, low: square - low)),
    FalseVariant("the nearest distance is missing in γ", build(lambda square, _: square / 2)),
    FalseVariant("û/β without n", build(adaptive=lambda top, _, beta: top / beta)),
    FalseVariant("nû without β", build(adaptive=lambda top, n, _: n * top)),
    FalseVariant("û at least 1/m", build(floor=lambda m, _: 1 / m)),
)
