"""H2: with a negative order the adaptive rule has a bandwidth under a condition, and weights without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import assume
from hypothesis import strategies as st

from kernelproof.reference import Adaptive, Kernel, regression, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.correspondence import cases, mixture, named, out_of_reach
from kernelproof.theory.evidence import certified, sampled, symbolic
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.evidence.draws import ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import normalized
from kernelproof.theory.statement import Statement

Target = Callable[[Any, Any], Any]
Square = Callable[[Any, Any, Any, Any], Any]
ORDERS = tuple(map(Fraction, ("-5/4", "-2", "-7/2", "-16")))
BETAS = tuple(map(Fraction, ("1/4", "1", "4", "16")))
Case = tuple[list[Fraction], Fraction, Fraction]


def reach(nu: Any, beta: Any) -> Any:
    """``2ν/β``, whose −ν-th power is the required mass; in any arithmetic."""
    return 2 * nu / beta


def bandwidth_squared(top: Any, nearest: Any, nu: Any, beta: Any) -> Any:
    """``h² = 2νû/β − min D``; in any arithmetic."""
    return 2 * nu * top / beta - nearest


def build(scale: Target = reach, square: Square = bandwidth_squared, *, always: bool = False) -> Claim:
    """The claim with the mass ``scale^−ν`` and the bandwidth `square`; if `always`, without the condition."""

    def derivation(settings: Settings) -> Finding:
        d, low = sympy.symbols("D L", nonnegative=True)
        beta, nu, top, y = sympy.symbols("beta nu u y", positive=True)
        stated = square(top, low, nu, beta)
        return symbolic.identities(
            ("û + βd/ν with d = (D − L)/2", top + beta * (d - low) / 2 / nu, beta / (2 * nu) * (stated + d)),
            ("its power, y = h² + D > 0", (beta * y / (2 * nu)) ** -nu * scale(nu, beta) ** -nu, y**-nu),
            ("the nearest key alone, û = 1", (square(1, low, nu, beta) + low) ** -nu, scale(nu, beta) ** -nu),
            domain="all ν > 0, β > 0, m and d",
            detail="so the weights sum to 1 exactly if Σ(h² + D_j)^−ν = (2ν/β)^−ν, with h² + D_j > 0 for every key",
            seed=settings.seed,
        )

    def falls(settings: Settings) -> Finding:
        y, nu, beta = sympy.symbols("y nu beta", positive=True)
        return symbolic.positive(
            ("minus the slope of y^−ν", -sympy.diff(y**-nu, y)),
            ("the slope in β of what the sum must be", sympy.diff(scale(nu, beta) ** -nu, beta)),
            domain="all ν > 0, β > 0 and every y = h² + D_j > 0",
            detail="F(H) = Σ(H + D_j)^−ν falls strictly from ∞ at −min D to 0: one root. It is above 0 exactly if F(0) "
            "is above the right side, or a D_j is 0; and it falls as β grows, because the right side rises",
            seed=settings.seed,
        )

    def ends(settings: Settings) -> Finding:
        nu, beta = sympy.symbols("nu beta", positive=True)
        m = sympy.Symbol("m", integer=True, positive=True)
        c = scale(nu, beta)
        return symbolic.identities(
            ("the nearest key alone at h² + min D = 2ν/β", reach(nu, beta) ** -nu, c**-nu),
            ("m keys at the nearest distance, at the upper end", m * (c * m ** (1 / nu)) ** -nu, c**-nu),
            domain="all ν > 0, β > 0 and m ≥ 1",
            detail="(H + min D)^−ν ≤ F(H) ≤ m(H + min D)^−ν, so the root lies between the two",
            seed=settings.seed,
        )

    def normalizes(settings: Settings) -> Finding:
        h, beta, nu, inside, rest = sympy.symbols("H beta nu a A", positive=True)
        d = sympy.Symbol("D", nonnegative=True)
        factor = (beta * h / (2 * nu)) ** -nu
        return symbolic.identities(
            ("a weight is a multiple of the kernel", beta / (2 * nu) * (h + d), beta * h / (2 * nu) * (1 + d / h)),
            ("which cancels", factor * inside / (factor * inside + factor * rest), inside / (inside + rest)),
            domain="all ν > 0, β > 0 and h² = H > 0",
            seed=settings.seed,
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _pairs(settings, square),
                domain="seeded cases of 1 to 17 keys in 1 to 8 dimensions, β from 1/4 to 4, those with h² > 0; n in "
                f"{', '.join(map(str, ORDERS))}",
                width=2.0**-64,
                detail="certified weights and outputs of the adaptive rule against the kernel (1 + D/h²)^−ν",
            )

    def condition(settings: Settings) -> Finding:
        def agreement(case: Case) -> arb:
            h2, mass = _both(case, settings, scale, square)
            return arb(1) if always and h2 > 0 else arb(-1) if always else h2 * mass

        return sampled.positive(
            st.tuples(_distances(), st.sampled_from(ORDERS), st.sampled_from(BETAS)),
            agreement,
            settings,
            domain="1 to 6 squared distances, multiples of 1/16 in [1/16, 16], n in "
            f"{', '.join(map(str, ORDERS))}, β in {', '.join(map(str, BETAS))}",
            detail="h² from the certified threshold times (Σ D_j^−ν − (2ν/β)^−ν): both have one sign",
            show=lambda case: f"D = {list(map(str, case[0]))}, n = {case[1]}, β = {case[2]}",
        )

    def no_bandwidth(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            signed, weight = out_of_reach(settings)
            return certified.exists(
                "q = 13, keys −1, 0, 1/2 and 2, ν = 2, β = 1: the least of −h² = 117 and of a key's weight",
                signed.min(weight),
                domain="one row of four keys, far from the query; Σ D_j^−2 = 0.00017… < 1/16 = (2ν/β)^−ν",
                detail="the weights exist and sum to 1, and no bandwidth gives them",
            )

    return Claim(
        id="heavy_bandwidth",
        label="H2",
        title="The bandwidth of a negative order exists within reach of the keys",
        statement=r"Let $n = -\nu < 0$, $\beta > 0$, $D_j = \|q-k_j\|^2$ and $p = \mathrm{entmax}_n(-\beta D/2)$. The "
        r"equation \[\sum_j (h^2 + D_j)^{-\nu} = \Bigl(\frac{2\nu}{\beta}\Bigr)^{-\nu}, \qquad h^2 > -\min "
        r"D,\] has one "
        r"root, \[h^2 = \frac{2\nu\hat u}{\beta} - \min D, \qquad \frac{2\nu}{\beta} \le h^2 + \min D \le "
        r"\frac{2\nu}{\beta}\,m^{1/\nu},\] which falls as $\beta$ grows. It is positive if and only if a $D_j$ is 0 or "
        r"$\sum_j D_j^{-\nu} > (2\nu/\beta)^{-\nu}$, and then $p$ are the weights of the kernel "
        r"$(1 + \|q-k\|^2/h^2)^{-\nu}$. Otherwise the weights exist and no bandwidth does.",
        source="ours; the kernel: Student's t, and t-SNE: van der Maaten & Hinton, JMLR 9, 2008",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_j", r"query and $m \ge 1$ keys in $\mathbb{R}^d$"),
            Variable(r"\nu", r"$-n$, any positive number"),
            Variable(r"\hat u", r"$\max z/n - \tau$ for $z = -\beta D/2$ and its threshold $\tau$"),
        ),
        assumptions=(Assumption("in reach", r"$\sum_j D_j^{-\nu} > (2\nu/\beta)^{-\nu}$, for the bandwidth"),),
        formal=Statement(domains.domain(nu=domains.positive(), beta=domains.positive(), m=domains.integers(1))),
        argument="The mass is a sum of terms that are shown to fall, one per key; that it passes the right side once, "
        "and at a positive h² exactly if it is above it at 0, is the intermediate value theorem. That a common factor "
        "cancels is shown for one key against the others.",
        checks=(
            Check("derivation", "weights sum to 1 exactly at a root", Role.PROOF, derivation),
            Check("falls", r"the mass falls in $h^2$, and what it must be rises in $\beta$", Role.PROOF, falls),
            Check("ends", "the interval of the root", Role.PROOF, ends),
            Check("normalizes", "where $h^2 > 0$ a common factor cancels", Role.PROOF, normalizes),
            Check("oracle", "certified weights are those of the kernel", Role.SUPPORT, oracle),
            Check("condition", "certified bandwidths have the sign that the condition says", Role.SUPPORT, condition),
            Check("no_bandwidth", "a row out of reach", Role.NECESSITY, no_bandwidth, drops="in reach"),
        ),
    )


def _distances() -> st.SearchStrategy[list[Fraction]]:
    return st.lists(st.integers(1, 256).map(lambda x: Fraction(x, 16)), min_size=1, max_size=6)


def _both(case: Case, settings: Settings, scale: Target, square: Square) -> tuple[arb, arb]:
    """h² from the certified threshold, and by how much the mass at h = 0 exceeds what it must be."""
    squares, order, beta = case
    found = weights([-float(each) / 2 for each in squares], Kernel(order), Adaptive(beta), precision=settings.precision)
    nu, nearest = -rational(order), rational(min(squares))
    top = rational(beta) * nearest / (2 * nu) - ball(found.threshold.values()[()])
    mass = sum((rational(each) ** -nu for each in squares), start=arb(0)) - scale(nu, rational(beta)) ** -nu
    h2 = arb(square(top, nearest, nu, rational(beta)))
    # At the edge both are 0, which no ball decides.
    assume(not (h2.contains(0) and mass.contains(0)))
    return h2, mass


def _pairs(settings: Settings, square: Square) -> Iterator[tuple[str, arb, arb]]:
    for order in ORDERS:
        nu = -rational(order)
        for case in cases(settings.seed):
            q, k, v = case.arrays()
            found = regression(q, k, v, Kernel(order), Adaptive(case.beta), precision=settings.precision)
            nearest, beta = rational(min(case.distances)), rational(case.beta)
            top = beta * nearest / (2 * nu) - ball(found.weighting.threshold.values().ravel()[0])
            h2 = arb(square(top, nearest, nu, beta))
            if h2 > 0:
                kernel = normalized([(1 + ball(each) / h2) ** -nu for each in case.distances])
                name = f"n = {order}, {case}"
                yield from named(f"weights, {name}", found.weighting.weights.values().ravel(), kernel)
                yield from named(f"output, {name}", found.y.values().ravel(), mixture(kernel, case.values))


CLAIM = build()
FALSE = (
    FalseVariant("the other sign of min D", build(square=lambda top, low, nu, beta: 2 * nu * top / beta + low)),
    FalseVariant("ν − 1 for ν", build(square=lambda top, low, nu, beta: 2 * (nu - 1) * top / beta - low)),
    FalseVariant("the factor 2 is missing", build(square=lambda top, low, nu, beta: nu * top / beta - low)),
    FalseVariant("the mass without ν", build(lambda _, beta: 2 / beta)),
    FalseVariant("a bandwidth without the condition", build(always=True)),
)
