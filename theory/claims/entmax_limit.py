"""L2: entmax tends to softmax at rate 1/n, with the exact coefficient of the weights and of the divergence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import inf
from typing import Any

import sympy
from flint import arb, ctx
from hypothesis import strategies

from kernelproof.reference import entmax
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.evidence import certified, exact, sampled, symbolic
from kernelproof.theory.finding import Cell, Finding, Grid
from kernelproof.theory.rows import dot
from kernelproof.theory.series import (
    Series,
    balls,
    constant,
    digits,
    logits_of,
    softmax,
    spread,
    toward_limit,
    variable,
)
from kernelproof.theory.statement import Statement

ROWS = ((0.0, 0.5, -1.25), (0.0, -3.0, 1.0, 0.25, -0.75), (2.0, 1.5, -4.0, 0.0), (0.125, 0.0))
EXPONENTS = (10, 13, 16, 20, 25, 30, 35, 40)
First = Callable[[Any, Any], Any]
Second = Callable[[Any, Any], Any]


def relative_shift(log: Any, mean: Any) -> Any:
    """``(E − ℓ²)/2``, the coefficient of 1/n in the weight relative to its softmax limit; in any arithmetic."""
    return (mean - log**2) / 2


def divergence_constant(second: Any, fourth: Any) -> Any:
    """``Var(ℓ²)/8`` from the means of ℓ² and ℓ⁴; in any arithmetic."""
    return (fourth - second**2) / 8


def moment(p: Sequence[Any], log: Sequence[Any], power: int) -> Any:
    """``Σ p_i ℓ_i^power``."""
    return dot(p, [each**power for each in log])


def remainders(weights: Sequence[arb], eps: arb, first: First = relative_shift) -> list[Series]:
    """``p_i(n) − p_i[1 + ε·first]`` with ε = 1/n, as series at the ball `eps`, with p the softmax of the same row."""
    limit = softmax(logits_of(weights, eps, 3))
    log = [p.log() for p in limit]
    mean, step = moment(limit, log, 2), variable(eps, 3)
    return [
        constant(weight, 3) - p * (1 + step * first(each, mean))
        for weight, p, each in zip(weights, limit, log, strict=True)
    ]


def curvature(weights: Sequence[arb], eps: arb, first: First = relative_shift) -> arb:
    """The largest n²·|remainder| of a row of these weights, if the ball `eps` reaches down to 0.

    In the expansion of G(ε) = O(ε²) at 0 the remainder is ``G″(ξ)ε²/2`` with ξ in [0, ε].
    """
    sizes = [abs(each[2]).upper() for each in remainders(weights, eps, first)]
    top = sizes[0]
    for size in sizes[1:]:
        top = top.max(size)
    return arb(top)


def build(first: First = relative_shift, second: Second = divergence_constant) -> Claim:
    """The claim with this coefficient of the weights and this constant of the divergence."""

    def expansion(settings: Settings) -> Finding:
        e, p = sympy.Symbol("epsilon", real=True, nonzero=True), sympy.Symbol("p", positive=True)
        y, log, mean, fall = sympy.symbols("y l E lambda_1", real=True)
        exponent = sympy.log(1 + e * y) / e
        weight = sympy.exp(log - e * (log**2 / 2 + fall))
        move = sympy.solve(-mean / 2 - fall, fall)[0]
        return symbolic.identities(
            ("the exponent tends to z − λ", sympy.limit(exponent, e, 0, "+-"), y),
            ("its slope at 1/n = 0", sympy.limit(sympy.diff(exponent, e), e, 0, "+-"), -(y**2) / 2),
            ("slope in λ at 1/n = 0", sympy.limit(sympy.diff(exponent, y), e, 0, "+-"), 1),
            ("slope of a weight", sympy.diff(weight, e).subs(e, 0).subs(sympy.exp(log), p), -p * (log**2 / 2 + fall)),
            ("with the λ that keeps the sum", -p * (log**2 / 2 + move), p * first(log, mean)),
            domain="all m, all logits; n → ±∞",
            detail="p_i = exp(log(1 + ε(z_i − λ))/ε), ε = 1/n, is analytic in (ε, λ) near (0, LSE) with ∂Σp/∂λ = −1 "
            "there, "
            "so λ(ε) is analytic (implicit function theorem), λ(0) = LSE and z − λ(0) = ℓ; Σ p_i(−ℓ_i²/2 − λ₁) = "
            "−E/2 − λ₁ = 0 gives λ₁, by Σp = 1 and Σpℓ² = E",
            seed=settings.seed,
        )

    def divergence(settings: Settings) -> Finding:
        e = sympy.Symbol("epsilon", real=True, nonzero=True)
        a, b = sympy.symbols("a b", real=True)
        ratio = 1 + e * a + e**2 * b
        term = sympy.series(ratio * sympy.log(ratio), e, 0, 3).removeO()
        p, log = _row_symbols()
        mean = moment(p, log, 2)
        shifts = [first(each, mean) for each in log]
        return symbolic.identities(
            ("a term of the divergence", term, e * a + e**2 * (b + a**2 / 2)),
            ("Σ p·a = 0", dot(p, shifts), 0),
            ("Σ p·a²/2", dot(p, [shift**2 / 2 for shift in shifts]), second(mean, moment(p, log, 4))),
            domain="all m (sums are linear in each key's term; three keys stand for any), all logits; n → ±∞",
            detail="with p_i(n) = p_i(1 + εa_i + ε²b_i + …), Σ p_i b_i = 0 too because the weights sum to 1",
            seed=settings.seed,
        )

    def reverse(settings: Settings) -> Finding:
        p, x = sympy.symbols("p x", positive=True)
        return symbolic.identities(
            ("1/(p·log(p/x)) as x → 0", sympy.limit(1 / (p * sympy.log(p / x)), x, 0, "+"), 0),
            domain="all p > 0; n > 0",
            detail="a softmax weight is positive, so one entmax weight that is 0 makes KL(softmax ‖ entmax) infinite",
            seed=settings.seed,
        )

    def box(settings: Settings) -> Finding:
        def slack(p: arb, r: arb, eps: arb) -> arb:
            return 3 - curvature([p, r, 1 - p - r], eps, first)

        part = (Fraction(1, 5), Fraction(2, 5))
        return certified.supported(
            slack,
            {"p": part, "r": part, "eps": (0, Fraction(1, 4))},
            domain="rows of 3 keys whose weights at order n are in [1/5, 2/5], [1/5, 2/5] and the rest; n ≥ 4",
            precision=64,
            detail="half the second derivative of the remainder in 1/n is below 3 everywhere, so "
            "n²·|p_i(n) − p_i(1 + (E − ℓ_i²)/(2n))| ≤ 3: with the expansion, an error bound, not only an order",
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 96):
            return certified.agree(
                _weight_pairs(settings, first),
                domain=f"{len(ROWS)} rows, n = 2^10 to 2^40, −2^20 and −2^40",
                # Below a tenth, the smallest n still distinguishes the coefficient from twice, half or minus itself.
                width=0.1,
                detail="n(p_i(n) − p_i)/p_i is the coefficient up to a remainder that is enclosed",
            )

    def studied(settings: Settings) -> Finding:
        return sampled.equal(
            strategies.tuples(_rows(), strategies.integers(20, 60), strategies.sampled_from((1, -1))),
            lambda case: _one_pair(case[0], case[2] * 2 ** case[1], settings, first),
            settings,
            domain="rows of 2 to 6 logits in [−4, 4], |n| = 2^20 to 2^60",
            # As above.
            width=0.1,
            detail="the largest coefficient, from certified weights",
        )

    def decline(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 192):
            return _divergences(settings, second)

    def support(settings: Settings) -> Finding:
        return exact.equal(
            _supports(),
            domain="logits (0, −7/2, −9), n from 1 to 64",
            detail="the support is full from the least n with Σ((z_j − min z)/n)^n < 1 on; before, the divergence of "
            "softmax "
            "from entmax is infinite",
        )

    return Claim(
        id="entmax_limit",
        label="L2",
        title="Entmax tends to softmax at rate 1/n, with the exact coefficient",
        statement=r"With $p = \mathrm{softmax}(z)$, $\ell = \log p$ and $E = \sum_j p_j \ell_j^2$, as $n \to "
        r"\pm\infty$ "
        r"\[\mathrm{entmax}_n(z)_i = p_i\Bigl[1 + \frac{E - \ell_i^2}{2n}\Bigr] + O(n^{-2}), \qquad "
        r"\mathrm{KL}(\mathrm{entmax}_n \,\|\, p) = \frac{\mathrm{Var}_p(\ell^2)}{8 n^2} + O(n^{-3}),\] "
        r"while $\mathrm{KL}(p \,\|\, \mathrm{entmax}_n) = \infty$ as long as an entmax weight is 0, which at "
        r"$n < 0$ none is: "
        r"the weights leave softmax on its two sides with opposite signs.",
        source="ours; that α-entmax tends to softmax: arXiv:2601.22766, and Peters, Niculae & Martins, ACL 2019",
        kind=Kind.THEOREM,
        variables=(
            Variable("z", r"a row of finite logits in $\mathbb{R}^m$, fixed"),
            Variable("n", r"order, $n \to \infty$ or $n \to -\infty$; $\alpha = 1 + 1/n$"),
        ),
        assumptions=(Assumption("fixed row", "$z$ does not change with $n$; the constants in $O$ depend on it"),),
        formal=Statement(domains.domain(m=domains.integers(1))),
        argument="The implicit function theorem gives a threshold that is analytic in 1/n; the coefficients are "
        "shown for one key, and for three keys where a sum over keys stands in the statement.",
        checks=(
            Check("expansion", "the first-order term, by the implicit function theorem", Role.PROOF, expansion),
            Check("divergence", "the divergence to second order", Role.PROOF, divergence),
            Check("reverse", "a weight of 0 makes the reverse divergence infinite", Role.PROOF, reverse),
            Check("oracle", "certified weights, with the remainder enclosed", Role.SUPPORT, oracle),
            Check("divergences", "certified divergences, times $n^2$", Role.SUPPORT, decline),
            Check("random_rows", "random rows", Role.SUPPORT, studied),
            Check("support", "from which $n$ on the support is full", Role.SUPPORT, support),
            Check("box", "the remainder is at most $3/n^2$ on a box of rows and orders", Role.SUPPORT, box),
        ),
    )


def _row_symbols() -> tuple[list[Any], list[Any]]:
    p, r = sympy.symbols("p r", positive=True)
    return [p, r, 1 - p - r], list(sympy.symbols("l_1 l_2 l_3", real=True))


def _rows() -> Any:
    return strategies.lists(strategies.integers(-64, 64).map(lambda k: k / 16), min_size=2, max_size=6)


def _weights(z: Sequence[float], order: Any, settings: Settings) -> list[arb]:
    # Only the 1/n part of a weight's difference is compared, so this takes as many more bits as n has.
    return balls(entmax(list(z), order=order, precision=settings.precision + 96).weights.values())


def _one_row(z: Sequence[float], order: int, settings: Settings, first: First) -> tuple[list[arb], list[arb], arb]:
    found, limit = _weights(z, order, settings), _weights(z, inf, settings)
    log = [p.log() for p in limit]
    mean = moment(limit, log, 2)
    seen = [order * (a - p) for a, p in zip(found, limit, strict=True)]
    stated = [p * first(each, mean) for p, each in zip(limit, log, strict=True)]
    eps = certified.interval(Fraction(0), Fraction(1, order))
    return seen, stated, spread(curvature(found, eps, first) / order)


def _weight_pairs(settings: Settings, first: First) -> Any:
    for z in ROWS:
        for text, order in toward_limit(EXPONENTS):
            seen, stated, rest = _one_row(z, order, settings, first)
            for key, (left, right) in enumerate(zip(seen, stated, strict=True)):
                yield f"z = {z}, n = {text}, key {key}", left, right + rest


def _one_pair(z: Sequence[float], order: int, settings: Settings, first: First) -> tuple[arb, arb]:
    with ctx.workprec(settings.precision + 96):
        seen, stated, rest = _one_row(z, order, settings, first)
        at = max(range(len(z)), key=lambda i: float(abs(seen[i] - stated[i]).mid()))
        return seen[at], stated[at] + rest


def _divergences(settings: Settings, second: Second) -> Finding:
    """n²·KL compared with the constant; the series of the divergence encloses the third-order term."""
    z, pairs, rows = ROWS[1], [], list[list[Cell]]()
    finer = Settings(settings.precision + 96)
    for text, order in toward_limit(EXPONENTS):
        found, limit = _weights(z, order, finer), _weights(z, inf, finer)
        log = [p.log() for p in limit]
        value = order**2 * dot(found, [(a / p).log() for a, p in zip(found, limit, strict=True)])
        stated = second(moment(limit, log, 2), moment(limit, log, 4))
        rest = spread(_third(found, certified.interval(Fraction(0), Fraction(1, order)), second) / order)
        pairs.append((f"z = {z}, n = {text}", value, stated + rest))
        rows.append([text, digits(value, 12), digits(stated, 12)])
    finding = certified.agree(
        pairs,
        domain=f"z = {z}, n = 2^10 to 2^40, −2^20 and −2^40",
        # As for the weights.
        width=0.1,
        detail="n²·KL(entmax ‖ softmax) is Var(ℓ²)/8 up to a remainder that is enclosed",
    )
    grid = Grid(title="Divergence of entmax from softmax", columns=["n", "n²·KL", "Var(ℓ²)/8"], rows=rows)
    return finding.with_tables(grid)


def _third(weights: Sequence[arb], eps: arb, second: Second) -> arb:
    """A third Taylor coefficient of ``KL − ε²·constant``, for every ε of the ball."""
    limit = softmax(logits_of(weights, eps, 4))
    log = [p.log() for p in limit]
    kl = dot(weights, [constant(weight.log(), 4) - each for weight, each in zip(weights, log, strict=True)])
    step = variable(eps, 4)
    return arb((kl - step * step * second(moment(limit, log, 2), moment(limit, log, 4)))[3])


def _supports() -> Any:
    z = [Fraction(0), Fraction(-7, 2), Fraction(-9)]
    for n in range(1, 65):
        full = sum(((each - min(z)) / n) ** n for each in z) < 1
        yield f"n = {n}", bool(entmax([float(each) for each in z], order=n).support.all()), full


CLAIM = build()
FALSE = (
    FalseVariant("the coefficient counted twice", build(lambda log, mean: mean - log**2)),
    FalseVariant("the mean E is missing", build(lambda log, _: -(log**2) / 2)),
    FalseVariant("the other sign", build(lambda log, mean: (log**2 - mean) / 2)),
    FalseVariant("a fourth for an eighth in the divergence", build(second=lambda s, f: (f - s**2) / 4)),
    FalseVariant("the second moment of ℓ² for its variance", build(second=lambda _, f: f / 8)),
)
