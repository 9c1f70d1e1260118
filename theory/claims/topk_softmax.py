"""C6: top-k softmax is kernel regression on the k nearest keys with the Gaussian, of variance 1/β."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx

from kernelproof.reference import Adaptive, Kernel, Nearest, attention, mechanism, regression, weights
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
    nearness,
    shares,
    width,
)
from kernelproof.theory.evidence import certified, exact, symbolic
from kernelproof.theory.evidence.draws import ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement

KEPT = (1, 2, 4, 8, 32)
GAUSSIAN = Kernel(inf)
TIES = ((0.0, -1.0, -1.0, -1.0, -3.0), (-2.0, -2.0), (-0.5, 0.0, 0.0, -0.5, -0.5, -4.0))


def gaussian_variance(beta: Any) -> Any:
    """``σ² = 1/β``; in any arithmetic."""
    return 1 / beta


def every_share(kept: Any, left: Any) -> Any:
    """The divisor of the kept keys' weights, from the sums over the kept keys and over those left out."""
    del left
    return kept


def nearest(squares: Sequence[Any], k: int) -> list[int]:
    """The k keys of smallest distance; among ties, the first."""
    return sorted(range(len(squares)), key=lambda i: (squares[i], i))[:k]


def build(
    variance: Callable[[Any], Any] = gaussian_variance,
    total: Callable[[Any, Any], Any] = every_share,
    choose: Callable[[Sequence[Any], int], list[int]] = nearest,
    logit: Callable[[Any, Any, Any], Any] = full_logit,
) -> Claim:
    """The claim with this variance, this normalizer, these kept keys, and these logits."""

    def order(settings: Settings) -> Finding:
        return symbolic.identities(
            *nearness(logit),
            domain="all β > 0, m, d and k; without ‖k‖² in the logits: keys of equal norm",
            detail="z_i − z_j = (β/2)(D_j − D_i): the logits order the keys as nearness does, ties included, so "
            "every admissible choice of k largest logits is one of k nearest keys and the other way round",
            seed=settings.seed,
        )

    def algebra(settings: Settings) -> Finding:
        d, c = sympy.symbols("D c", real=True)
        beta, a, kept, left = sympy.symbols("beta a A B", positive=True)
        factor = sympy.exp(c)
        return symbolic.identities(
            ("the logit, up to a constant", -beta * d / 2, -d / (2 * variance(beta))),
            ("the constant cancels", factor * a / total(factor * kept, factor * left), a / kept),
            ("so does the softmax of all keys", (a / (kept + left)) / (kept / (kept + left)), a / total(kept, left)),
            domain="all β > 0, m, d and k",
            detail="a is a kept key's exp(−D_i/(2σ²)), A the sum over the kept keys and B that over the others: "
            "softmax of the kept logits and the kept part of softmax, renormalized, are both a/A",
            seed=settings.seed,
        )

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _pairs(settings, variance, choose),
                domain="seeded cases of 1 to 17 keys in 1 to 8 dimensions without a tie at the k-th distance, "
                f"k in {', '.join(map(str, KEPT))}",
                width=width(settings),
                detail="certified weights and outputs of the rule, of attention and of regression against the Gaussian "
                "of the k least distances",
            )

    def ties(settings: Settings) -> Finding:
        return exact.holds(
            _tied(settings),
            domain="three rows with ties, every k",
            detail="the support is an admissible choice of k nearest keys, and is called unsure exactly where "
            "there are others",
        )

    def unequal(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            # q = (1, 0), keys (2, 0), (1, 0), (3/2, 0): q·k = (2, 1, 3/2), D = (1, 0, 1/4); the nearest is left out.
            found = weights([2.0, 1.0, 1.5], GAUSSIAN, Nearest(2), precision=settings.precision).weights.values()
            margin = ball(found[0]) - ball(found[1])
        return certified.exists(
            "q = (1, 0), keys (2, 0), (1, 0) and (3/2, 0), β = 1, k = 2: the farthest key's weight minus the nearest's",
            margin,
            domain="three keys; then random and real keys, k = 8, β = 1/√d",
            detail="the k largest q·k are then not the k nearest keys",
            numbers={
                **breaks("mean total variation without ‖k‖², k = 8", _norm_break, settings.seed),
                **breaks("mean share of the kept keys that are none of the nearest, k = 8", _wrong_keys, settings.seed),
            },
        )

    return Claim(
        id="topk_softmax",
        label="C6",
        title="Top-k softmax is Gaussian regression on the k nearest keys",
        statement=r"For $\beta > 0$ and logits $z_i = \beta(q\cdot k_i - \|k_i\|^2/2)$, or $z_i = \beta\,q\cdot k_i$ "
        r"if all $\|k_i\|$ are equal, the $k$ largest logits are those of the $k$ nearest keys $N$, and for $i \in N$ "
        r"\[\frac{e^{z_i}}{\sum_{j \in N} e^{z_j}} = \frac{\exp(-\|q-k_i\|^2/(2\sigma^2))}"
        r"{\sum_{j \in N} \exp(-\|q-k_j\|^2/(2\sigma^2))}, \qquad \sigma^2 = \frac{1}{\beta};\] the others have "
        r"weight 0. Where the $k$-th distance is tied, each choice of $N$ is one for both sides.",
        source="arXiv:2601.22766, top-k softmax and nearest neighbours",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_i", r"query and $m \ge 1$ keys in $\mathbb{R}^d$"),
            Variable("k", r"how many keys are kept, $k \ge 1$; all of them if $m \le k$"),
            Variable(r"\beta", r"inverse temperature, $\beta > 0$"),
        ),
        assumptions=(
            Assumption("equal key norms", r"$\|k_i\| = R$ for all $i$, where the logits leave out $\|k_i\|^2/2$"),
        ),
        formal=Statement(
            domains.domain(beta=domains.positive(), m=domains.integers(1), d=domains.integers(1), k=domains.integers(1))
        ),
        argument="That two rows in the same order have the same k first keys, and that the identities for one kept "
        "key against the sums over the others hold for every kept key, is said.",
        checks=(
            Check("order", "logits order the keys as nearness does", Role.PROOF, order),
            Check("algebra", "the kept keys' weights are the Gaussian's", Role.PROOF, algebra),
            Check("oracle", "certified weights and outputs agree", Role.SUPPORT, oracle),
            Check("ties", "at a tied $k$-th distance the choice is admissible", Role.SUPPORT, ties),
            Check("unequal_norms", "unequal norms break it", Role.NECESSITY, unequal, drops="equal key norms"),
        ),
    )


def spread_out(kept: Sequence[int], values: Sequence[Any], m: int) -> list[Any]:
    """`values` at the keys `kept`, 0 elsewhere."""
    at = dict(zip(kept, values, strict=True))
    return [at.get(i, Fraction(0)) for i in range(m)]


def _pairs(settings: Settings, variance: Any, choose: Any) -> Iterator[tuple[str, arb, arb]]:
    bits = settings.precision
    for equal in (False, True):
        for case in cases(settings.seed, equal_norms=equal):
            q, k, v = case.arrays()
            squares = case.distances
            for count in KEPT:
                ordered = sorted(squares)
                if count < len(squares) and ordered[count - 1] == ordered[count]:
                    continue
                kept = choose(squares, count)
                gauss = gaussian_weights([squares[i] for i in kept], variance(case.beta))
                right = spread_out(kept, gauss, len(squares))
                name, (kernel, rule) = f"k = {count}, {case}", mechanism("topk_softmax", k=count)
                z = case.logits(key_norm_term=not equal)
                yield from named(f"rule, {name}", weights(z, kernel, rule, precision=bits).weights.values(), right)
                scaled = Nearest(count, Adaptive(case.beta))
                attended = attention(q, k, v, GAUSSIAN, scaled, scale=1, key_norm_term=not equal, precision=bits)
                yield from named(f"attention, {name}", attended.y.values().ravel(), mixture(right, case.values))
                y = regression(q, k, v, GAUSSIAN, scaled, precision=bits).y
                yield from named(f"regression, {name}", y.values().ravel(), mixture(right, case.values))


def admissible(scores: Sequence[float], support: Sequence[bool], k: int) -> bool:
    """Whether `support` has k keys (all, if there are fewer) and no key outside has a larger score."""
    inside = [score for score, there in zip(scores, support, strict=True) if there]
    outside = [score for score, there in zip(scores, support, strict=True) if not there]
    return len(inside) == min(k, len(scores)) and (not outside or max(outside) <= min(inside))


def _tied(settings: Settings) -> Iterator[tuple[str, bool]]:
    for scores in TIES:
        for k in range(1, len(scores) + 2):
            found = weights(list(scores), GAUSSIAN, Nearest(k), precision=settings.precision)
            ordered = sorted(scores, reverse=True)
            others = k < len(scores) and ordered[k - 1] == ordered[k]
            yield f"scores {scores}, k = {k}: support", admissible(scores, found.support.tolist(), k)
            yield f"scores {scores}, k = {k}: unsure", bool(found.unsure) == others


def _kept(z: Floats) -> Any:
    """The 8 largest of each row, as booleans."""
    return z >= np.sort(z, axis=-1)[..., -8:-7]


def _logits(q: Floats, k: Floats) -> tuple[Floats, Floats]:
    dots, squares = dots_and_squares(q, k)
    beta = float(q.shape[-1]) ** -0.5
    return beta * dots, -beta * squares / 2


def _norm_break(q: Floats, k: Floats) -> float:
    p, r = (shares(np.where(_kept(z), np.exp(z - z.max(axis=-1, keepdims=True)), 0)) for z in _logits(q, k))
    return mean_variation(p, r)


def _wrong_keys(q: Floats, k: Floats) -> float:
    without, within = map(_kept, _logits(q, k))
    return float((without & ~within).sum(axis=-1).mean() / 8)


CLAIM = build()
FALSE = (
    FalseVariant("twice the variance", build(variance=lambda beta: 2 / beta)),
    FalseVariant("normalized over all keys", build(total=lambda kept, left: kept + left)),
    FalseVariant("one key more", build(choose=lambda squares, k: nearest(squares, k + 1))),
    FalseVariant("the farthest keys", build(choose=lambda squares, k: nearest([-each for each in squares], k))),
    FalseVariant("the ‖k‖² term is missing for keys of any norm", build(logit=lambda x, _, beta: beta * x)),
)
