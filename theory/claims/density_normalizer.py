"""The constant that makes a kernel of order n a probability density in d dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx
from scipy import stats

from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, quadrature, symbolic
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.finding import Evidence, Finding
from kernelproof.theory.rows import distances
from kernelproof.theory.statement import Statement

Normalizer = Callable[[Any, Any, Any, Callable[[Any], Any]], Any]
Pairs = Iterator[tuple[str, arb, arb]]
ORDERS = ("0", "1/3", "1/2", "1", "3/2", "2", "7/3", "3", "31/4", "20")
ROUNDING = 2.0**-44
"""Relative error allowed for a float64 density: the exponential of at most 12 logarithms of size at most 8, two units
each, is 12·8·2·2^−53 = 2^−45.4; the kernel 1 − t, t ≤ 3/4, adds a dozen units magnified by 4."""


def unit_normalizer(n: Any, half: Any, pi: Any, gamma: Callable[[Any], Any]) -> Any:
    """``Γ(d/2 + n + 1)/(π^(d/2) Γ(n + 1))`` with `half` = d/2; π and Γ are those of the arithmetic."""
    return gamma(half + n + 1) / (pi**half * gamma(n + 1))


def build(normalizer: Normalizer = unit_normalizer) -> Claim:
    """The claim with the constant `normalizer`."""

    def sphere(settings: Settings) -> Finding:
        r, d = sympy.symbols("r d", positive=True)
        area = 2 * sympy.pi ** (d / 2) / sympy.gamma(d / 2)
        powers = sympy.integrate(r ** (d - 1) * sympy.exp(-(r**2)), (r, 0, sympy.oo))
        half = sympy.integrate(r ** (d - 1) * sympy.exp(-(r**2) / 2), (r, 0, sympy.oo))
        line = sympy.integrate(sympy.exp(-(r**2)), (r, -sympy.oo, sympy.oo))
        return symbolic.identities(
            ("∫ exp(−x²) dx over the line", line, sympy.sqrt(sympy.pi)),
            ("∫ exp(−‖x‖²) dx by shells of area A r^(d−1), A = 2π^(d/2)/Γ(d/2)", area * powers, line**d),
            ("the Gaussian", area * half, (2 * sympy.pi) ** (d / 2)),
            domain="all d ≥ 1",
            detail="the integral of a product over the coordinates is π^(d/2), which gives the area A of the sphere",
            seed=settings.seed,
        )

    def radial(settings: Settings) -> Finding:
        d = sympy.Symbol("d", positive=True)
        n = sympy.Symbol("n", nonnegative=True)
        half = d / 2
        area = 2 * sympy.pi**half / sympy.gamma(half)
        beta = sympy.gamma(half) * sympy.gamma(n + 1) / sympy.gamma(half + n + 1)
        return symbolic.identities(
            ("c A B(d/2, n + 1)/2", normalizer(n, half, sympy.pi, sympy.gamma) * area * beta / 2, 1),
            domain="all n ≥ 0 and d ≥ 1",
            detail="∫ r^(d−1)(1 − r²)^n dr over [0, 1] is B(d/2, n + 1)/2 by t = r², 2r dr = dt",
            seed=settings.seed,
        )

    def euler(settings: Settings) -> Finding:
        t, a, b = sympy.symbols("t a b", positive=True)
        value = sympy.simplify(sympy.integrate(t ** (a - 1) * (1 - t) ** (b - 1), (t, 0, 1), meijerg=True))
        return symbolic.identities(
            ("Euler's integral B(a, b)", value, sympy.gamma(a) * sympy.gamma(b) / sympy.gamma(a + b)),
            domain="all a > 0 and b > 0",
            seed=settings.seed,
        )

    def integrals(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            pairs = list(_integrals(normalizer))
        return certified.agree(
            pairs,
            domain=f"n in {', '.join(ORDERS)}; d = 1, 2, 3 with shells of area 2, 2πr and 4πr²",
            width=1e-15,
            detail="∫ c[1 − ‖x‖²]₊^n dx enclosed by quadrature, against 1",
        )

    def scipy_densities(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            pairs = list(_beta_densities(normalizer))
        return certified.agree(
            pairs,
            domain=f"d = 1, n in {', '.join(ORDERS)}, 7 points x; the Gaussian at the same points",
            width=1e-12,
            evidence=Evidence.SAMPLED,
            detail="scipy.stats.beta(n + 1, n + 1) on [−1, 1] and scipy.stats.norm, allowed a relative error of 2^−44",
        )

    def estimates(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            pairs = list(_estimates(settings.seed, normalizer))
        return certified.agree(
            pairs,
            domain="d = 1, 2, 3; 5 seeded points and 12 queries each, bandwidth 2, no query close to a ball's edge",
            width=1e-12,
            evidence=Evidence.SAMPLED,
            detail="scikit-learn's KernelDensity (tophat, epanechnikov, gaussian), allowed a relative error of 2^−44, "
            "against the mean of c h^(−d) K_n(‖x − x_i‖²/h²)",
        )

    return Claim(
        id="density_normalizer",
        title="The kernels as densities in d dimensions",
        statement=r"For $0 \le n < \infty$ and $d \ge 1$, \[\int_{\|x\| \le 1} c_{n,d}\,(1 - \|x\|^2)^n\,dx = 1, "
        r"\qquad c_{n,d} = \frac{\Gamma(d/2 + n + 1)}{\pi^{d/2}\,\Gamma(n + 1)};\] for the Gaussian "
        r"$e^{-\|x\|^2/2}$ the constant is $(2\pi)^{-d/2}$.",
        source="Silverman, Density Estimation for Statistics and Data Analysis, Chapman & Hall 1986 (n = 0 to 3); "
        "Euler's beta integral",
        kind=Kind.THEOREM,
        variables=(
            Variable("n", "order of the kernel"),
            Variable("d", "dimension"),
            Variable("c_{n,d}", r"the normalizer; with bandwidth $h$ it is $c_{n,d}\,h^{-d}$"),
        ),
        formal=Statement(domains.domain(n=domains.nonnegative(), d=domains.integers(1))),
        argument="The integral over ℝ^d is one over shells, with the area of the unit sphere, and the substitution "
        "t = r² makes it Euler's integral.",
        checks=(
            Check("radial", "the constant cancels the integral by shells", Role.PROOF, radial),
            Check("sphere", "the area of the sphere, and the Gaussian", Role.PROOF, sphere),
            Check("euler", "Euler's beta integral", Role.PROOF, euler),
            Check("integrals", "the integral is 1, by certified quadrature", Role.SUPPORT, integrals),
            Check("scipy", "SciPy's densities in one dimension", Role.REFEREE, scipy_densities),
            Check(
                "scikit_learn",
                "scikit-learn's kernel density estimates",
                Role.REFEREE,
                estimates,
                needs=(("sklearn", "kernelproof[peers]"),),
            ),
        ),
    )


def _constant(normalizer: Normalizer, n: arb, d: int) -> arb:
    return arb(normalizer(n, arb(d) / 2, arb.pi(), lambda x: x.gamma()))


def _integrals(normalizer: Normalizer) -> Pairs:
    areas = {1: arb(2), 2: 2 * arb.pi(), 3: 4 * arb.pi()}
    for text in ORDERS:
        n = rational(Fraction(text))
        for d, area in areas.items():

            def shell(r: Any, analytic: bool, n: arb = n, d: int = d) -> Any:
                return quadrature.power(1 - r * r, n, analytic) * r ** (d - 1)

            yield (
                f"n = {text}, d = {d}",
                _constant(normalizer, n, d) * area * quadrature.integral(shell, 0, 1, 64),
                arb(1),
            )


def near(value: float) -> arb:
    """A float64 density as a ball, with the error that it is allowed."""
    return arb(value, value * ROUNDING)


def _beta_densities(normalizer: Normalizer) -> Pairs:
    for step in range(-3, 4):
        x = Fraction(step, 4)
        for text in ORDERS:
            n = Fraction(text)
            value = stats.beta(float(n) + 1, float(n) + 1, loc=-1, scale=2).pdf(float(x))
            # float(n) is the order that SciPy sees.
            order = rational(Fraction(float(n)))
            yield f"n = {text}, x = {x}", _constant(normalizer, order, 1) * rational(1 - x * x) ** order, near(value)
        gaussian = (-rational(x * x) / 2).exp() / (2 * arb.pi()).sqrt()
        yield f"the Gaussian, x = {x}", gaussian, near(float(stats.norm.pdf(float(x))))


def _estimates(seed: int, normalizer: Normalizer) -> Pairs:
    from sklearn.neighbors import KernelDensity  # noqa: PLC0415 (an optional package, asked for by `needs`)

    generator = np.random.default_rng(seed)
    for d in (1, 2, 3):
        keys, queries = (generator.integers(-16, 17, size=(count, d)) / 8 for count in (5, 12))
        scores = {
            name: KernelDensity(kernel=name, bandwidth=2.0).fit(keys).score_samples(queries)
            for name in ("tophat", "epanechnikov", "gaussian")
        }
        for row, query in enumerate(queries):
            exact = [[Fraction(x) for x in key] for key in keys.tolist()]
            t = [distance / 4 for distance in distances([Fraction(x) for x in query.tolist()], exact)]
            if not any(x <= Fraction(3, 4) for x in t) or any(Fraction(3, 4) < x < Fraction(5, 4) for x in t):
                continue
            for name, found in scores.items():
                yield (
                    f"{name}, d = {d}, x = {query.tolist()}",
                    _estimate(normalizer, name, t, d),
                    near(float(np.exp(found[row]))),
                )


def _estimate(normalizer: Normalizer, name: str, t: list[Fraction], d: int) -> arb:
    """The estimate from the squared distances divided by h², with h = 2."""
    if name == "gaussian":
        total = sum(((-rational(x) / 2).exp() for x in t), start=arb(0)) / (2 * arb.pi()) ** (arb(d) / 2)
    else:
        n = 0 if name == "tophat" else 1
        total = _constant(normalizer, arb(n), d) * rational(sum((1 - x) ** n for x in t if x < 1))
    return arb(total / len(t) / 2**d)


CLAIM = build()
FALSE = (
    FalseVariant(
        "Γ(d/2 + n) for Γ(d/2 + n + 1)", build(lambda n, half, pi, gamma: gamma(half + n) / (pi**half * gamma(n + 1)))
    ),
    FalseVariant("d in the place of d/2", build(lambda n, half, pi, gamma: unit_normalizer(n, 2 * half, pi, gamma))),
    FalseVariant("the power of π is missing", build(lambda n, half, _, gamma: gamma(half + n + 1) / gamma(n + 1))),
)
