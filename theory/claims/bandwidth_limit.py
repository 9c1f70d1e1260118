"""L3: the bandwidth of entmax grows like 2n/β, with its next two terms exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import sympy
from flint import arb, ctx

from kernelproof.reference import Adaptive, Kernel, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.claims.entmax_limit import EXPONENTS, moment
from kernelproof.theory.evidence import certified, symbolic
from kernelproof.theory.finding import Cell, Finding, Grid
from kernelproof.theory.series import Series, ball, balls, digits, logits_of, softmax, spread, toward_limit, variable
from kernelproof.theory.statement import Statement

ROWS = (
    ((0.0, 0.5, 2.25), Fraction(1)),
    ((0.25, 3.0, 1.0, 4.5), Fraction(2)),
    ((1.5, 1.5, 6.0, 0.125, 2.0), Fraction(1, 4)),
)
"""Squared distances and β."""
Correction = Callable[[Any, Any, Any], Any]


def correction(lse: Any, mean: Any, eps: Any) -> Any:
    """``−2·LSE + E/n``, the terms after 2n in ``βh²``, with eps = 1/n; in any arithmetic."""
    return -2 * lse + eps * mean


def build(added: Correction = correction) -> Claim:
    """The claim with the terms after 2n."""

    def expansion(settings: Settings) -> Finding:
        e, n = (sympy.Symbol(name, real=True, nonzero=True) for name in ("epsilon", "n"))
        beta = sympy.Symbol("beta", positive=True)
        y, lse, mean, fall, distance = sympy.symbols("y LSE E lambda_1 D", real=True)
        exponent = sympy.log(1 + e * y) / e
        square = 2 * (n - fall) / beta
        move = sympy.solve(-mean / 2 - fall, fall)[0]
        return symbolic.identities(
            ("edge of the support", 1 + (-beta * distance / 2 - fall) / n, beta * (square - distance) / (2 * n)),
            ("the exponent tends to z − λ", sympy.limit(exponent, e, 0, "+-"), y),
            ("its slope at 1/n = 0", sympy.limit(sympy.diff(exponent, e), e, 0, "+-"), -(y**2) / 2),
            ("its slope in λ at 1/n = 0", -sympy.limit(sympy.diff(exponent, y), e, 0, "+-"), -1),
            ("slope of λ", move, -mean / 2),
            ("βh²", beta * square.subs(fall, lse + move / n), 2 * n + added(lse, mean, 1 / n)),
            domain="all m, all squared distances, β > 0; n → ±∞",
            detail="weights are [1 + (z_i − λ)/n]₊^n with z = −βD/2, positive iff D < h² = 2(n − λ)/β (in the first "
            "line "
            "λ₁ stands for λ); Σ exp(log(1 + ε(z_i − λ))/ε) = 1 is analytic near ε = 0, λ = LSE(z), so λ = LSE + "
            "λ₁/n + "
            "O(n⁻²) with −E/2 − λ₁ = 0 (implicit function theorem)",
            seed=settings.seed,
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 192):
            return _thresholds(settings, added)

    def mass(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision + 192):
            return certified.agree(
                _masses(added),
                domain=f"{len(ROWS)} rows, n = 2^10 to 2^40, −2^20 and −2^40",
                # A wrong last term moves the mass by about 1/n, at most 1e-3; the ball is smaller, of order 1/n².
                width=1e-4,
                detail="at the stated h² the mass Σ[β(h² − D)/(2n)]^n is 1 up to the enclosed remainder",
            )

    def box(settings: Settings) -> Finding:
        def slack(p: arb, r: arb, eps: arb) -> arb:
            return arb(6 - abs(_threshold_series([p, r, 1 - p - r], eps, 3, added)[2]))

        part = (Fraction(1, 5), Fraction(2, 5))
        return certified.supported(
            slack,
            {"p": part, "r": part, "eps": (0, Fraction(1, 4))},
            domain="rows of 3 keys whose weights at order n are in [1/5, 2/5], [1/5, 2/5] and the rest; n ≥ 4",
            precision=64,
            detail="half the second derivative of the remainder in 1/n is below 6 everywhere, so "
            "n²·|βh² − 2n + 2·LSE − E/n| ≤ 6: with the expansion, an error bound, not only an order",
        )

    return Claim(
        id="bandwidth_limit",
        label="L3",
        title="The bandwidth of entmax grows like the square root of 2n/β",
        statement=r"Let $z = -\beta D/2$, $\mathrm{LSE} = \log\sum_j e^{z_j}$, $p = \mathrm{softmax}(z)$ and "
        r"$E = \sum_j p_j (\log p_j)^2$. The bandwidth of $\mathrm{entmax}_n(z)$ as kernel regression satisfies, "
        r"as $n \to \infty$, \[h^2 = \frac{2n}{\beta} - \frac{2\,\mathrm{LSE}}{\beta} + \frac{E}{n\beta} + "
        r"O(n^{-2}).\] As $n \to -\infty$ the same holds with $-h^2$ in the place of $h^2$, for the kernel "
        r"$(1 + \|q-k\|^2/h^2)^n$: $h^2 = \frac{2|n|}{\beta} + \frac{2\,\mathrm{LSE}}{\beta} + "
        r"\frac{E}{|n|\beta} + O(n^{-2})$.",
        source="ours; the bandwidth of entmax as a kernel: arXiv:2601.22766, adaptive bandwidths",
        kind=Kind.THEOREM,
        variables=(
            Variable("D_i", r"squared distances $\|q - k_i\|^2$ of a row, fixed"),
            Variable(r"\beta", r"inverse temperature, $\beta > 0$"),
            Variable("h", r"root of the mass equation $\sum_j [h^2 - D_j]_+^n = (2n/\beta)^n$"),
        ),
        assumptions=(Assumption("fixed row", r"$D$ and $\beta$ do not change with $n$"),),
        formal=Statement(domains.domain(beta=domains.positive(), m=domains.integers(1))),
        argument="The implicit function theorem gives a threshold that is analytic in 1/n; its coefficients are "
        "shown, with the sums over keys as symbols.",
        checks=(
            Check("expansion", r"the terms, by the implicit function theorem", Role.PROOF, expansion),
            Check("oracle", "certified thresholds, with the remainder enclosed", Role.SUPPORT, oracle),
            Check("mass", "the stated $h$ solves the mass equation up to the remainder", Role.SUPPORT, mass),
            Check("box", "the remainder is at most $6/n^2$ on a box of rows and orders", Role.SUPPORT, box),
        ),
    )


def _threshold_series(p: Sequence[arb], eps: arb, length: int, added: Correction) -> Series:
    """``βh² − 2n − (the terms after it)`` of rows with weights p and λ = 0, where βh² = 2n exactly."""
    logits = logits_of(p, eps, length)
    terms = [z.exp() for z in logits]
    lse = sum(terms[1:], terms[0]).log()
    limit = softmax(logits)
    mean = moment(limit, [each.log() for each in limit], 2)
    return -added(lse, mean, variable(eps, length))


def _stated(distances: Sequence[float], beta: Fraction, order: int, added: Correction) -> arb:
    z = [-ball(beta) * ball(d) / 2 for d in distances]
    terms = [each.exp() for each in z]
    limit = softmax(z)
    mean = moment(limit, [p.log() for p in limit], 2)
    return arb(2 * order + added(sum(terms, arb(0)).log(), mean, arb(1) / order)) / ball(beta)


def _remainder(found: Sequence[arb], beta: Fraction, order: int, added: Correction) -> arb:
    """A ball that contains h² minus its stated terms, if these are right."""
    eps = certified.interval(Fraction(0), Fraction(1, order))
    return spread(_threshold_series(found, eps, 3, added)[2]) / (ball(beta) * order**2)


def _thresholds(settings: Settings, added: Correction) -> Finding:
    pairs, rows = [], list[list[Cell]]()
    for distances, beta in ROWS:
        scores = [-d / 2 for d in distances]
        for text, order in toward_limit(EXPONENTS):
            found = weights(scores, Kernel(order), Adaptive(beta), precision=settings.precision + 128)
            square = -2 * order * ball(found.threshold.values().item()) / ball(beta)
            stated = _stated(distances, beta, order, added)
            rest = _remainder(balls(found.weights.values()), beta, order, added)
            # Minus the leading terms and times n, so that the ball is compared with the last term.
            leading = _stated(distances, beta, order, lambda lse, mean, _: added(lse, mean, 0))
            name = f"D = {distances}, β = {beta}, n = {text}"
            pairs.append((name, order * (square - leading), order * (stated + rest - leading)))
            if beta == 2:
                rows.append([text, digits(square), digits((square - stated) * order**2, 8)])
    finding = certified.agree(
        pairs,
        domain=f"{len(ROWS)} rows, n = 2^10 to 2^40, −2^20 and −2^40; there −h² for h²",
        # Below a tenth, the smallest n still distinguishes the last term from twice, half or minus itself.
        width=0.1,
        detail="n(h² − 2n/β + 2·LSE/β) is E/β up to a remainder that is enclosed",
    )
    grid = Grid(
        title=f"Bandwidth of entmax, D = {ROWS[1][0]}, β = 2", columns=["n", "h²", "n²·(h² − the terms)"], rows=rows
    )
    return finding.with_tables(grid)


def _masses(added: Correction) -> Any:
    for distances, beta in ROWS:
        for text, order in toward_limit(EXPONENTS):
            square = _stated(distances, beta, order, added)
            scaled = [ball(beta) * (square - ball(d)) / (2 * order) for d in distances]
            mass = sum(((order * u.log()).exp() for u in scaled), arb(0))
            found = [(order * u.log()).exp() / mass for u in scaled]
            # The derivative of the mass by βh² is Σu^n/(2u), below 2 where the mass is near 1 and every u is above 1/2.
            rest = 2 * ball(beta) * _remainder(found, beta, order, added)
            yield f"D = {distances}, β = {beta}, n = {text}", mass, 1 + rest


CLAIM = build()
FALSE = (
    FalseVariant("E/(2nβ), not E/(nβ)", build(lambda lse, mean, eps: -2 * lse + eps * mean / 2)),
    FalseVariant("the other sign of E", build(lambda lse, mean, eps: -2 * lse - eps * mean)),
    FalseVariant("LSE counted once", build(lambda lse, mean, eps: -lse + eps * mean)),
    FalseVariant("the logarithm is missing", build(lambda _, mean, eps: eps * mean)),
)
