"""C2: normalized ReLU to the power n is kernel regression of order n with a bandwidth independent of the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np
import sympy
from flint import arb, ctx

from kernelproof.reference import Fixed, Kernel, attention, entmax, regression, weights
from kernelproof.theory import domain as domains
from kernelproof.theory.claim import Assumption, Check, Claim, FalseVariant, Kind, Role, Settings, Variable
from kernelproof.theory.correspondence import (
    ORDERS,
    CorrespondenceCase,
    Floats,
    breaks,
    cases,
    compact_weights,
    dots_and_squares,
    mean_variation,
    mixture,
    named,
    shares,
    truncated_power,
    width,
)
from kernelproof.theory.evidence import certified, exact, symbolic
from kernelproof.theory.evidence.draws import ball
from kernelproof.theory.finding import Finding
from kernelproof.theory.rows import dot, normalized, variation
from kernelproof.theory.statement import Statement

INTEGERS = (1, 2, 3, 7)
Square = Callable[[Any, Any, Any, Any], Any]
Choice = Callable[[Any, Any, Any], tuple[Any, Any]]


def bandwidth_squared(q: Any, k: Any, gamma: Any, b: Any) -> Any:
    """``h² = ‖q‖² + ‖k‖² + 2γb`` from the squares of the two norms; in any arithmetic."""
    return q + k + 2 * gamma * b


def parameters(square: Any, q: Any, k: Any) -> tuple[Any, Any]:
    """``γ = h²/2`` and ``b = 1 − (‖q‖² + ‖k‖²)/h²`` from h² and the squares of the norms; in any arithmetic."""
    return square / 2, 1 - (q + k) / square


def build(square: Square = bandwidth_squared, choice: Choice = parameters) -> Claim:
    """The claim with the bandwidth `square`, and with γ and b by `choice` for a given bandwidth."""

    def algebra(settings: Settings) -> Finding:
        q, k = sympy.symbols("Q K", nonnegative=True)
        x, b = sympy.symbols("x b", real=True)
        gamma, c, n = sympy.symbols("gamma c n", positive=True)
        a, rest = sympy.symbols("a A", positive=True)
        qi, ki = sympy.symbols("q_i k_i", real=True)
        h = square(q, k, gamma, b)
        return symbolic.identities(
            ("each coordinate of ‖q − k‖²", (qi - ki) ** 2, qi**2 + ki**2 - 2 * qi * ki),
            ("the ReLU's argument", x / gamma + b, h / (2 * gamma) * (1 - (q + k - 2 * x) / h)),
            ("a common factor cancels", (c * a) ** n / ((c * a) ** n + (c * rest) ** n), a**n / (a**n + rest**n)),
            given=(h,),
            domain="all n > 0, γ > 0, b, d and keys of equal norm with h² > 0",
            detail="Q = ‖q‖², K = ‖k‖², x = q·k; sums over coordinates and keys are linear, so one of each is enough; "
            "[cx]₊ = c[x]₊ for c = h²/(2γ) > 0, which positive mass implies: h² > D_i ≥ 0 for some i",
            seed=settings.seed,
        )

    def one_bandwidth(settings: Settings) -> Finding:
        h = sympy.Symbol("h", positive=True)
        q, k = sympy.symbols("Q K", nonnegative=True)
        x = sympy.Symbol("x", real=True)
        gamma, b = choice(h**2, q, k)
        return symbolic.identities(
            ("the bandwidth of this γ and b", square(q, k, gamma, b), h**2),
            ("the ReLU's argument", x / gamma + b, 1 - (q + k - 2 * x) / h**2),
            ("γ, which is positive", gamma, h**2 / 2),
            domain="all n > 0, h > 0, d, and queries and keys of any two norms ‖q‖ and R",
            detail="with ‖q‖ the same for all queries, γ and b depend on no query: one h serves all; the argument is "
            "1 − D_i/h² itself, and its positive part is the Epanechnikov kernel (n = 1) at D_i/h²",
            seed=settings.seed,
        )

    def rows(settings: Settings) -> Finding:
        return exact.equal(
            _cases(settings.seed, square), domain=f"24 seeded rows of 6 integer keys of norm 5, n in {INTEGERS}",
            detail="weights from the ReLU and from the kernel of the distances, in rationals",
        )  # fmt: skip

    def oracle(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            return certified.agree(
                _pairs(settings, square, choice),
                domain="seeded cases of 1 to 17 keys of equal norm in 1 to 8 dimensions, n in "
                f"{', '.join(map(str, ORDERS))}",
                width=width(settings),
                detail="certified weights and outputs of the rule with one h against the ReLU with the γ and b of "
                "that h; certified attention without ‖k‖² (a ReLU with b = 1) against the kernel with "
                "h² = ‖q‖² + R² + 2γb",
            )

    def unequal(settings: Settings) -> Finding:
        q, keys = (Fraction(1), Fraction(0)), [(Fraction(2), Fraction(0)), (Fraction(1), Fraction(0))]
        # q·k = (2, 1), D = (1, 0).
        far, near = _relu_weights(q, keys, Fraction(1), Fraction(0), 1)
        return certified.exists(
            "q = (1, 0), keys (2, 0) and (1, 0), γ = n = 1, b = 0: the farther key's weight minus the nearer's",
            ball(far - near),
            domain="two keys of norms 2 and 1; then random and real keys, h² by the mean ‖k‖², rows left empty aside",
            detail="the farther key may have more weight, which no falling kernel of the distance gives it, whatever "
            "its bandwidth",
            numbers=breaks("mean total variation, n = 1", _norm_break, settings.seed),
        )

    def massless(settings: Settings) -> Finding:
        found = square(Fraction(1), Fraction(1), Fraction(1), Fraction(-2))
        return certified.exists(
            "‖q‖ = ‖k‖ = 1, γ = 1, b = −2: −h²",
            -ball(found),
            domain="rows in which every q·k/γ + b ≤ 0; then random and real keys, γ = √d",
            detail="no ball has a negative h²: such rows have no weights to normalize and no kernel",
            numbers=breaks("share of rows without mass, b = −1", _massless_share, settings.seed),
        )

    def query_norms(settings: Settings) -> Finding:
        gamma, b = Fraction(1), Fraction(1)
        near, far = (square(q, Fraction(1), gamma, b) for q in (Fraction(1), Fraction(4)))
        # The query of norm 2 under the bandwidth of the one of norm 1.
        q, keys = (Fraction(2), Fraction(0)), [(Fraction(1), Fraction(0)), (Fraction(0), Fraction(1))]
        return certified.exists(
            f"queries of norm 1 and 2, keys (1, 0) and (0, 1), γ = b = n = 1: h² = {near} and {far}; total "
            "variation of the weights of q = (2, 0) under the two",
            ball(variation(_kernel_weights(q, keys, far, 1), _kernel_weights(q, keys, near, 1))),
            domain="two queries; then random and real ones, each query's h² against one mean h², rows left empty aside",
            detail="the first part of the claim needs no norm of the query; one h for all of them does",
            numbers={
                **breaks("relative spread of h²", _query_spread, settings.seed),
                **breaks("mean total variation from one mean h², n = 1", _query_break, settings.seed),
            },
        )

    def moving(settings: Settings) -> Finding:
        with ctx.workprec(settings.precision):
            found = [_sparse_square(z, settings.precision) for z in ([1.0, 0.0], [0.0, -1.0])]
            difference = abs(found[0] - found[1])
        return certified.exists(
            "unit queries and keys with q·k = (1, 0) and (0, −1), sparsemax's threshold for −b, γ = 1; "
            "difference of h²",
            difference,
            domain="two queries of equal norm; then random and real tensors, queries and keys scaled to norm √d",
            detail="with a threshold that follows the keys, each row is still a kernel's, but its h² is the row's own",
            numbers=breaks("relative spread of h² under sparsemax's threshold", _threshold_spread, settings.seed),
        )

    return Claim(
        id="normalized_relu",
        label="C2",
        title="Normalized ReLU is kernel regression with a fixed bandwidth",
        statement=r"For keys of equal norm $R$, $\gamma > 0$ and any $b$, \[\frac{[q\cdot k_i/\gamma + b]_+^n}"
        r"{\sum_j [q\cdot k_j/\gamma + b]_+^n} = \frac{K_n(\|q-k_i\|^2/h^2)}{\sum_j K_n(\|q-k_j\|^2/h^2)},"
        r"\qquad h^2 = \|q\|^2 + R^2 + 2\gamma b.\] If $\|q\|$ is the same for all queries too, so is $h$; and any "
        r"$h > 0$ is that of \[\gamma = \frac{h^2}{2}, \qquad b = 1 - \frac{\|q\|^2 + R^2}{h^2}.\] "
        r"For $n = 1$ normalized ReLU is thus the Epanechnikov kernel.",
        source="arXiv:2601.22766, normalized ReLU and the Epanechnikov kernel (n = 1); every n > 0: ours",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_i", r"query and $m \ge 1$ keys in $\mathbb{R}^d$"),
            Variable("n", r"order, $0 < n < \infty$"),
            Variable(r"\gamma, b", "scale and bias of the ReLU"),
            Variable("K_n(t)", r"$[1 - t]_+^n$"),
        ),
        assumptions=(
            Assumption("equal key norms", r"$\|k_i\| = R$ for all $i$"),
            Assumption("positive mass", r"$q\cdot k_i/\gamma + b > 0$ for some $i$"),
            Assumption("equal query norms", r"$\|q\|$ is the same for all queries, where one $h$ serves them all"),
            Assumption("rule", r"$\gamma$ and $b$ are the same for all queries, where one $h$ serves them all"),
        ),
        formal=Statement(domains.domain(
            n=domains.positive(),
            gamma=domains.positive(),
            b=domains.real(),
            m=domains.integers(1),
            d=domains.integers(1),
        )),
        argument="‖q − k‖² is a sum over coordinates and each weight a quotient of sums over keys: the identities "
        "are shown for one coordinate, and for one key against the others. That [cx]₊ = c[x]₊ for c > 0, "
        "and that mass implies h² > 0, is said and not computed.",
        checks=(
            Check("algebra", "the argument of the ReLU is $(h^2 - D_i)/(2\\gamma)$", Role.PROOF, algebra),
            Check("one_bandwidth", "every $h$ has its $\\gamma$ and $b$", Role.PROOF, one_bandwidth),
            Check("rational_rows", "both weightings are the same rationals", Role.SUPPORT, rows),
            Check("oracle", "certified weights and outputs agree at every order", Role.SUPPORT, oracle),
            Check(
                "unequal_norms", "with unequal norms they differ", Role.NECESSITY, unequal, drops="equal key norms"
            ),
            Check("no_mass", "without mass there is no such $h$", Role.NECESSITY, massless, drops="positive mass"),
            Check(
                "query_norms", "unequal queries move $h$", Role.NECESSITY, query_norms, drops="equal query norms"
            ),
            Check("moving_threshold", "a moving threshold moves $h$", Role.NECESSITY, moving, drops="rule"),
        ),
    )  # fmt: skip


def _relu_weights(q: Any, keys: Any, gamma: Any, b: Any, n: int) -> list[Any]:
    return normalized([max(dot(q, k) / gamma + b, 0) ** n for k in keys])


def _kernel_weights(q: Any, keys: Any, h2: Any, n: int) -> list[Any]:
    squares = [dot(q, q) - 2 * dot(q, k) + dot(k, k) for k in keys]
    return compact_weights(squares, h2, Fraction(n))


def _cases(seed: int, square: Square) -> Any:
    generator = np.random.default_rng(seed)
    circle = [(3, 4), (4, 3), (5, 0), (0, 5), (-3, 4), (4, -3), (-4, 3), (-5, 0), (3, -4), (0, -5)]
    for number in range(24):
        q = tuple(Fraction(int(x), 4) for x in generator.integers(-12, 13, size=2))
        keys = [tuple(map(Fraction, circle[i])) for i in generator.choice(len(circle), size=6, replace=False)]
        gamma, n = Fraction(int(generator.integers(1, 40)), 8), INTEGERS[number % len(INTEGERS)]
        # Above the negative of the largest argument, so that there is mass, but not so far that every key has weight.
        b = Fraction(int(generator.integers(1, 9)), 4) - max(dot(q, k) for k in keys) / gamma
        h2 = square(dot(q, q), Fraction(25), gamma, b)
        name = f"q = {q}, keys {keys}, γ = {gamma}, b = {b}, n = {n}"
        yield name, _relu_weights(q, keys, gamma, b, n), _kernel_weights(q, keys, h2, n) if h2 > 0 else "no kernel"


def _pairs(settings: Settings, square: Square, choice: Choice) -> Iterator[tuple[str, arb, arb]]:
    bits = settings.precision
    for order in ORDERS:
        kernel = Kernel(order)
        for case in cases(settings.seed, equal_norms=True):
            name, (q, k, v) = f"n = {order}, {case}", case.arrays()
            norms = dot(case.q, case.q), dot(case.keys[0], case.keys[0])
            h = _reaching(case)
            gamma, b = choice(h**2, *norms)
            relu = _relu(case, gamma, b, order)
            found = weights(case.scores, kernel, Fixed(h), precision=bits)
            yield from named(f"fixed rule, {name}, h = {h}", found.weights.values(), relu)
            y = regression(q, k, v, kernel, Fixed(h), precision=bits).y
            yield from named(f"regression, {name}, h = {h}", y.values().ravel(), mixture(relu, case.values))
            # Scores q·k under the fixed rule are [g²/2 + q·k]₊^n: the ReLU with γ = g²/2 and b = 1.
            g = _root_above(max(Fraction(0), -2 * max(dot(case.q, key) for key in case.keys)) + Fraction(5, 4))
            kernel_side = compact_weights(case.distances, square(*norms, g**2 / 2, Fraction(1)), order)
            attended = attention(q, k, v, kernel, Fixed(g), scale=1, precision=bits)
            yield from named(f"attention, {name}, g = {g}", attended.weighting.weights.values().ravel(), kernel_side)


def _relu(case: CorrespondenceCase, gamma: Fraction, b: Fraction, order: Fraction) -> list[Any]:
    powers = [truncated_power(dot(case.q, key) / gamma + b, order) for key in case.keys]
    return normalized([ball(each) for each in powers])


def _reaching(case: CorrespondenceCase) -> Fraction:
    """A bandwidth between the nearest key and the farthest, so that keys lie on both sides of it."""
    return _root_above((min(case.distances) + max(case.distances)) / 2 + Fraction(1, 16))


def _root_above(square: Fraction) -> Fraction:
    """A multiple of 1/16, less than 1/16 above the root of `square`, whose square is at least `square`."""
    return Fraction(isqrt(int(256 * square)) + 1, 16)


def _norm_break(q: Floats, k: Floats) -> float:
    dots, _ = dots_and_squares(q, k)
    gamma = float(np.sqrt(q.shape[-1]))
    # The threshold is one γ below each row's largest logit, so that there is mass.
    argument = (dots - dots.max(axis=-1, keepdims=True)) / gamma + 1
    norms = (k * k).sum(axis=-1)
    # The kernel of D_i with h² from the mean norm: its difference from the ReLU is the effect of ‖k_i‖² − R².
    excess = (norms - norms.mean(axis=-1, keepdims=True)) / (2 * gamma)
    return mean_variation(shares(np.maximum(argument, 0)), shares(np.maximum(argument - excess[:, None, :], 0)))


def _massless_share(q: Floats, k: Floats) -> float:
    dots, _ = dots_and_squares(q, k)
    return float(((dots / np.sqrt(q.shape[-1]) - 1).max(axis=-1) <= 0).mean())


def _unit(x: Floats) -> Floats:
    """The vectors scaled to norm √d."""
    scaled: Floats = x * np.sqrt(x.shape[-1]) / np.linalg.norm(x, axis=-1, keepdims=True)
    return scaled


def _query_squares(q: Floats, k: Floats) -> tuple[Floats, Floats]:
    """D_i for keys scaled to norm √d, and the h² of every query for γ = √d and b = 1."""
    _, squares = dots_and_squares(q, _unit(k))
    d = q.shape[-1]
    h2: Floats = (q * q).sum(axis=-1)[..., None] + d + 2 * float(np.sqrt(d))
    return squares, h2


def _query_spread(q: Floats, k: Floats) -> float:
    _, h2 = _query_squares(q, k)
    return float((h2.std(axis=1) / h2.mean(axis=1)).mean())


def _query_break(q: Floats, k: Floats) -> float:
    squares, h2 = _query_squares(q, k)
    own, mean = (shares(np.maximum(1 - squares / each, 0)) for each in (h2, h2.mean(axis=1, keepdims=True)))
    return mean_variation(own, mean)


def _sparse_square(z: list[float], bits: int) -> arb:
    """``h² = ‖q‖² + R² − 2τ`` of sparsemax on unit queries and keys with dot products z."""
    tau = entmax(z, order=1, precision=bits).threshold.values()
    return 2 - 2 * ball(tau[()])


def _threshold_spread(q: Floats, k: Floats) -> float:
    d = q.shape[-1]
    dots, _ = dots_and_squares(_unit(q), _unit(k))
    # A few queries per head suffice to see the spread.
    z = dots[:, :: max(1, dots.shape[1] // 8)] / np.sqrt(d)
    tau = np.asarray(entmax(z, order=1).threshold.round("float64"), dtype=np.float64)
    h2 = 2 * d - 2 * np.sqrt(d) * tau
    return float((h2.std(axis=1) / h2.mean(axis=1)).mean())


CLAIM = build()
FALSE = (
    FalseVariant("γb counted once", build(lambda q, k, gamma, b: q + k + gamma * b)),
    FalseVariant("the norm of the query is missing", build(lambda _, k, gamma, b: k + 2 * gamma * b)),
    FalseVariant("γ = h²", build(choice=lambda square, q, k: (square, 1 - (q + k) / square))),
    FalseVariant("b without the norm of the keys", build(choice=lambda square, q, _: (square / 2, 1 - q / square))),
)
