"""C7: top-k uniform attention is kernel regression of order 0: the mean of the k nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import combinations_with_replacement
from math import isqrt
from typing import Any

import numpy as np
import sympy

from kernelproof.reference import Fixed, Kernel, Nearest, attention, mechanism, regression, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.correspondence import (
    Floats,
    breaks,
    cases,
    dots_and_squares,
    exact_shares,
    full_logit,
    mean_variation,
    nearness,
    shares,
)
from kernelproof.theory.evidence import certified, exact, symbolic
from kernelproof.theory.evidence.draws import ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import dot, variation
from kernelproof.theory.statement import Statement

KEPT = (1, 2, 4, 8, 32)
UNIFORM = Kernel(0)
Radius = Callable[[Any, Any, Any], Any]


def radius_squared(kth: Any, gap: Any, part: Any) -> Any:
    """``h² = D_(k) + θ(D_(k+1) − D_(k))`` for θ in [0, 1); in any arithmetic."""
    return kth + part * gap


def build(
    radius: Radius = radius_squared,
    share: Callable[[Any], Any] = lambda k: 1 / k,
    logit: Callable[[Any, Any, Any], Any] = full_logit,
) -> Claim:
    """The claim with this radius, this weight of a kept key, and these logits."""

    def order(settings: Settings) -> Finding:
        return symbolic.identities(
            *nearness(logit),
            domain="all β > 0, m and d; without ‖k‖² in the logits: keys of equal norm",
            detail="z_i − z_j = (β/2)(D_j − D_i): the k largest logits are those of the k nearest keys",
            seed=settings.seed,
        )

    def inside(settings: Settings) -> Finding:
        kth, excess, s = sympy.symbols("D_k e s", nonnegative=True)
        gap = sympy.Symbol("g", positive=True)
        h2 = radius(kth, gap, s / (1 + s))
        return symbolic.positive(
            ("h² − D_i for i among the k nearest", sympy.factor(h2 - (kth - excess))),
            domain="all D_(k) ≥ 0, gaps g = D_(k+1) − D_(k) > 0, θ = s/(1 + s) in [0, 1) and D_i = D_(k) − e, e ≥ 0",
            detail="so the k nearest keys are in the closed ball, where the kernel of order 0 is 1",
            seed=settings.seed,
            strict=False,
        )

    def outside(settings: Settings) -> Finding:
        kth, excess, s = sympy.symbols("D_k e s", nonnegative=True)
        gap = sympy.Symbol("g", positive=True)
        h2 = radius(kth, gap, s / (1 + s))
        return symbolic.positive(
            ("D_i − h² for the other keys", sympy.factor(kth + gap + excess - h2)),
            domain="all D_(k) ≥ 0, gaps g = D_(k+1) − D_(k) > 0, θ = s/(1 + s) in [0, 1) and D_i = D_(k+1) + e, e ≥ 0",
            detail="so the others are outside, where it is 0; if there are none, any h that reaches all keys will do",
            seed=settings.seed,
        )

    def normalizes(settings: Settings) -> Finding:
        k, i = sympy.symbols("k i", integer=True, positive=True)
        return symbolic.identities(
            ("1 over the sum of k ones", 1 / sympy.summation(sympy.Integer(1), (i, 1, k)), share(k)),
            domain="all k ≥ 1 (k the number of keys, where there are fewer)",
            detail="each kept key's weight",
            seed=settings.seed,
        )

    def exhaustive(settings: Settings) -> Finding:
        return exact.equal(
            _small(settings, radius, share),
            domain="all rows of 1 to 5 distances from {0, 1, 2, 3}, every k without a tie at D_(k), θ = 0, 1/2 and 7/8",
            detail="certified weights of the rule, the kernel of order 0 with this h, and 1/k",
        )

    def outputs(settings: Settings) -> Finding:
        return exact.equal(
            _outputs(settings, radius),
            domain="seeded cases of 1 to 17 keys in 1 to 8 dimensions without a tie at the k-th distance, "
            f"k in {', '.join(map(str, KEPT))}",
            detail="weights and outputs of attention, of regression with the k nearest and of regression with one h",
        )

    def tied(settings: Settings) -> Finding:
        squares, k = [Fraction(0), Fraction(1), Fraction(1)], 2
        found = weights([-float(each) / 2 for each in squares], UNIFORM, Nearest(k), precision=settings.precision)
        kept = list(map(Fraction, found.weights.values()))
        return certified.exists(
            "D = (0, 1, 1), k = 2; total variation of the certified weights and the kernel with h² = D_(2)",
            ball(variation(kept, _uniform(squares, squares[1]))),
            domain="one row; then random and real keys, whose distances are hardly ever tied",
            detail="the ball holds all tied keys, the rule exactly k: no h gives two of three weights 1/2",
            numbers=breaks("share of rows tied at k = 8", _tied_share, settings.seed),
        )

    def unequal(settings: Settings) -> Finding:
        # q = (1, 0), keys (2, 0) and (1, 0): q·k = (2, 1), D = (1, 0).
        found = weights([2.0, 1.0], UNIFORM, Nearest(1), precision=settings.precision).weights.values()
        far, near = map(Fraction, found)
        return certified.exists(
            "q = (1, 0), keys (2, 0) and (1, 0), k = 1: the farther key's weight minus the nearer's",
            ball(far - near),
            domain="two keys; then random and real keys, k = 8",
            detail="the k largest q·k are then not the k nearest keys",
            numbers=breaks("mean total variation without ‖k‖², k = 8", _norm_break, settings.seed),
        )

    return Claim(
        id="topk_uniform",
        label="C7",
        title="Top-k uniform attention is regression on nearest neighbours",
        statement=r"Let $D_{(1)} \le D_{(2)} \le \dots$ be the sorted $\|q-k_i\|^2$, and $N$ the $k$ keys of the "
        r"largest logits $z_i = \beta(q\cdot k_i - \|k_i\|^2/2)$, or $z_i = \beta\,q\cdot k_i$ if all $\|k_i\|$ are "
        r"equal. If $D_{(k)} < D_{(k+1)}$, then for every $h > 0$ with $D_{(k)} \le h^2 < D_{(k+1)}$ "
        r"\[\frac{1}{k}\,[i \in N] = \frac{K_0(\|q-k_i\|^2/h^2)}{\sum_j K_0(\|q-k_j\|^2/h^2)};\] with $m \le k$ keys, "
        r"for every $h > 0$ with $h^2 \ge D_{(m)}$ and with $1/m$.",
        source="arXiv:2601.22766, top-k uniform attention; nearest neighbours as a kernel of order 0: Loftsgaarden & "
        "Quesenberry, A nonparametric estimate of a multivariate density function, Ann. Math. Stat. 36, 1965",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_i", r"query and $m \ge 1$ keys in $\mathbb{R}^d$"),
            Variable("k", r"how many keys are kept, $k \ge 1$"),
            Variable("K_0(t)", r"1 for $t \le 1$, else 0: the uniform kernel on the closed ball"),
            Variable("h", "radius of the ball"),
        ),
        assumptions=(
            Assumption("equal key norms", r"$\|k_i\| = R$ for all $i$, where the logits leave out $\|k_i\|^2/2$"),
            Assumption("no tie", r"$D_{(k)} < D_{(k+1)}$"),
        ),
        formal=Statement(domains.domain(m=domains.integers(1), d=domains.integers(1), k=domains.integers(1))),
        argument="That the k nearest keys are those inside the ball and all others outside follows for each key "
        "from the two signs, which are shown for one key of each kind.",
        checks=(
            Check("order", "logits order the keys as nearness does", Role.PROOF, order),
            Check("inside", "the $k$ nearest keys are in the ball", Role.PROOF, inside),
            Check("outside", "the others are not", Role.PROOF, outside),
            Check("normalizes", "each weight is $1/k$", Role.PROOF, normalizes),
            Check("exhaustive", "all small rows, in rationals", Role.SUPPORT, exhaustive),
            Check("outputs", "outputs are the mean of the kept values", Role.SUPPORT, outputs),
            Check("ties", "a tie breaks it", Role.NECESSITY, tied, drops="no tie"),
            Check("unequal_norms", "unequal norms break it", Role.NECESSITY, unequal, drops="equal key norms"),
        ),
    )


def _uniform(squares: Sequence[Fraction], h2: Fraction) -> list[Fraction]:
    """Weights of the kernel of order 0 with h², which are equal in the closed ball."""
    return exact_shares([Fraction(int(each <= h2)) for each in squares])


def _ends(squares: Sequence[Fraction], k: int) -> tuple[Fraction, Fraction] | None:
    """``D_(k)`` and the gap to the next distance, 1 if there is none; None if they are tied."""
    ordered = sorted(squares)
    kth = ordered[min(k, len(ordered)) - 1]
    gap = ordered[k] - kth if k < len(ordered) else Fraction(1)
    return (kth, gap) if gap else None


def _small(settings: Settings, radius: Radius, share: Any) -> Iterator[tuple[str, Any, Any]]:
    for m in range(1, 6):
        for row in combinations_with_replacement(range(4), m):
            squares = list(map(Fraction, row))
            for k in range(1, m + 2):
                ends = _ends(squares, k)
                if ends is None:
                    continue
                scores = [-float(each) / 2 for each in squares]
                found = weights(scores, *mechanism("topk_uniform", k=k), precision=settings.precision)
                kept = list(map(Fraction, found.weights.values()))
                name = f"D = {row}, k = {k}"
                yield f"{name}: 1/k", max(kept), share(Fraction(min(k, m)))
                for part in (Fraction(0), Fraction(1, 2), Fraction(7, 8)):
                    h2 = radius(*ends, part)
                    yield f"{name}, h² = {h2}", kept, _uniform(squares, h2)


def _outputs(settings: Settings, radius: Radius) -> Iterator[tuple[str, Any, Any]]:
    bits = settings.precision
    for equal in (False, True):
        for case in cases(settings.seed, equal_norms=equal):
            for count in KEPT:
                ends = _ends(case.distances, count)
                if ends is None:
                    continue
                h2 = radius(*ends, Fraction(0))
                expected = _uniform(case.distances, h2)
                mean = [dot(expected, column) for column in zip(*case.values, strict=True)]
                name, (q, k, v) = f"k = {count}, {case}", case.arrays()
                rule = Nearest(count)
                attended = attention(q, k, v, UNIFORM, rule, scale=1, key_norm_term=not equal, precision=bits)
                yield f"attention, {name}", _fractions(attended.weighting.weights), expected
                yield f"outputs of attention, {name}", _fractions(attended.y), mean
                near = regression(q, k, v, UNIFORM, rule, precision=bits)
                yield f"outputs of the nearest, {name}", _fractions(near.y), mean
                held = _held(ends)
                within = regression(q, k, v, UNIFORM, Fixed(held), precision=bits)
                yield f"outputs with h = {held}, {name}", _fractions(within.y), mean


def _fractions(enclosure: Any) -> list[Fraction]:
    return [Fraction(each) for each in enclosure.values().ravel()]


def _held(ends: tuple[Fraction, Fraction]) -> Fraction:
    """A rational h > 0 with D_(k) ≤ h² < D_(k+1): the root itself if it is a multiple of 1/4, as in one dimension."""
    kth, gap = ends
    root = Fraction(isqrt(int(16 * kth)), 4)
    if root and root**2 == kth:
        return root
    # Distances are multiples of 1/16 below 2^10, so a step of 2^-16 moves the square by less than a gap.
    held = Fraction(isqrt(int(2**32 * kth)) + 1, 2**16)
    if not kth <= held**2 < kth + gap:
        msg = f"no bandwidth between {kth} and {kth + gap}"
        raise ArithmeticError(msg)
    return held


def _logits(q: Floats, k: Floats) -> tuple[Floats, Floats]:
    dots, squares = dots_and_squares(q, k)
    return dots, -squares / 2


def _norm_break(q: Floats, k: Floats) -> float:
    p, r = (shares((z >= np.sort(z, axis=-1)[..., -8:-7]).astype(np.float64)) for z in _logits(q, k))
    return mean_variation(p, r)


def _tied_share(q: Floats, k: Floats) -> float:
    ordered = np.sort(_logits(q, k)[1], axis=-1)
    return float((ordered[..., -8] == ordered[..., -9]).mean())


CLAIM = build()
FALSE = (
    FalseVariant(
        "a radius up to the next key, which is then inside", build(lambda kth, gap, part: kth + (1 + part) * gap)
    ),
    FalseVariant("half of the squared radius", build(lambda kth, gap, part: (kth + part * gap) / 2)),
    FalseVariant("shares of 1/(k + 1)", build(share=lambda k: 1 / (k + 1))),
    FalseVariant("the ‖k‖² term is missing for keys of any norm", build(logit=lambda x, _, beta: beta * x)),
)
