"""Spread and roughness of the kernel of order n in d dimensions, and of its limit, the Gaussian."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import sympy
from flint import arb, ctx
from scipy import stats

from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, quadrature, symbolic
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.finding import Evidence, Finding
from kernelproof.theory.statement import Statement

Variance = Callable[[Any, Any], Any]
Roughness = Callable[[Any, Any], Any]
Pairs = Iterator[tuple[str, arb, arb]]
ORDERS = ("0", "1/3", "1/2", "1", "3/2", "2", "7/3", "3", "31/4", "20")
ROUNDING = 2.0**-44
"""Relative error allowed for a float64 variance: a dozen operations of two units each are 2^−48.4."""


def variance(n: Any, d: Any) -> Any:
    """``1/(2n + d + 2)``, the variance of one coordinate of the density on the unit ball; in any arithmetic."""
    return 1 / (2 * n + d + 2)


def roughness(constant: Any, twice: Any) -> Any:
    """``∫K²`` from the normalizers of the orders n and 2n; in any arithmetic."""
    return constant**2 / twice


def build(spread: Variance = variance, rough: Roughness = roughness) -> Claim:
    """The claim with the variance `spread` and the roughness `rough`."""

    def moments(settings: Settings) -> Finding:
        d = sympy.Symbol("d", positive=True)
        n = sympy.Symbol("n", nonnegative=True)
        k = sympy.Symbol("k", nonnegative=True)
        gamma = sympy.gamma
        moment = _beta(d / 2 + k, n + 1) / _beta(d / 2, n + 1)
        general = gamma(d / 2 + k) * gamma(n + d / 2 + 1) / (gamma(d / 2) * gamma(n + d / 2 + 1 + k))
        return symbolic.identities(
            ("E‖x‖^(2k), a ratio of beta integrals", moment, general),
            ("E‖x‖² over the d coordinates, k = 1", sympy.gammasimp(general.subs(k, 1) / d), spread(n, d)),
            domain="all n ≥ 0, d ≥ 1 and k ≥ 0",
            detail="∫ r^(d−1+2k)(1 − r²)^n dr over [0, 1] is B(d/2 + k, n + 1)/2 by t = r², Euler's integral; by "
            "symmetry the coordinates have one variance and mean 0",
            seed=settings.seed,
        )

    def squares(settings: Settings) -> Finding:
        d = sympy.Symbol("d", positive=True)
        n = sympy.Symbol("n", nonnegative=True)
        gamma, pi = sympy.gamma, sympy.pi
        closed = gamma(d / 2 + n + 1) ** 2 * gamma(2 * n + 1)
        closed /= pi ** (d / 2) * gamma(n + 1) ** 2 * gamma(d / 2 + 2 * n + 1)
        constant, twice = _constant(n, d), _constant(2 * n, d)
        # The area of the sphere times B(d/2, 2n + 1)/2.
        shells = pi ** (d / 2) / gamma(d / 2) * _beta(d / 2, 2 * n + 1)
        return symbolic.identities(
            ("∫ c²(1 − ‖x‖²)^(2n) dx by shells", constant**2 * shells, rough(constant, twice)),
            ("in Γ", rough(constant, twice), closed),
            domain="all n ≥ 0 and d ≥ 1",
            detail="the square of the kernel of order n is the kernel of order 2n",
            seed=settings.seed,
        )

    def limits(settings: Settings) -> Finding:
        n, d = sympy.symbols("n d", positive=True)
        x = sympy.Symbol("x", real=True)
        pi, oo = sympy.pi, sympy.oo
        constant = sympy.limit(_constant(n, d) / (2 * n) ** (d / 2), n, oo)
        # c_n²/(c_2n (2n)^(d/2)) = (c_n/(2n)^(d/2))² · (4n)^(d/2)/c_2n · 2^(−d/2).
        return symbolic.identities(
            ("the profile at ‖x‖² = x²", sympy.limit((1 - x**2 / (2 * n)) ** n, n, oo), sympy.exp(-(x**2) / 2)),
            ("the normalizer", constant, (2 * pi) ** (-d / 2)),
            ("the variance", sympy.limit(2 * n * spread(n, d), n, oo), 1),
            ("the roughness", rough(constant, constant) * 2 ** (-d / 2), (4 * pi) ** (-d / 2)),
            domain="n → ∞, all d ≥ 1 and x",
            detail="the kernel stretched by √(2n): c_{n,d}(2n)^(−d/2)[1 − ‖x‖²/(2n)]₊^n; (4π)^(−d/2) is the roughness "
            "of the Gaussian density, (2π)^(−d) ∫exp(−‖x‖²)dx",
            seed=settings.seed,
        )

    def integrals(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            pairs = list(_integrals(spread, rough))
        return certified.agree(
            pairs,
            domain=f"n in {', '.join(ORDERS)}; d = 1, 2, 3",
            width=1e-15,
            detail="variance and roughness as quotients of integrals enclosed by quadrature",
        )

    def scipy_variances(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            pairs = list(_beta_variances(spread))
        return certified.agree(
            pairs,
            domain=f"d = 1, n in {', '.join(ORDERS)}",
            width=1e-12,
            evidence=Evidence.SAMPLED,
            detail="the variance that scipy.stats.beta(n + 1, n + 1) on [−1, 1] gives, allowed an error of 2^−44 of it",
        )

    return Claim(
        id="kernel_moments",
        title="Variance and roughness of the kernels, and their limit",
        statement=r"Let $f$ be the density $c_{n,d}[1 - \|x\|^2]_+^n$ in $\mathbb{R}^d$. Each coordinate has mean 0 "
        r"and variance $1/(2n + d + 2)$, and \[E\|x\|^{2k} = \frac{\Gamma(d/2 + k)\,\Gamma(n + d/2 + 1)}"
        r"{\Gamma(d/2)\,\Gamma(n + d/2 + 1 + k)}, \qquad \int f^2 = \frac{c_{n,d}^2}{c_{2n,d}}.\] As $n \to \infty$ "
        r"the density of $\sqrt{2n}\,x$ becomes that of the standard Gaussian, with variance 1 and "
        r"$\int f^2 = (4\pi)^{-d/2}$.",
        source="Wand & Jones, Kernel Smoothing, Chapman & Hall 1995, for d = 1; Euler's beta integral",
        kind=Kind.THEOREM,
        variables=(
            Variable("n", r"order of the kernel, $n \ge 0$"),
            Variable("d", r"dimension, $d \ge 1$"),
            Variable("k", r"a real number, $k \ge 0$"),
            Variable("c_{n,d}", r"the normalizer $\Gamma(d/2 + n + 1)/(\pi^{d/2}\Gamma(n + 1))$"),
        ),
        formal=Statement(domains.domain(n=domains.nonnegative(), d=domains.integers(1), k=domains.nonnegative())),
        argument="The moments are integrals over shells, which the substitution t = r² makes beta integrals; that "
        "the coordinates share the variance by symmetry is said.",
        checks=(
            Check("moments", "the even moments, by beta integrals", Role.PROOF, moments),
            Check("roughness", "the square is the kernel of order $2n$", Role.PROOF, squares),
            Check("limits", "the Gaussian in the limit", Role.PROOF, limits),
            Check("integrals", "variance and roughness by certified quadrature", Role.SUPPORT, integrals),
            Check("scipy", "SciPy's variance in one dimension", Role.REFEREE, scipy_variances),
        ),
    )


def _beta(a: Any, b: Any) -> Any:
    return sympy.gamma(a) * sympy.gamma(b) / sympy.gamma(a + b)


def _constant(n: Any, d: Any) -> Any:
    return sympy.gamma(d / 2 + n + 1) / (sympy.pi ** (d / 2) * sympy.gamma(n + 1))


def _ball_constant(n: arb, d: int) -> arb:
    half = arb(d) / 2
    return (half + n + 1).gamma() / (arb.pi() ** half * (n + 1).gamma())


def _shells(n: arb, power: int) -> arb:
    """``∫ r^power (1 − r²)^n dr`` over [0, 1]."""
    return quadrature.integral(lambda r, analytic: quadrature.power(1 - r * r, n, analytic) * r**power, 0, 1, 64)


def _integrals(spread: Variance, rough: Roughness) -> Pairs:
    areas = {1: arb(2), 2: 2 * arb.pi(), 3: 4 * arb.pi()}
    for text in ORDERS:
        n = rational(Fraction(text))
        for d, area in areas.items():
            mass, second, square = _shells(n, d - 1), _shells(n, d + 1), _shells(2 * n, d - 1)
            yield f"variance, n = {text}, d = {d}", second / mass / d, spread(n, arb(d))
            constants = [_ball_constant(order, d) for order in (n, 2 * n)]
            yield f"roughness, n = {text}, d = {d}", square / (area * mass**2), rough(*constants)


def _beta_variances(spread: Variance) -> Pairs:
    for text in ORDERS:
        order = float(Fraction(text))
        value = float(stats.beta(order + 1, order + 1, loc=-1, scale=2).var())
        yield f"n = {text}", spread(rational(Fraction(order)), arb(1)), arb(value, value * ROUNDING)


CLAIM = build()
FALSE = (
    FalseVariant("2n + d + 1 for 2n + d + 2", build(lambda n, d: 1 / (2 * n + d + 1))),
    FalseVariant("the variance of the whole vector", build(lambda n, d: d / (2 * n + d + 2))),
    FalseVariant("the roughness lacks a square", build(rough=lambda constant, twice: constant / twice)),
)
