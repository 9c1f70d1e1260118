"""C2: normalized ReLU to the power n is kernel regression of order n with one bandwidth per query."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb

from kernelproof.theory.claim import Assumption, Check, Claim, Kind, Role, Settings, Variable, Variant
from kernelproof.theory.evidence import certified, exact, symbolic
from kernelproof.theory.finding import Finding
from kernelproof.theory.real_tensors import Layer, load
from kernelproof.theory.rows import distances, dot, normalized, variation

ORDERS = (1, 2, 3, 7)


def bandwidth_squared(q: Any, k: Any, gamma: Any, b: Any) -> Any:
    """``h² = ‖q‖² + ‖k‖² + 2γb`` from the squares of the two norms; in any arithmetic."""
    return q + k + 2 * gamma * b


def build(square: Callable[[Any, Any, Any, Any], Any] = bandwidth_squared) -> Claim:
    """The claim with the bandwidth that `square` gives."""

    def algebra(settings: Settings) -> Finding:
        q, k, x, b = sympy.symbols("Q K x b", real=True)
        gamma, c, n = sympy.symbols("gamma c n", positive=True)
        a, rest = sympy.symbols("a A", positive=True)
        qi, ki = sympy.symbols("q_i k_i", real=True)
        h = square(q, k, gamma, b)
        return symbolic.identities(
            ("each coordinate of ‖q − k‖²", (qi - ki) ** 2, qi**2 + ki**2 - 2 * qi * ki),
            ("the ReLU's argument", x / gamma + b, h / (2 * gamma) * (1 - (q + k - 2 * x) / h)),
            ("a common factor cancels", (c * a) ** n / ((c * a) ** n + (c * rest) ** n), a**n / (a**n + rest**n)),
            domain="all n > 0, γ > 0, b, d and keys of equal norm with h² > 0",
            detail="Q = ‖q‖², K = ‖k‖², x = q·k; sums over coordinates and keys are linear, so one of each is enough; "
            "[cx]₊ = c[x]₊ for c = h²/(2γ) > 0, which positive mass implies: h² > D_i ≥ 0 for some i",
            seed=settings.seed,
        )

    def rows(settings: Settings) -> Finding:
        return exact.equal(
            _cases(settings.seed, square), domain=f"24 seeded rows of 6 integer keys of norm 5 or 25, n in {ORDERS}",
            detail="weights from the ReLU and from the kernel of the distances, in rationals",
        )  # fmt: skip

    def unequal(settings: Settings) -> Finding:
        q, gamma, b = (Fraction(1), Fraction(0)), Fraction(1), Fraction(1)
        keys = [(Fraction(1), Fraction(0)), (Fraction(0), Fraction(2))]
        # The bandwidth that the first key's norm gives is not the one of the second.
        with_norms = _kernel_weights(q, keys, square(Fraction(1), Fraction(1), gamma, b), 1)
        break_ = variation(_relu_weights(q, keys, gamma, b, 1), with_norms)
        return certified.exists(
            "q = (1, 0), keys (1, 0) and (0, 2), γ = b = n = 1; total variation of the two weightings",
            arb(break_.numerator) / break_.denominator,
            domain="two keys of norms 1 and 2; then random and real keys",
            detail="the bandwidth taken from the mean of ‖k‖²",
            numbers=_breaks(settings.seed),
        )

    def massless(settings: Settings) -> Finding:
        found = square(Fraction(1), Fraction(1), Fraction(1), Fraction(-2))
        return certified.exists(
            "‖q‖ = ‖k‖ = 1, γ = 1, b = −2: −h²",
            -arb(int(found)),
            domain="rows in which every q·k/γ + b ≤ 0",
            detail="no ball has a negative h²: such rows have no weights to normalize and no kernel",
        )

    return Claim(
        id="normalized_relu",
        label="C2",
        title="Normalized ReLU is kernel regression with a fixed bandwidth",
        statement=r"For keys of equal norm $R$, $\gamma > 0$ and any $b$, \[\frac{[q\cdot k_i/\gamma + b]_+^n}"
        r"{\sum_j [q\cdot k_j/\gamma + b]_+^n} = \frac{K_n(\|q-k_i\|^2/h^2)}{\sum_j K_n(\|q-k_j\|^2/h^2)},"
        r"\qquad h^2 = \|q\|^2 + R^2 + 2\gamma b.\]",
        source="arXiv:2601.22766, normalized ReLU and the Epanechnikov kernel (n = 1); every n > 0: ours",
        kind=Kind.THEOREM,
        variables=(
            Variable("q, k_i", r"query and keys in $\mathbb{R}^d$"),
            Variable("n", "order, $n > 0$"),
            Variable("K_n(t)", r"$[1 - t]_+^n$"),
        ),
        assumptions=(
            Assumption("equal key norms", r"$\|k_i\| = R$ for all $i$"),
            Assumption("positive mass", r"$q\cdot k_i/\gamma + b > 0$ for some $i$"),
        ),
        checks=(
            Check("algebra", "the argument of the ReLU is $(h^2 - D_i)/(2\\gamma)$", Role.PROOF, algebra),
            Check("rational_rows", "both weightings are the same rationals", Role.SUPPORT, rows),
            Check("unequal_norms", "with unequal norms they differ", Role.NECESSITY, unequal, drops="equal key norms"),
            Check("no_mass", "without mass there is no such $h$", Role.NECESSITY, massless, drops="positive mass"),
        ),
    )


def _relu_weights(q: Any, keys: Any, gamma: Any, b: Any, n: int) -> list[Any]:
    return normalized([max(dot(q, k) / gamma + b, 0) ** n for k in keys])


def _kernel_weights(q: Any, keys: Any, h2: Any, n: int) -> list[Any]:
    return normalized([max(1 - distance / h2, 0) ** n for distance in distances(q, keys)])


def _cases(seed: int, square: Callable[[Any, Any, Any, Any], Any]) -> Any:
    generator = np.random.default_rng(seed)
    circle = [(3, 4), (4, 3), (5, 0), (0, 5), (-3, 4), (4, -3), (-4, 3), (-5, 0), (3, -4), (0, -5)]
    for number in range(24):
        q = tuple(Fraction(int(x), 4) for x in generator.integers(-12, 13, size=2))
        keys = [tuple(map(Fraction, circle[i])) for i in generator.choice(len(circle), size=6, replace=False)]
        gamma, n = Fraction(int(generator.integers(1, 40)), 8), ORDERS[number % len(ORDERS)]
        # Above the largest argument's negative, so that there is mass; not so far that every key has weight.
        b = Fraction(int(generator.integers(1, 9)), 4) - max(dot(q, k) for k in keys) / gamma
        h2 = square(dot(q, q), Fraction(25), gamma, b)
        name = f"q = {q}, keys {keys}, γ = {gamma}, b = {b}, n = {n}"
        yield name, _relu_weights(q, keys, gamma, b, n), _kernel_weights(q, keys, h2, n) if h2 > 0 else None


def _breaks(seed: int) -> dict[str, float | int | str]:
    """Mean total variation, n = 1, of using one R for keys of unequal norm: random keys, then each real layer."""
    generator = np.random.default_rng(seed)
    q, k = generator.normal(size=(12, 32, 8)), generator.normal(size=(12, 32, 8))
    named = [("N(0, 1) keys, d = 8", q, k)]
    named += [(f"layer {layer.index} of MiniLM", *_heads(layer)) for layer in load()]
    return {f"mean total variation, {name}": round(_break(q, k), 4) for name, q, k in named}


def _heads(layer: Layer) -> tuple[Any, Any]:
    return layer.q.astype(np.float64), layer.k.astype(np.float64)


def _break(q: Any, k: Any) -> float:
    gamma = float(np.sqrt(q.shape[-1]))
    dots = np.einsum("htd,hsd->hts", q, k)
    # b puts the threshold one γ below the largest logit, so that every row has mass.
    relu = np.maximum(dots / gamma - dots.max(-1, keepdims=True) / gamma + 1, 0)
    norms = (k * k).sum(-1)
    # The kernel of D_i with h² from the mean norm: the difference to the ReLU is what ‖k_i‖² − R² does.
    kernel = np.maximum(relu - ((norms - norms.mean(-1, keepdims=True)) / (2 * gamma))[:, None, :], 0)
    rows = kernel.sum(-1) > 0
    p, r = relu[rows] / relu[rows].sum(-1, keepdims=True), kernel[rows] / kernel[rows].sum(-1, keepdims=True)
    return float(np.abs(p - r).sum(-1).mean() / 2)


CLAIM = build()
FALSE = (
    Variant("γb counted once", build(lambda q, k, gamma, b: q + k + gamma * b)),
    Variant("the norm of the query is missing", build(lambda _, k, gamma, b: k + 2 * gamma * b)),
)
