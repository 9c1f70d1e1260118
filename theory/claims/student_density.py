"""H3: the kernels of negative order are Student's t as densities, where the tail is light enough to have one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import sympy
from flint import arb, ctx
from scipy import stats

from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.claims.density_normalizer import near
from kernelproof.theory.evidence import certified, symbolic
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.finding import Evidence, Finding
from kernelproof.theory.statement import Statement

Normalizer = Callable[[Any, Any, Any, Callable[[Any], Any]], Any]
Pairs = Iterator[tuple[str, arb, arb]]
FREEDOM = tuple(map(Fraction, ("1/2", "1", "2", "5/2", "7", "30")))
"""Degrees of freedom."""


def unit_normalizer(nu: Any, half: Any, pi: Any, gamma: Callable[[Any], Any]) -> Any:
    """``Γ(ν)/(π^(d/2) Γ(ν − d/2))`` with `half` = d/2; π and Γ are those of the arithmetic."""
    return gamma(nu) / (pi**half * gamma(nu - half))


def student_order(df: Any, d: Any) -> Any:
    """``ν = (df + d)/2``; in any arithmetic."""
    return (df + d) / 2


def build(normalizer: Normalizer = unit_normalizer, order: Callable[[Any, Any], Any] = student_order) -> Claim:
    """The claim with the constant `normalizer`, and Student's t of the order `order`."""

    def radial(settings: Settings) -> Finding:
        d, rest = sympy.symbols("d df", positive=True)
        half, nu = d / 2, (d + rest) / 2
        area = 2 * sympy.pi**half / sympy.gamma(half)
        beta = sympy.gamma(half) * sympy.gamma(rest / 2) / sympy.gamma(nu)
        return symbolic.identities(
            ("c A B(d/2, ν − d/2)/2", normalizer(nu, half, sympy.pi, sympy.gamma) * area * beta / 2, 1),
            domain="all d ≥ 1 and ν = (d + df)/2, df > 0: all ν > d/2",
            detail="∫ r^(d−1)(1 + r²)^−ν dr over r > 0 is B(d/2, ν − d/2)/2 by t = r²; A = 2π^(d/2)/Γ(d/2) is the "
            "area of the sphere, as for the kernels of positive order",
            seed=settings.seed,
        )

    def euler(settings: Settings) -> Finding:
        t, a, b = sympy.symbols("t a b", positive=True)
        value = sympy.simplify(sympy.integrate(t ** (a - 1) * (1 + t) ** (-a - b), (t, 0, sympy.oo), conds="none"))
        return symbolic.identities(
            ("Euler's second integral", value, sympy.gamma(a) * sympy.gamma(b) / sympy.gamma(a + b)),
            domain="all a > 0 and b > 0",
            seed=settings.seed,
        )

    def student(settings: Settings) -> Finding:
        d, df, sigma = sympy.symbols("d df sigma", positive=True)
        square = sympy.Symbol("D", nonnegative=True)
        nu, h2 = order(df, d), df * sigma**2
        own = (1 + square / (df * sigma**2)) ** (-(df + d) / 2)
        scale = sympy.gamma((df + d) / 2) / (sympy.gamma(df / 2) * (sympy.pi * df) ** (d / 2) * sigma**d)
        mine = normalizer(nu, d / 2, sympy.pi, sympy.gamma) / h2 ** (d / 2)
        at_infinity = sympy.Symbol("N", positive=True)
        log = -(at_infinity + d) / 2 * sympy.log(1 + square / (at_infinity * sigma**2))
        return symbolic.identities(
            ("the kernel", (1 + square / h2) ** -nu, own),
            ("the constant", mine, scale),
            ("df → ∞: the logarithm", sympy.limit(log, at_infinity, sympy.oo), -square / (2 * sigma**2)),
            domain="all d ≥ 1, df > 0, σ > 0 and squared distances D",
            detail="the density of Student's t with df degrees of freedom and scale σ in d dimensions has h² = df·σ² "
            "and ν = (df + d)/2, and becomes the Gaussian of variance σ²",
            seed=settings.seed,
        )

    def known(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                list(_known(normalizer)),
                domain="Cauchy's density on the line and in space, and t of 2 and 3 degrees of freedom at 0",
                width=1e-30,
                detail="constants that have a name: 1/π, 1/π², 1/(2√2) and 2/(π√3)",
            )

    def scipy_densities(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                list(_densities(normalizer, order)),
                domain=f"d = 1 and 3, df in {', '.join(map(str, FREEDOM))}, 5 points",
                width=1e-12,
                evidence=Evidence.SAMPLED,
                detail="scipy.stats.t and multivariate_t, allowed a relative error of 2^−44",
            )

    def no_density(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            # ∫ (1 + x²)^(−1/2) dx over [−R, R] is 2·asinh(R).
            mass = 2 * (arb(2) ** 200).asinh()
        return certified.exists(
            "d = 1, ν = 1/2: ∫(1 + x²)^−ν dx over |x| ≤ 2^200, less 200",
            mass - 200,
            domain="one kernel at the edge, ν = d/2",
            detail="it grows without bound with the range: the kernel has weights for any keys, and no density",
            numbers={"over |x| ≤ 2^200": float(f"{float(mass):.6g}")},
        )

    return Claim(
        id="student_density",
        label="H3",
        title="The kernels of negative order as densities: Student's t",
        statement=r"For $d \ge 1$ and $\nu > d/2$, \[\int_{\mathbb{R}^d} c_{\nu,d}\,(1 + \|x\|^2)^{-\nu}\,dx = 1, "
        r"\qquad c_{\nu,d} = \frac{\Gamma(\nu)}{\pi^{d/2}\,\Gamma(\nu - d/2)};\] with $h^2 = \mathrm{df}\,\sigma^2$ "
        r"and $\nu = (\mathrm{df} + d)/2$, $c_{\nu,d}\,h^{-d}(1 + \|x\|^2/h^2)^{-\nu}$ is Student's t of "
        r"$\mathrm{df}$ degrees of freedom and scale $\sigma$. For $\nu \le d/2$ the integral is infinite: weights "
        r"exist for any keys, and a density does not.",
        source="Student, The probable error of a mean, Biometrika 6, 1908; in d dimensions: Kotz & Nadarajah, "
        "Multivariate t Distributions and Their Applications, Cambridge 2004",
        kind=Kind.THEOREM,
        variables=(
            Variable(r"\nu", "$-n$, minus the order of the kernel"),
            Variable("d", "dimension"),
            Variable(r"\mathrm{df}", r"degrees of freedom, $2\nu - d > 0$"),
        ),
        assumptions=(Assumption("light tail", r"$\nu > d/2$, for the density"),),
        formal=Statement(domains.domain(df=domains.positive(), d=domains.integers(1))),
        argument="The integral over ℝ^d is one over shells, with the area of the unit sphere, and the substitution "
        "t = r² makes it Euler's integral.",
        checks=(
            Check("radial", "the constant cancels the integral by shells", Role.PROOF, radial),
            Check("euler", "Euler's integral over the half-line", Role.PROOF, euler),
            Check("student", "the density is Student's, and tends to the Gaussian", Role.PROOF, student),
            Check("known", "constants that are known", Role.SUPPORT, known),
            Check("scipy", "SciPy's densities on the line and in space", Role.REFEREE, scipy_densities),
            Check("no_density", "a tail that is too heavy", Role.NECESSITY, no_density, drops="light tail"),
        ),
    )


def _constant(normalizer: Normalizer, nu: arb, d: int) -> arb:
    return arb(normalizer(nu, arb(d) / 2, arb.pi(), lambda x: x.gamma()))


def _known(normalizer: Normalizer) -> Pairs:
    pi = arb.pi()
    yield "ν = 1, d = 1", _constant(normalizer, arb(1), 1), 1 / pi
    yield "ν = 2, d = 3", _constant(normalizer, arb(2), 3), 1 / pi**2
    yield "ν = 3/2, d = 1, h = √2", _constant(normalizer, arb(3) / 2, 1) / arb(2).sqrt(), 1 / (2 * arb(2).sqrt())
    yield "ν = 2, d = 1, h = √3", _constant(normalizer, arb(2), 1) / arb(3).sqrt(), 2 / (pi * arb(3).sqrt())


def _densities(normalizer: Normalizer, order: Callable[[Any, Any], Any]) -> Pairs:
    for df in FREEDOM:
        for step in range(5):
            x = Fraction(step, 2)
            for d in (1, 3):
                point = [float(x)] * d
                # Its degrees of freedom are real numbers, which its types do not say.
                space: Any = stats.multivariate_t
                there = stats.t(float(df)) if d == 1 else space(loc=[0.0] * d, df=float(df))
                value = float(there.pdf(point if d > 1 else point[0]))
                nu, h2 = rational(order(df, Fraction(d))), rational(df)
                density = _constant(normalizer, nu, d) / h2 ** (arb(d) / 2) * (1 + rational(d * x**2) / h2) ** -nu
                yield f"df = {df}, d = {d}, x = {point}", density, near(value)


CLAIM = build()
FALSE = (
    FalseVariant(
        "Γ(ν − 1) for Γ(ν)", build(lambda nu, half, pi, gamma: gamma(nu - 1) / (pi**half * gamma(nu - half)))
    ),
    FalseVariant("d in the place of d/2", build(lambda nu, half, pi, gamma: unit_normalizer(nu, 2 * half, pi, gamma))),
    FalseVariant("the power of π is missing", build(lambda nu, half, _, gamma: gamma(nu) / gamma(nu - half))),
    FalseVariant("the constant of a positive order", build(
        lambda nu, half, pi, gamma: gamma(half + nu + 1) / (pi**half * gamma(nu + 1)))),
    FalseVariant("ν = df/2", build(order=lambda df, _: df / 2)),
)  # fmt: skip
