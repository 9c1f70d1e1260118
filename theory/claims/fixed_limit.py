"""L4: with a suitably growing bandwidth, the weights of a fixed rule tend to the Gaussian's at rate 1/n."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import inf
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import strategies

from kernelproof.reference import Adaptive, Anchored, Fixed, Kernel, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, sampled, symbolic
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import dot
from kernelproof.theory.series import Series, ball, balls, constant, exponents, softmax, spread, toward_limit, variable
from kernelproof.theory.statement import Statement

ROWS = ((0.0, 0.5, 2.25), (0.25, 3.0, 1.0, 4.5), (1.5, 1.5, 6.0, 0.125, 2.0))
EXPONENTS = (11, 15, 21, 29, 39)
"""Odd, so that h = σ·2^((e+1)/2) is exact for n = 2^e."""
SIGMAS = (Fraction(1), Fraction(3, 4))
Shift = Callable[[Any, Any], Any]


def relative_shift(x: Any, mean: Any) -> Any:
    """``(E − x²)/2``, the coefficient of 1/n in the weight relative to its Gaussian limit; in any arithmetic."""
    return (mean - x**2) / 2


def moved(x: Sequence[Any], limit: Sequence[Any], shift: Shift) -> list[Any]:
    """``p_i·shift(x_i, Σ p x²)`` for every key."""
    mean = dot(limit, [each**2 for each in x])
    return [p * shift(each, mean) for each, p in zip(x, limit, strict=True)]


def build(shift: Shift = relative_shift) -> Claim:
    """The claim with the coefficient `shift`."""

    def expansion(settings: Settings) -> Finding:
        e, n = (sympy.Symbol(name, real=True, nonzero=True) for name in ("epsilon", "n"))
        square = sympy.Symbol("sigma_2", positive=True)
        x, distance, mean = sympy.symbols("x D E", real=True)
        p, a, rest, fall = sympy.symbols("p a A b", positive=True)
        exponent = sympy.log(1 - e * x) / e
        f, total = a * (1 + e * x), rest + e * fall
        return symbolic.identities(
            ("Fixed with h² = 2nσ²", distance / (2 * n * square), (distance / (2 * square)) / n),
            ("the exponent tends to −x", sympy.limit(exponent, e, 0, "+-"), -x),
            ("its slope at 1/n = 0", sympy.limit(sympy.diff(exponent, e), e, 0, "+-"), -(x**2) / 2),
            ("slope of a quotient", sympy.diff(f / total, e).subs(e, 0), a / rest * (x - fall / rest)),
            ("slope of a weight", p * (-(x**2) / 2 - (-mean / 2)), p * shift(x, mean)),
            domain="all m, all x_i ≥ 0; n → ±∞",
            detail="f_i = exp(log(1 − εx_i)/ε), ε = 1/n, is analytic near ε = 0 with logarithmic slope −x_i²/2; the "
            "weights "
            "f_i/Σf have slope p_i(−x_i²/2 + Σ p_j x_j²/2)",
            seed=settings.seed,
        )

    def fixed(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 96):
            return _agree(
                _fixed(settings, shift), f"{len(ROWS)} rows, σ = 1 and 3/4, n = 2^11 to 2^39 and two negative ones"
            )

    def anchored(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 96):
            return _agree(
                _anchored(settings, shift), f"{len(ROWS)} rows, β = 2, n = 2^11 to 2^39 and two negative ones"
            )

    def random_rows(settings: Settings) -> Finding:
        def sides(case: tuple[list[float], int]) -> tuple[arb, arb]:
            with ctx.workprec(settings.precision + 96):
                scores, order = [-d / 2 for d in case[0]], 2 ** case[1]
                h = 2 ** ((case[1] + 1) // 2)
                pairs = list(_pairs(scores, Fixed(h), Fixed(1), balls(case[0]), order, settings, shift, halve=True))
                return max(((a, b) for _, a, b in pairs), key=lambda pair: float(abs(pair[0] - pair[1]).mid()))

        squares = strategies.integers(0, 96).map(lambda k: k / 8)
        return sampled.equal(
            strategies.tuples(strategies.lists(squares, min_size=2, max_size=6), strategies.sampled_from((21, 29, 39))),
            sides,
            settings,
            domain="rows of 2 to 6 squared distances in [0, 12], σ = 1, n = 2^21 to 2^39",
            # Below a tenth, every n distinguishes the coefficient from twice, half or minus itself.
            width=0.1,
            detail="the coefficient of the key that is furthest off, from certified weights",
        )

    def box(settings: Settings) -> Finding:
        def slack(x: arb, y: arb, w: arb, eps: arb) -> arb:
            return 3 - _curvature([x, y, w], eps, shift)

        return certified.supported(
            slack,
            {"x": (0, 1), "y": (0, Fraction(1, 2)), "w": (1, Fraction(3, 2)), "eps": (0, Fraction(1, 4))},
            domain="rows of 3 keys with x in [0, 1] × [0, 1/2] × [1, 3/2]; n ≥ 4",
            precision=64,
            detail="half the second derivative of the remainder in 1/n is below 3 everywhere, so "
            "n²·|w_i(n) − p_i(1 + (E_x − x_i²)/(2n))| ≤ 3: with the expansion, an error bound, not only an order",
        )

    return Claim(
        id="fixed_limit",
        label="L4",
        title="With a bandwidth of 2nσ² the fixed rule tends to the Gaussian at rate 1/n",
        statement=r"Let $x_i \ge 0$, $p_i \propto e^{-x_i}$ and $E_x = \sum_j p_j x_j^2$. As $n \to \pm\infty$ "
        r"\[\frac{[1 - x_i/n]_+^n}{\sum_j [1 - x_j/n]_+^n} = p_i\Bigl[1 + \frac{E_x - x_i^2}{2n}\Bigr] + O(n^{-2}).\] "
        r"With $x_i = D_i/(2\sigma^2)$ these are the weights of the fixed rule with $h^2 = 2n\sigma^2$; with "
        r"$x_i = \beta d_i$, where $d_i = \max s - s_i$, those of the anchored rule with $\gamma = n/\beta$; "
        r"for $n < 0$ the "
        r"kernels are $(1 + x/|n|)^{-|n|}$, with $h^2 = 2|n|\sigma^2$ and $|\gamma| = |n|/\beta$.",
        source="ours; the Gaussian as the limit of the compact kernels: arXiv:2601.22766",
        kind=Kind.THEOREM,
        variables=(
            Variable("D_i", r"squared distances $\|q - k_i\|^2$ of a row; $s_i = -D_i/2$ or any scores"),
            Variable("n", r"order, $n \to \infty$ or $n \to -\infty$"),
            Variable(r"\sigma, \beta", "positive, fixed"),
        ),
        assumptions=(
            Assumption("fixed row", "$x$ does not change with $n$; the constants in $O$ depend on it"),
            Assumption("matched scale", r"$h^2 = 2n\sigma^2$ or $\gamma = n/\beta$"),
        ),
        formal=Statement(domains.domain(m=domains.integers(1))),
        argument="The coefficient of 1/n is shown for one unnormalized weight, with the sums over keys as symbols; "
        "that a quotient of finitely many expansions is expanded term by term is said.",
        checks=(
            Check("expansion", "the slope in $1/n$ of a quotient of analytic functions", Role.PROOF, expansion),
            Check("fixed", "certified weights of the fixed rule, with the remainder enclosed", Role.SUPPORT, fixed),
            Check("anchored", "certified weights of the anchored rule", Role.SUPPORT, anchored),
            Check("random_rows", "random rows", Role.SUPPORT, random_rows),
            Check("box", "the remainder is at most $3/n^2$ on a box of rows and orders", Role.SUPPORT, box),
        ),
    )


def _remainders(x: Sequence[arb], eps: arb, shift: Shift) -> list[Series]:
    """``w_i(n) − p_i − ε·p_i·shift`` as series at the ball `eps`."""
    limit = softmax([-each for each in x])
    step = variable(eps, 3)
    found = softmax(exponents(x, eps, 3))
    return [w - (constant(p, 3) + step * c) for w, p, c in zip(found, limit, moved(x, limit, shift), strict=True)]


def _curvature(x: Sequence[arb], eps: arb, shift: Shift) -> arb:
    top = arb(0)
    for each in _remainders(x, eps, shift):
        top = top.max(abs(each[2]).upper())
    return top


def _pairs(
    scores: list[float],
    rule: Any,
    at_limit: Any,
    x: list[arb],
    order: int,
    settings: Settings,
    shift: Shift,
    *,
    halve: bool = False,
) -> Any:
    """(name, n(w(n) − p), the coefficient up to the enclosed remainder) of every key; both from certified weights."""
    bits = settings.precision + 96
    found = balls(weights(scores, Kernel(order), rule, precision=bits).weights.values())
    limit = balls(weights(scores, Kernel(inf), at_limit, precision=bits).weights.values())
    x = [each / 2 for each in x] if halve else x
    rest = spread(_curvature(x, certified.interval(Fraction(0), Fraction(1, order)), shift) / order)
    stated = moved(x, limit, shift)
    for key, (w, p, c) in enumerate(zip(found, limit, stated, strict=True)):
        yield f"scores {scores}, {rule!r}, n = {order}, key {key}", order * (w - p), c + rest


def _fixed(settings: Settings, shift: Shift) -> Any:
    for distances in ROWS:
        for sigma in SIGMAS:
            for _, order in toward_limit(EXPONENTS):
                rule = Fixed(sigma * 2 ** (abs(order).bit_length() // 2))
                x = [ball(d) / (2 * ball(sigma) ** 2) for d in distances]
                scores = [-d / 2 for d in distances]
                yield from _pairs(scores, rule, Fixed(sigma), x, order, settings, shift)


def _anchored(settings: Settings, shift: Shift) -> Any:
    for distances in ROWS:
        for _, order in toward_limit(EXPONENTS):
            scores = [-d / 2 for d in distances]
            x = [2 * (ball(max(scores)) - ball(s)) for s in scores]
            # At n = ∞ the limit of γ = n/β is softmax(βs), which is the adaptive rule there.
            rule = Anchored(Fraction(abs(order), 2))
            yield from _pairs(scores, rule, Adaptive(2), x, order, settings, shift)


def _agree(pairs: Any, domain: str) -> Finding:
    return certified.agree(
        pairs,
        domain=domain,
        # Below a tenth, the smallest n still distinguishes the coefficient from twice, half or minus itself.
        width=0.1,
        detail="n(w_i(n) − p_i) is the coefficient up to a remainder that is enclosed",
    )


CLAIM = build()
FALSE = (
    FalseVariant("the coefficient counted twice", build(lambda x, mean: mean - x**2)),
    FalseVariant("the other sign", build(lambda x, mean: (x**2 - mean) / 2)),
    FalseVariant("the mean E is missing", build(lambda x, _: -(x**2) / 2)),
    FalseVariant("x in the place of x²", build(lambda x, mean: (mean - x) / 2)),
)
