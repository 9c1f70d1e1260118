"""M3: under the adaptive rule the ball shrinks as β grows, and supports are nested."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import strategies as st

from kernelproof.reference import Adaptive, Kernel, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, draws, sampled, symbolic
from kernelproof.theory.evidence.ball import Ball
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Mass = Callable[[Any, Any], Any]
BETAS = tuple(map(Fraction, ("1/4", "1/2", "1", "3/2", "2", "4", "16")))


def adaptive_mass(beta: Any, n: Any) -> Any:
    """``(2n/β)^n``, the mass that the ball must contain; in any arithmetic."""
    return (2 * n / beta) ** n


def build(mass: Mass = adaptive_mass, *, sign: int = 1) -> Claim:
    """The claim for a ball that contains `mass`; if `sign` is −1, the claim that it grows."""

    def equation(settings: Settings) -> Finding:
        n, beta, inside = sympy.symbols("n beta u", positive=True)
        distance = sympy.Symbol("D", nonnegative=True)
        square = distance + inside
        return symbolic.identities(
            (
                "one key: z/n − τ with z = −βD/2 and τ = −βh²/(2n)",
                sympy.expand(-beta * distance / (2 * n) + beta * square / (2 * n)) ** n * mass(beta, n),
                (square - distance) ** n,
            ),
            domain="all n > 0, β > 0, D ≥ 0 and h² = D + u > D",
            detail="summed over the keys of the ball: the weights sum to 1 ⇔ Σ [h² − D_j]₊^n = (2n/β)^n",
            seed=settings.seed,
        )

    def monotone(settings: Settings) -> Finding:
        n, beta, inside = sympy.symbols("n beta u", positive=True)
        x = sympy.Symbol("x", real=True)
        return symbolic.positive(
            ("the slope in h² of a key's mass u^n", sympy.diff((inside + x) ** n, x).subs(x, 0)),
            ("minus the slope in β of what the ball must hold", -sign * sympy.diff(mass(beta, n), beta)),
            domain="all n > 0, β > 0 and u = h² − D_j > 0",
            detail="the mass Σ [s − D_j]₊^n is continuous, 0 up to min D and rises strictly from there without bound: "
            "a smaller mass has a smaller root, and key i has weight exactly if D_i < h²",
            seed=settings.seed,
        )

    def squeezed(settings: Settings) -> Finding:
        n, beta = sympy.symbols("n beta", positive=True)
        reach = 2 * n / beta
        return symbolic.identities(
            ("the n-th root of the mass", mass(beta, n) ** (1 / n), reach),
            ("its limit for β → ∞", sympy.limit(reach, beta, sympy.oo), 0),
            domain="all n > 0",
            detail="the nearest key alone has [h² − min D]^n ≤ (2n/β)^n, so 0 < h² − min D ≤ 2n/β",
            seed=settings.seed,
        )

    def oracle(settings: Settings) -> Finding:
        return sampled.positive(
            _strategy(),
            lambda case: _margin(case, settings.precision, sign),
            settings,
            domain="2 to 6 squared distances, multiples of 1/16 in [0, 8], orders from 1/4 to 32, β < β′ in [1/4, 16]",
            detail="the oracle's h² at β minus that at β′, and no key that has weight at β′ lacks it at β",
            show=_words,
        )

    def mass_equation(settings: Settings) -> Finding:
        return sampled.equal(
            _strategy(),
            lambda case: _held(mass, case, settings.precision),
            settings,
            domain="2 to 6 squared distances, multiples of 1/16 in [0, 8], orders from 1/4 to 32, β from 1/4 to 16",
            width=1e-20,
            detail="Σ [h² − D_j]₊^n at the oracle's h² against (2n/β)^n",
            show=_words,
        )

    def box(settings: Settings) -> Finding:
        def fall(a: Ball, s: Ball, e: Ball, n: Ball) -> Any:
            def beta(square: Any) -> Any:
                return 2 * n / (square**n + (square - a) ** n) ** (1 / n)

            return sign * (beta(s) - beta(s + e))

        return certified.positive(
            fall,
            {"a": ("1/4", "1/2"), "s": (1, "5/4"), "e": ("3/4", 1), "n": (1, 2)},
            domain="squared distances 0 and a in [1/4, 1/2]; h² in [1, 5/4] and larger by [3/4, 1]; n in [1, 2]",
            precision=settings.precision,
            detail="the β that the mass equation gives to the larger ball is the smaller one",
        )

    def negative(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            square, support = _ball([Fraction(1), Fraction(1)], Fraction(-2), Fraction(4), settings.precision)
            # At n < 0 the bandwidth is minus what the threshold gives at n > 0.
            return certified.exists(
                "D = (1, 1), n = −2, β = 4: min D − h², h² = √2 − 1; both keys have weight 1/2",
                (1 + square) if len(support) == 2 else arb(-1),
                domain="two keys",
                detail="the ball of a negative order holds no key that it must: h² falls as β grows (H2), below min D "
                "and on below 0, and no key loses its weight (H1)",
            )

    return Claim(
        id="ball_shrinks",
        label="M3",
        title="The ball shrinks as β grows",
        statement=r"Let $h^2(\beta)$ solve \[\sum_j [h^2 - D_j]_+^n = (2n/\beta)^n.\] For $0 < \beta < \beta'$, "
        r"$\min D < h^2(\beta') < h^2(\beta) \le \min D + 2n/\beta$, and the support $\{i : D_i < h^2(\beta')\}$ is a "
        r"subset of $\{i : D_i < h^2(\beta)\}$.",
        source="ours; the ball of entmax: arXiv:2601.22766, adaptive bandwidths",
        kind=Kind.THEOREM,
        variables=(
            Variable("D_j", r"squared distances $\|q - k_j\|^2$"),
            Variable("n", r"order, $0 < n < \infty$"),
            Variable(r"\beta", r"inverse temperature; the weights are $\mathrm{entmax}_n(-\beta D/2)$"),
        ),
        assumptions=(Assumption("positive order", "$n > 0$"),),
        formal=Statement(domains.domain(n=domains.positive(), beta=domains.positive())),
        argument="The mass is a sum of the terms that are shown to rise, one per key; that a smaller right side of "
        "an increasing equation has a smaller root, and that the support is where D_i < h², is said.",
        checks=(
            Check("equation", "the weights sum to 1 exactly if the mass equation holds", Role.PROOF, equation),
            Check("monotone", r"mass rises in $h^2$; what must be held falls in $\beta$", Role.PROOF, monotone),
            Check("squeezed", r"$h^2 - \min D$ is at most $2n/\beta$", Role.PROOF, squeezed),
            Check("negative_order", "negative orders break it", Role.NECESSITY, negative, drops="positive order"),
            Check("oracle", r"larger $\beta$, smaller ball and support", Role.SUPPORT, oracle),
            Check("mass_equation", "the oracle's ball holds the mass", Role.SUPPORT, mass_equation),
            Check("box", r"two keys, over a box of distances, balls and orders", Role.SUPPORT, box),
        ),
    )


Case = tuple[list[Fraction], Fraction, list[Fraction]]


def _strategy() -> st.SearchStrategy[Case]:
    distances = st.lists(st.integers(0, 128).map(lambda x: Fraction(x, 16)), min_size=2, max_size=6)
    betas = st.lists(st.sampled_from(BETAS), min_size=2, max_size=2, unique=True).map(sorted)
    return st.tuples(distances, draws.orders(), betas)


def _words(case: Case) -> str:
    distances, n, (beta, larger) = case
    return f"D = {list(map(str, distances))}, n = {n}, β = {beta}, β′ = {larger}"


def _ball(distances: list[Fraction], n: Fraction, beta: Fraction, precision: int) -> tuple[arb, set[int]]:
    """h² and the support, by the reference."""
    found = weights([-float(d) / 2 for d in distances], Kernel(n), Adaptive(beta), precision=precision)
    square = -2 * rational(n) / rational(beta) * draws.ball(found.threshold.values()[()])
    return square, {i for i, on in enumerate(found.support) if on}


def _margin(case: Case, precision: int, sign: int) -> arb:
    distances, n, (beta, larger) = case
    (wide, many), (narrow, few) = (_ball(distances, n, b, precision) for b in (beta, larger))
    nested = few <= many if sign > 0 else many <= few
    return sign * (wide - narrow) if nested else arb(-1)


def _held(mass: Mass, case: Case, precision: int) -> tuple[arb, arb]:
    distances, n, (beta, _) = case
    square, support = _ball(distances, n, beta, precision)
    held = sum(((square - rational(distances[i])) ** rational(n) for i in support), start=arb(0))
    return held, mass(rational(beta), rational(n))


CLAIM = build()
FALSE = (
    FalseVariant("the factor 2 is missing from the mass", build(lambda beta, n: (n / beta) ** n)),
    FalseVariant("the mass grows with β", build(lambda beta, n: (2 * n * beta) ** n)),
    FalseVariant("the ball grows", build(sign=-1)),
)
