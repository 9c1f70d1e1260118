"""C1: softmax attention is kernel regression with the Gaussian, of variance 1/β."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import inf, isqrt
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx

from kernelproof.reference import Adaptive, Fixed, Kernel, attention, entmax, regression, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.correspondence import (
    Floats,
    breaks,
    cases,
    dots_and_squares,
    full_logit,
    gaussian_weights,
    mean_variation,
    mixture,
    named,
    shares,
    width,
)
from kernelproof.theory.evidence import certified, symbolic
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import dot, normalized, variation
from kernelproof.theory.statement import Statement

GAUSSIAN = Kernel(inf)


def gaussian_variance(beta: Any) -> Any:
    """``σ² = 1/β``; in any arithmetic."""
    return 1 / beta


def _row(term: str) -> str:
    """The term of key i over the sum of those of all m keys; ``@`` in the term is the key."""
    return f"{term.replace('@', 'i')}/Sum({term.replace('@', 'j')}, (j, 1, m))"


def predicates(variance: Callable[[Any], Any], logit: Callable[[Any, Any, Any], Any]) -> tuple[str, ...]:
    """The statement as text for SymPy: for the logits, and for the logits with a number added to all.

    With ‖k_j‖² = S for every key, the second is the one for logits without ‖k‖².
    """
    beta = sympy.Symbol("beta")
    dot_product, norm = (sympy.Symbol(f"Sum({each}, (c, 1, d))") for each in ("q[c]*k[@,c]", "k[@,c]**2"))
    z = logit(dot_product, norm, beta)
    gaussian = _row(f"exp(-Sum((q[c] - k[@,c])**2, (c, 1, d))/(2*({variance(beta)})))")
    return f"{_row(f'exp({z})')} = {gaussian}", f"{_row(f'exp({z} + beta*S/2)')} = {gaussian}"


def build(
    variance: Callable[[Any], Any] = gaussian_variance, logit: Callable[[Any, Any, Any], Any] = full_logit
) -> Claim:
    """The claim with this variance and these logits."""
    formal = Statement(
        domains.domain(
            beta=domains.positive(),
            m=domains.integers(1),
            d=domains.integers(1),
            i=domains.integers(1),
            S=domains.nonnegative(),
            q=domains.real(index="c"),
            k=domains.real(index="j, c"),
        ),
        predicates(variance, logit),
    )

    def whole(settings: Settings) -> Finding:
        return symbolic.proves(
            formal,
            detail="for any number of keys, in any dimension; S is added to every logit, so that where ‖k_j‖² = "
            "S for all "
            "keys nothing of ‖k‖² is left in them",
            seed=settings.seed,
        )

    def algebra(settings: Settings) -> Finding:
        q, k = sympy.symbols("Q K", nonnegative=True)
        x, c = sympy.symbols("x c", real=True)
        qi, ki = sympy.symbols("q_i k_i", real=True)
        beta, a, rest = sympy.symbols("beta a A", positive=True)
        return symbolic.identities(
            ("each coordinate of ‖q − k‖²", (qi - ki) ** 2, qi**2 + ki**2 - 2 * qi * ki),
            ("the logit", logit(x, k, beta), -(q + k - 2 * x) / (2 * variance(beta)) + beta * q / 2),
            ("the logit without ‖k‖²", beta * x, logit(x, k, beta) + beta * k / 2),
            ("a common factor cancels", sympy.exp(c) * a / (sympy.exp(c) * (a + rest)), a / (a + rest)),
            domain="all β > 0, m and d; without ‖k‖² in the logits: keys of equal norm",
            detail="Q = ‖q‖², K = ‖k‖², x = q·k; sums over coordinates and keys are linear, so one of each is enough; "
            "βQ/2 is the same for all keys, βK/2 is if their norms are equal, and exp turns both into common factors",
            seed=settings.seed,
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _weight_pairs(settings, variance, logit),
                domain="seeded cases of 1 to 17 keys in 1 to 8 dimensions, β from 1/4 to 4",
                width=width(settings),
                detail="entmax of order ∞ of the logits, with ‖k‖² and, for keys of equal norm, without; the "
                "adaptive rule and the fixed one at order ∞; each against exp(−D_i/(2σ²)) over its sum",
            )

    def outputs(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _output_pairs(settings, variance),
                domain="the same cases, values in two dimensions",
                width=width(settings),
                detail="outputs of attention and of regression against the sum of values with Gaussian weights",
            )

    def unequal(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            # q·k = (2, 1), D = (1, 0).
            far, near = normalized([arb(2).exp(), arb(1).exp()])
            return certified.exists(
                "q = (1, 0), keys (2, 0) and (1, 0), β = 1: the farther key's weight minus the nearer's",
                far - near,
                domain="two keys of norms 2 and 1; then random and real keys",
                detail="softmax of βq·k_i is the Gaussian's weight times exp(β‖k_i‖²/2), which no longer cancels; it "
                "may give the farther key more weight, which no falling kernel does, whatever its bandwidth",
                numbers=breaks("mean total variation without ‖k‖²", _norm_break, settings.seed),
            )

    def other_rule(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            squares = [Fraction(0), Fraction(2)]
            softmax, held = gaussian_weights(squares, variance(Fraction(4))), gaussian_weights(squares, 1)
            numbers = {
                **breaks("mean total variation from σ = 1", lambda q, k: _rule_break(q, k, 1.0), settings.seed),
                **breaks("mean total variation from the nearest key alone", _nearest_break, settings.seed),
            }
            return certified.exists(
                "q = (1, 0), keys (1, 0) and (0, 1), β = 4 against σ = 1; total variation of the two weightings",
                variation(softmax, held),
                domain="two keys; then random and real keys with β = 1/√d",
                detail="the ratio of two weights is exp(−(D_i − D_j)/(2σ²)), which gives σ² back: with a σ that "
                "ignores β the weights differ as soon as two distances do; the kernels of order n with h or γ held "
                "constant even tend to the nearest key alone",
                numbers=numbers,
            )

    return Claim(
        id="softmax",
        label="C1",
        title="Softmax attention is Gaussian kernel regression",
        statement=r"For $\beta > 0$ and logits $z_i = \beta(q\cdot k_i - \|k_i\|^2/2)$, or "
        r"$z_i = \beta\,q\cdot k_i$ if all $\|k_i\|$ are equal, \[\frac{e^{z_i}}{\sum_j e^{z_j}} = "
        r"\frac{\exp(-\|q-k_i\|^2/(2\sigma^2))}{\sum_j \exp(-\|q-k_j\|^2/(2\sigma^2))}, "
        r"\qquad \sigma^2 = \frac{1}{\beta}.\]",
        source="arXiv:2601.22766, softmax attention and the Gaussian kernel; attention as a kernel smoother: Tsai et "
        "al., Transformer dissection, EMNLP 2019",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_i", r"query and $m \ge 1$ keys in $\mathbb{R}^d$"),
            Variable(r"\beta", r"inverse temperature, $\beta > 0$; in attention often $1/\sqrt{d}$"),
            Variable(r"\sigma^2", "variance of the Gaussian"),
        ),
        assumptions=(
            Assumption("equal key norms", r"$\|k_i\| = R$ for all $i$, where the logits leave out $\|k_i\|^2/2$"),
            Assumption("rule", r"the bandwidth is $\sigma^2 = 1/\beta$, for every query and every set of keys"),
        ),
        formal=formal,
        checks=(
            Check("weights", "the two weightings are equal, for any number of keys", Role.PROOF, whole),
            Check("algebra", r"the logits are $-D_i/(2\sigma^2)$ up to a constant", Role.SUPPORT, algebra),
            Check("oracle", "certified weights are those of the Gaussian", Role.SUPPORT, oracle),
            Check("outputs", "so are the outputs of attention and regression", Role.SUPPORT, outputs),
            Check("unequal_norms", "unequal norms break it", Role.NECESSITY, unequal, drops="equal key norms"),
            Check("other_bandwidths", "another bandwidth breaks it", Role.NECESSITY, other_rule, drops="rule"),
        ),
    )  # fmt: skip


def _weight_pairs(settings: Settings, variance: Any, logit: Any) -> Iterator[tuple[str, arb, arb]]:
    for case in cases(settings.seed):
        right = gaussian_weights(case.distances, variance(case.beta))
        z = [float(logit(dot(case.q, key), dot(key, key), case.beta)) for key in case.keys]
        bits = settings.precision
        yield from named(f"entmax, {case}", entmax(z, order=inf, precision=bits).weights.values(), right)
        adaptive = weights(case.scores, GAUSSIAN, Adaptive(case.beta), precision=bits)
        yield from named(f"adaptive rule, {case}", adaptive.weights.values(), right)
        fixed = weights(case.scores, GAUSSIAN, Fixed(_root(1 / case.beta)), precision=bits)
        yield from named(f"fixed rule, {case}", fixed.weights.values(), right)
    for case in cases(settings.seed, equal_norms=True):
        z = case.logits(key_norm_term=False)
        right = gaussian_weights(case.distances, variance(case.beta))
        yield from named(
            f"equal norms, {case}", entmax(z, order=inf, precision=settings.precision).weights.values(), right
        )


def _output_pairs(settings: Settings, variance: Any) -> Iterator[tuple[str, arb, arb]]:
    bits = settings.precision
    for equal in (False, True):
        for case in cases(settings.seed, equal_norms=equal):
            right = mixture(gaussian_weights(case.distances, variance(case.beta)), case.values)
            q, k, v = case.arrays()
            attended = attention(
                q, k, v, GAUSSIAN, Adaptive(case.beta), scale=1, key_norm_term=not equal, precision=bits
            )
            yield from named(f"attention, {case}", attended.y.values().ravel(), right)
            found = regression(q, k, v, GAUSSIAN, Fixed(_root(1 / case.beta)), precision=bits)
            yield from named(f"regression, {case}", found.y.values().ravel(), right)


def _root(square: Fraction) -> Fraction:
    """The square root of a rational square."""
    return Fraction(isqrt(square.numerator), isqrt(square.denominator))


def _softmax(z: Floats) -> Floats:
    return shares(np.exp(z - z.max(axis=-1, keepdims=True)))


def _norm_break(q: Floats, k: Floats) -> float:
    dots, squares = dots_and_squares(q, k)
    beta = float(q.shape[-1]) ** -0.5
    return mean_variation(_softmax(beta * dots), _softmax(-beta * squares / 2))


def _rule_break(q: Floats, k: Floats, variance: float) -> float:
    _, squares = dots_and_squares(q, k)
    beta = float(q.shape[-1]) ** -0.5
    return mean_variation(_softmax(-beta * squares / 2), _softmax(-squares / (2 * variance)))


def _nearest_break(q: Floats, k: Floats) -> float:
    _, squares = dots_and_squares(q, k)
    nearest = shares((squares == squares.min(axis=-1, keepdims=True)).astype(np.float64))
    return mean_variation(_softmax(-squares * float(q.shape[-1]) ** -0.5 / 2), nearest)


CLAIM = build()
FALSE = (
    FalseVariant("twice the variance", build(lambda beta: 2 / beta)),
    FalseVariant("β for 1/β", build(lambda beta: beta)),
    FalseVariant("the ‖k‖² term is missing for keys of any norm", build(logit=lambda x, _, beta: beta * x)),
    FalseVariant("the whole ‖k‖² for its half", build(logit=lambda x, k, beta: beta * (x - k))),
)
