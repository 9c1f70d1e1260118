"""L1: how fast the kernel of order n tends to the Gaussian, uniformly in t: the exact constant at every order."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import strategies

from kernelproof.reference import Anchored, Kernel, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, sampled, symbolic
from kernelproof.theory.evidence.ball import Ball
from kernelproof.theory.finding import Finding, Grid
from kernelproof.theory.series import ball, digits
from kernelproof.theory.statement import Statement

QUARTER, HALF = Fraction(1, 4), Fraction(1, 2)
ORDERS = (
    QUARTER,
    HALF,
    Fraction(1),
    Fraction(2),
    Fraction(3),
    Fraction(10),
    Fraction(100),
    Fraction(10**4),
    Fraction(10**6),
    Fraction(-100),
    Fraction(-3),
    Fraction(-1),
)
PRINTED = {1: "0.36788", 2: "0.32381", 3: "0.30431", 10: "0.28000", 100: "0.27158"}
Limit = Callable[[Any, Any], Any]


def at_maximum(t: Any, exp: Any) -> Any:
    """The constant of an order above 1 whose largest difference is at t: ``t·e^{−t}``; in any arithmetic."""
    return t * exp(-t)


def build(value: Limit = at_maximum, small: Limit = at_maximum, end: int = 2) -> Claim:
    """The claim with the constant above order 1, the constant up to order 1, and the limit of the maximizer t."""

    def slope(settings: Settings) -> Finding:
        n, b = sympy.Symbol("n", real=True, nonzero=True), sympy.Symbol("b", positive=True)
        s = sympy.Symbol("s", real=True)
        return symbolic.identities(
            ("slope in t of the kernel where 1 − t/n = b", sympy.diff((b - s / n) ** n, s).subs(s, 0), -(b ** (n - 1))),
            domain="every n ≠ 0 and t with 1 − t/n > 0",
            detail="the difference has a slope of 0 exactly where (1 − t/n)^{n−1} = e^{−t}",
            seed=settings.seed,
        )

    def small_orders(settings: Settings) -> Finding:
        y, r = sympy.Symbol("y", positive=True), sympy.Symbol("r", nonnegative=True)
        n = 1 / (1 + r)
        s = y / (1 + y)
        return symbolic.identities(
            ("slope of the difference", sympy.diff(-((1 - s) ** n), y), n * (1 - s) ** (n - 1) * sympy.diff(s, y)),
            ("1 − s", 1 - s, 1 / (1 + y)),
            ("its sign", (n - 1) * sympy.log(1 / (1 + y)), (1 - n) * sympy.log(1 + y)),
            ("value at t = n", n * sympy.exp(-n), small(n, sympy.exp)),
            ("it rises", sympy.diff(small(n, sympy.exp), r) * -((1 + r) ** 3), r * sympy.exp(-n)),
            domain="0 < n ≤ 1, t = ns with s = y/(1 + y) in (0, 1)",
            detail="∂_t of e^{−t} − (1 − s)^n is (1 − s)^{n−1} − e^{−t} = exp((1 − n)log(1 + y)) − e^{−t} > 0, so the "
            "difference rises up to t = n, where it is e^{−n}, and falls beyond; n = 1/(1 + r), r ≥ 0",
            seed=settings.seed,
        )

    def critical(settings: Settings, side: int = 1) -> Finding:
        x = side * sympy.Symbol("x" if side > 0 else "y", positive=True)
        n, t = _order(x), _place(x)
        u = sympy.exp(-x)
        return symbolic.identities(
            ("1 − t/n = e^{−x}", 1 - t / n, u),
            ("the slope vanishes: (n − 1)x = t", (n - 1) * x, t),
            ("the value", n * (sympy.exp(-t) - u * sympy.exp(-t)), value(t, sympy.exp)),
            ("slope of 1/n in x", _slope(1 / n, x), (1 - (1 + x) * u) / x**2),
            ("slope of 1/t in x", _slope(1 / t, x), 1 / x**2 - 1 / (4 * sympy.sinh(x / 2) ** 2).rewrite(sympy.exp)),
            ("slope of t·e^{−t}", _slope(x * sympy.exp(-x), x), (1 - x) * sympy.exp(-x)),
            given=(x - 1 + u, side * (1 - u)),
            domain="all x > 0, which is all n > 1" if side > 0 else "all x = −y < 0, which is all n < 0",
            detail="1 − t/n = e^{−x} parametrizes t in (0, n); u^{n−1} = e^{−(n−1)x} = e^{−t} says where the slope "
            "is 0, "
            "and solved for n it has one solution x for each n > 1 because 1/n rises in x from 0 to 1, and "
            "one x < 0 for each n < 0; n > 1: the slope at "
            "t = n is −e^{−n}, so that point is the maximum; n < 0: the difference is 0 at t = 0 and at ∞",
            seed=settings.seed,
        )

    def signs(settings: Settings) -> Finding:
        x = sympy.Symbol("x", positive=True)
        return symbolic.positive(
            ("1 − (1 + x)e^{−x} starts at 0 and rises", sympy.diff(1 - (1 + x) * sympy.exp(-x), x)),
            ("at x = −y: 1 − (1 − y)e^y does too, in y", sympy.diff(1 - (1 - x) * sympy.exp(x), x)),
            ("sinh(x/2) − x/2 starts at 0 and rises", sympy.sinh(x / 4) ** 2),
            domain="all x > 0, and all x = −y < 0",
            detail="so 1/n rises in x; d(sinh(x/2) − x/2)/dx = (cosh(x/2) − 1)/2 = sinh²(x/4), so sinh(x/2) > x/2 "
            "and 1/t "
            "rises in x: t falls in x, n falls in x, t rises with n, and t·e^{−t} falls for t > 1; sinh² is "
            "even, so all of it holds for x < 0 too",
            seed=settings.seed,
        )

    def limits(settings: Settings) -> Finding:
        x = sympy.Symbol("x", positive=True)
        inverse = 1 / _place(x)
        return symbolic.identities(
            ("n → ∞ as x → 0", sympy.limit(1 / _order(x), x, 0), 0),
            ("t there", sympy.limit(inverse, x, 0), sympy.Rational(1, end)),
            ("n → 1 as x → ∞", sympy.limit(1 / _order(x), x, sympy.oo), 1),
            ("t there", sympy.limit(inverse, x, sympy.oo), 1),
            ("n → −∞ as x → 0 from below", sympy.limit(1 / _order(-x), x, 0), 0),
            ("t there", sympy.limit(1 / _place(-x), x, 0), sympy.Rational(1, end)),
            ("n → 0 as x → −∞", sympy.limit(_order(-x), x, sympy.oo), 0),
            ("1/t there", sympy.limit(1 / _place(-x), x, sympy.oo), 0),
            ("sinh at 0", sympy.sinh(0), 0),
            (
                "(cosh(x/2) − 1)/2",
                ((sympy.cosh(x / 2) - 1) / 2).rewrite(sympy.exp),
                (sympy.sinh(x / 4) ** 2).rewrite(sympy.exp),
            ),
            ("the first constant", value(sympy.Integer(1), sympy.exp), sympy.exp(-1)),
            ("the limit", value(sympy.Integer(2), sympy.exp), 2 * sympy.exp(-2)),
            domain="x → 0, x → ∞ and x → −∞",
            detail="t runs from 1 to 2 as n runs from 1 to ∞, and from 2 to ∞ as n runs from −∞ to 0",
            seed=settings.seed,
        )

    def table(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            found = {order: constant(order, value, small) for order in (*ORDERS, *map(Fraction, PRINTED))}
            printed = [(f"order {n}", found[Fraction(n)], arb(text) + arb(0, 5e-6)) for n, text in PRINTED.items()]
            finding = certified.agree(
                printed,
                domain=f"orders {', '.join(map(str, PRINTED))}",
                # The printed number is a ball of half a unit of its last digit: 5e-6, for numbers of at least 0.27.
                width=2e-5,
                detail="five printed digits hold the constant; the table has digits that are proved",
            )
            rows: list[list[float | int | str]] = [[str(n), digits(_peak(n)), digits(found[n])] for n in ORDERS]
            rows.append(["limit", "2", digits(2 * arb(-2).exp())])
        grid = Grid(title="Distance of the kernel of order n from the Gaussian", columns=["n", "t", "n·sup"], rows=rows)
        return finding.with_tables(grid)

    def bound(settings: Settings, order: int) -> Finding:
        # One millionth above the constant: an upper bound for every t, found without any derivative.
        with ctx.workprec(settings.precision):
            top = Fraction(str(float(constant(Fraction(order), value, small)))) + Fraction(1, 10**5)

        def slack(t: Ball) -> Any:
            return top - order * ((-t).exp() - (1 - t / order).power(order))

        return certified.positive(
            slack,
            {"t": (0, order)},
            domain=f"t in [0, {order}], n = {order}; beyond, the difference is e^{{−t}} and falls",
            precision=64,
            detail="n(e^{−t} − [1 − t/n]₊^n) stays below the constant + 10⁻⁵",
        )

    def oracle(settings: Settings) -> Finding:
        def slack(case: tuple[int, float]) -> Any:
            order, gap = case
            pair = weights(
                [0.0, -gap], Kernel(order), Anchored(abs(order)), precision=settings.precision
            ).weights.values()
            t = arb(gap)
            # An enclosure of the supremum may touch the value at its own maximum.
            return (
                constant(Fraction(order), value, small)
                + arb(2) ** -60
                - order * ((-t).exp() - ball(pair[1]) / ball(pair[0]))
            )

        return sampled.positive(
            strategies.tuples(strategies.integers(-60, 60).filter(bool), strategies.floats(0, 64)),
            slack,
            settings,
            domain="|n| from 1 to 60, t in [0, 64]",
            detail="the ratio of two oracle weights at |γ| = |n| is K_n(t/n)",
        )

    return Claim(
        id="profile_limit",
        label="L1",
        title="The kernel of order n approaches the Gaussian at rate 1/n",
        statement=r"Let $S(n) = n\,\sup_{t \ge 0}\bigl(e^{-t} - [1 - t/n]_+^n\bigr)$. For $0 < n \le 1$, $S(n) = n "
        r"e^{-n}$, "
        r"which rises. For $n > 1$ \[S(n) = t_n e^{-t_n}, \qquad \frac{1}{t_n} = \frac{1}{1 - e^{-x}} - \frac{1}{x}, "
        r"\qquad "
        r"\frac{1}{n} = 1 - \frac{1 - e^{-x}}{x} \quad (x > 0),\] where $t_n$ is the only maximizer and rises from 1 "
        r"to 2; "
        r"so $S$ falls from $S(1) = 1/e$ to $2e^{-2}$ as $n \to \infty$. For $n < 0$, where the kernel "
        r"$(1 + t/|n|)^{-|n|}$ is above the Gaussian, the same holds with $x < 0$: $t_n$ rises from 2 on and $S$ falls "
        r"from $2e^{-2}$ to 0 as $n$ goes from $-\infty$ to 0.",
        source="ours; the limit of the kernels: arXiv:2601.22766, the Gaussian as the limit of the compact kernels",
        kind=Kind.THEOREM,
        variables=(
            Variable("n", r"order, $n \ne 0$"),
            Variable("t", r"squared distance over $2\sigma^2$, $t \ge 0$; the kernel of order $n$ is $[1 - t/n]_+^n$"),
            Variable("x", r"$-\log(1 - t_n/n)$, in which all $n > 1$ ($x > 0$) and $n < 0$ ($x < 0$) are written"),
        ),
        assumptions=(Assumption("matched scale", r"the kernel's ball is $t \le n$, that is $h^2 = 2n\sigma^2$"),),
        formal=Statement(domains.domain(n=domains.nonzero())),
        argument="That a function which starts at 0 and has a positive slope is positive, that the only critical "
        "point between falling ends is the maximum, and that monotone functions compose, is said; so is "
        "that every n > 1 is one x > 0, and every n < 0 one x < 0.",
        checks=(
            Check("critical_point", "where the slope is 0, and the value there", Role.PROOF, critical),
            Check("slope", "the slope of the kernel in $t$", Role.PROOF, slope),
            Check("critical_point_heavy", "the same for negative orders", Role.PROOF, partial(critical, side=-1)),
            Check("small_orders", "up to $n = 1$ the largest difference is at $t = n$", Role.PROOF, small_orders),
            Check("limits", "the ends of the range of $t_n$", Role.PROOF, limits),
            Check("signs", "$n$ and $t_n$ are monotone in $x$", Role.PROOF, signs),
            Check("table", "the constants with proved digits", Role.SUPPORT, table),
            Check("bound_2", "no $t$ exceeds the constant at $n = 2$", Role.SUPPORT, lambda s: bound(s, 2)),
            Check("bound_10", "no $t$ exceeds the constant at $n = 10$", Role.SUPPORT, lambda s: bound(s, 10)),
            Check("oracle", "certified weights stay below the constant", Role.SUPPORT, oracle),
        ),
    )  # fmt: skip


def _slope(value: Any, x: Any) -> Any:
    """The derivative in x, which is a symbol or minus one."""
    symbol = next(iter(x.free_symbols))
    return sympy.diff(value, symbol) / sympy.diff(x, symbol)


def _order(x: Any) -> Any:
    return x / (x - 1 + sympy.exp(-x))


def _place(x: Any) -> Any:
    return x * (1 - sympy.exp(-x)) / (x - 1 + sympy.exp(-x))


def _inverse_order(x: arb) -> arb:
    return 1 + (-x).expm1() / x


def _peak(order: Fraction) -> arb:
    """An enclosure of the maximizer: x by bisection on proved signs, then t, which decreases in x."""
    if 0 < order <= 1:
        return certified.rational(order)
    target = certified.rational(1 / order)
    # 1/n < x/2 for every x > 0, and 1/n > 1 − 1/x.
    # For n < 0, −1/n > −x/2 and, from e^y > 1 + y + y²/2, x > 2/n.
    low, high = (1 / order, 2 * order / (order - 1)) if order > 0 else (2 / order, Fraction(0))
    for _ in range(ctx.prec):
        middle = (low + high) / 2
        difference = _inverse_order(certified.rational(middle)) - target
        if difference > 0:
            high = middle
        elif difference < 0:
            low = middle
        else:
            break
    places = [1 / (-1 / (-certified.rational(x)).expm1() - 1 / certified.rational(x)) for x in (low, high)]
    return places[0].union(places[1])


def constant(order: Fraction, value: Limit = at_maximum, small: Limit = at_maximum) -> arb:
    """``n·sup_t(e^{−t} − [1 − t/n]₊^n)``, enclosed at the working precision."""
    rule = small if 0 < order <= 1 else value
    return arb(rule(_peak(order), lambda t: t.exp()))


CLAIM = build()


FALSE = (
    FalseVariant("half the constant", build(lambda t, exp: t * exp(-t) / 2)),
    FalseVariant("the maximum at t = 1 for every n", build(lambda t, exp: exp(-t / t))),
    FalseVariant("e^{−n} without the factor n", build(small=lambda n, exp: exp(-n))),
    FalseVariant("the maximum tends to t = 3", build(end=3)),
)
