"""The kernel efficiencies printed in textbooks, from exact closed forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import sympy
from flint import acb, arb, ctx
from sympy import Rational

from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, quadrature, symbolic
from kernelproof.theory.evidence.ball import Ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

Efficiency = Callable[[Any, Any], Any]
ORDERS: Mapping[str, int] = MappingProxyType({"uniform": 0, "Epanechnikov": 1, "biweight": 2, "triweight": 3})
SQUARES: Mapping[str, Any] = MappingProxyType(
    {
        "Epanechnikov": sympy.Integer(1),
        "biweight": Rational(3087, 3125),
        "triweight": Rational(14907321, 15312500),
        "Gaussian": 36 * sympy.pi / 125,
        "uniform": Rational(108, 125),
    }
)
"""The squares of the efficiencies."""
PUBLISHED: Mapping[str, str] = MappingProxyType(
    {"Epanechnikov": "1.000", "biweight": "0.994", "triweight": "0.987", "Gaussian": "0.951", "uniform": "0.930"}
)


def silverman(spread: Any, rough: Any) -> Any:
    """The square of ``3/(5√5 √μ₂ R)`` from ``μ₂ = ∫x²K`` and ``R = ∫K²``; in any arithmetic."""
    return 9 / (125 * spread * rough**2)


def predicates(square: Efficiency, published: Mapping[str, str]) -> tuple[str, ...]:
    """The statement as text for SymPy: each square from the integrals of the kernel, and what was published."""
    found = []
    for name in SQUARES:
        if name == "Gaussian":
            kernel, ends = "exp(-x**2/2)", "(x, -oo, oo)"
        else:
            kernel, ends = f"(1 - x**2)**{ORDERS[name]}", "(x, -1, 1)"
        mass, second, roughness = (
            sympy.Symbol(f"Integral({function}, {ends})") for function in (kernel, f"x**2*{kernel}", f"({kernel})**2")
        )
        value = f"({square(second / mass, roughness / mass**2)})"
        found.append(f"{value} = {SQUARES[name]}")
        low, high = (f"(Rational('{published[name]}') {sign} Rational(1, 2000))**2" for sign in "-+")
        found += [f"{SQUARES[name]} > {low}", f"{high} > {SQUARES[name]}"]
    return tuple(found)


def build(square: Efficiency = silverman, published: Mapping[str, str] = PUBLISHED) -> Claim:
    """The claim for the efficiency with square `square`, and the numbers in `published`."""
    formal = Statement(domains.domain(), predicates(square, published))

    def integrated(settings: Settings) -> Finding:
        return symbolic.proves(
            formal,
            domain="the five kernels, d = 1",
            detail="μ₂ and R integrated exactly, and squares compared: rational numbers, for the Gaussian a rational "
            "multiple of π",
            seed=settings.seed,
        )

    def definition(settings: Settings) -> Finding:
        mu, rough, h, size, curve = sympy.symbols("mu R h N S", positive=True)

        def error(spread: Any, square_integral: Any, points: Any, width: Any) -> Any:
            return width**4 * spread**2 * curve / 4 + square_integral / (points * width)

        def least(spread: Any, square_integral: Any, points: Any) -> Any:
            best = (square_integral / (points * spread**2 * curve)) ** Rational(1, 5)
            return error(spread, square_integral, points, best)

        value = Rational(5, 4) * (sympy.sqrt(mu) * rough / size) ** Rational(4, 5) * curve ** Rational(1, 5)
        best = (rough / (size * mu**2 * curve)) ** Rational(1, 5)
        share = sympy.sqrt(square(mu, rough))
        epanechnikov = least(Rational(1, 5), Rational(3, 5), share * size)
        return symbolic.identities(
            (
                "the error is stationary at the best bandwidth",
                sympy.diff(error(mu, rough, size, h), h).subs(h, best),
                0,
            ),
            ("the least error", least(mu, rough, size), value),
            ("the Epanechnikov kernel with eff·N points", epanechnikov, value),
            domain="all μ₂, R, numbers of points N and S = ∫f″² > 0",
            detail="the asymptotic mean integrated squared error h⁴μ₂²S/4 + R/(Nh) is convex in h; the efficiency is "
            "the share of the points with which the Epanechnikov kernel, μ₂ = 1/5, R = 3/5, has the same least error",
            seed=settings.seed,
        )

    def quadratures(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            pairs = list(_quadratures(square))
        return certified.agree(
            pairs,
            domain="the five kernels, d = 1",
            width=1e-15,
            detail="squares of efficiencies from integrals enclosed by quadrature, against their closed forms",
        )

    def others(settings: Settings) -> Finding:
        return certified.positive(
            lambda n: 1 - _of_order(square, n),
            {"n": ("3/2", 32)},
            domain="all real orders n in [3/2, 32], d = 1",
            precision=settings.precision,
            detail="no such kernel is as efficient as the Epanechnikov kernel",
        )

    return Claim(
        id="efficiency",
        title="The published efficiencies of the kernels",
        statement=r"With $\mu_2 = \int x^2 K$ and $R = \int K^2$ in one dimension, the efficiency "
        r"\[\mathrm{eff}(K) = \frac{3}{5\sqrt{5}\,\sqrt{\mu_2}\,R}\] is $1$ for the Epanechnikov kernel, "
        r"$\sqrt{3087/3125}$ for the biweight, $3861\sqrt{5}/8750$ for the triweight, $6\sqrt{5\pi}/25$ for the "
        r"Gaussian and $6\sqrt{15}/25$ for the uniform kernel: as published 1.000, 0.994, 0.987, 0.951 and 0.930.",
        source="Silverman, Density Estimation for Statistics and Data Analysis, Chapman & Hall 1986; "
        "Wand & Jones, Kernel Smoothing, Chapman & Hall 1995",
        kind=Kind.NUMBER,
        variables=(Variable("K", r"a symmetric kernel with $\int K = 1$"),),
        formal=formal,
        checks=(
            Check(
                "integrated",
                "the five squares, integrated exactly, and that each rounds to the three published digits",
                Role.PROOF,
                integrated,
            ),
            Check("definition", "the efficiency is a ratio of numbers of points", Role.SUPPORT, definition),
            Check("quadratures", "the same by certified quadrature", Role.SUPPORT, quadratures),
            Check("others", "larger orders are less efficient than order 1", Role.SUPPORT, others),
        ),
    )


def _quadratures(square: Efficiency) -> Iterator[tuple[str, arb, arb]]:
    for name, n in ORDERS.items():
        mass, spread, rough = (_moment(*pair) for pair in ((0, n), (2, n), (0, 2 * n)))
        # Half the integrals over [−1, 1]: μ₂ is a quotient of two, R has one over the square of another.
        yield name, square(spread / mass, rough / (2 * mass**2)), _closed(name)
    mass = _half_line(lambda x: (-x * x / 2).exp())
    spread = _half_line(lambda x: x * x * (-x * x / 2).exp())
    rough = _half_line(lambda x: (-x * x).exp())
    yield "Gaussian", square(spread / mass, rough / (2 * mass**2)), _closed("Gaussian")


def _moment(power: int, n: int) -> arb:
    """``∫ x^power (1 − x²)^n dx`` over [0, 1]."""
    return quadrature.integral(lambda x, _: x**power * (1 - x * x) ** n, 0, 1, 64)


def _half_line(function: Callable[[acb], acb]) -> arb:
    """The integral over [0, ∞) of a function that is positive and below exp(−7x) from 16 on."""
    return quadrature.integral(lambda x, _: function(x), 0, 16, 64) + arb(0, (-arb(112)).exp())


def _closed(name: str) -> arb:
    value = SQUARES[name]
    over = value / sympy.pi if name == "Gaussian" else value
    return arb(int(over.p)) / int(over.q) * (arb.pi() if name == "Gaussian" else 1)


def _of_order(square: Efficiency, n: Ball) -> Any:
    """The square of the efficiency of the kernel of real order n: μ₂ = 1/(2n + 3), R = c_n²/c_2n."""

    def constant(order: Any) -> Any:
        return (order + Fraction(3, 2)).gamma() / (arb.pi().sqrt() * (order + 1).gamma())

    return square(1 / (2 * n + 3), constant(n) ** 2 / constant(2 * n))


CLAIM = build()
FALSE = (
    FalseVariant("the spread lacks its square root", build(lambda spread, rough: 9 / (25 * spread**2 * rough**2))),
    FalseVariant("the ratio of errors", build(lambda spread, rough: silverman(spread, rough) ** Rational(4, 5))),
    FalseVariant("the uniform kernel cut to 0.929", build(published={**PUBLISHED, "uniform": "0.929"})),
    FalseVariant("the Gaussian at 0.952", build(published={**PUBLISHED, "Gaussian": "0.952"})),
)
