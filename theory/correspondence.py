"""Common parts of the correspondences: small exact rows, weights by definition, and the size of a break on real heads.

Queries, keys, values and β are dyadic, so that they are the same numbers in float64, in Fractions and in balls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb
from numpy.typing import NDArray

from kernelproof.reference import entmax
from kernelproof.theory.claim import Settings
from kernelproof.theory.evidence.certified import rational
from kernelproof.theory.evidence.draws import ball, least
from kernelproof.theory.real_tensors import load, total_variation
from kernelproof.theory.rows import distances, dot, normalized

Floats = NDArray[np.float64]
ORDERS = tuple(map(Fraction, ("1/2", "1", "3/2", "2", "3", "8", "64")))
SHAPES = ((1, 1), (2, 1), (5, 2), (9, 3), (17, 8))
"""(m, d): the number of keys and the number of dimensions."""
BETAS = tuple(map(Fraction, ("1/4", "1", "4", "9/16")))
"""Dyadic squares, so that the σ = 1/√β of the Gaussian is rational."""

PLANTED = (
    (1, ("1/2", "1/3", "1/6")),
    (1, ("1/4", "1/4", "1/4", "1/4")),
    (2, ("3/5", "4/5")),
    (2, ("2/7", "3/7", "6/7")),
    (2, ("1/2", "1/2", "1/2", "1/2")),
    (3, ("1/2", "2/3", "5/6")),
    (3, ("1/9", "2/3", "8/9")),
    (4, ("30/353", "120/353", "272/353", "315/353")),
)
"""(n, the u_i of the support): rationals with ``Σ u_i^n = 1``, so that p_i = u_i^n and the bandwidth are rational."""


OUT_OF_REACH = (Fraction(13), tuple(map(Fraction, ("-1", "0", "1/2", "2"))), Fraction(-2), Fraction(1))
"""A query and keys on a line, an order n and β at which every key has weight and no bandwidth exists: h² is −117.

−2nτ/β is 117 and below every squared distance, the least of which is 121.
"""


def out_of_reach(settings: Settings) -> tuple[arb, arb]:
    """``−2nτ/β`` by the certified threshold of `OUT_OF_REACH`, and the least weight of its keys."""
    query, keys, order, beta = OUT_OF_REACH
    z = [float(-beta * (query - key) ** 2 / 2) for key in keys]
    found = entmax(z, order=order, precision=settings.precision)
    square = -2 * rational(order) * ball(found.threshold.values()[()]) / rational(beta)
    return square, least([ball(each) for each in found.weights.values()])


@dataclass(frozen=True)
class CorrespondenceCase:
    """One query in R^d with m keys and values in R², all multiples of 1/4, at one β."""

    beta: Fraction
    q: tuple[Fraction, ...]
    keys: tuple[tuple[Fraction, ...], ...]
    values: tuple[tuple[Fraction, ...], ...]

    @property
    def distances(self) -> list[Fraction]:
        """``D_i = ‖q − k_i‖²``."""
        return distances(self.q, self.keys)

    @property
    def scores(self) -> list[float]:
        """``−D_i/2`` as floats, which are exact."""
        return [float(-each / 2) for each in self.distances]

    def logits(self, *, key_norm_term: bool) -> list[float]:
        """``β(q·k_i − ‖k_i‖²/2)`` or ``β q·k_i`` as floats, which are exact."""
        half = Fraction(1, 2) if key_norm_term else Fraction(0)
        return [float(self.beta * (dot(self.q, key) - half * dot(key, key))) for key in self.keys]

    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """q, keys and values with the axes (head, token, coordinate)."""
        q, k, v = (np.array(each, dtype=float) for each in ([[self.q]], [self.keys], [self.values]))
        return q, k, v

    def __str__(self) -> str:
        keys = ", ".join(str(tuple(map(float, key))) for key in self.keys)
        return f"β = {self.beta}, q = {tuple(map(float, self.q))}, keys {keys}"


def cases(seed: int, *, equal_norms: bool = False) -> Iterator[CorrespondenceCase]:
    """One case per shape, cycling through β; with `equal_norms` the keys are one vector, permuted and signed."""
    generator = np.random.default_rng(seed)
    for number, (m, d) in enumerate(SHAPES):
        q, keys = generator.integers(-6, 7, size=(1, d)), generator.integers(-6, 7, size=(m, d))
        if equal_norms:
            keys = np.stack([generator.permutation(keys[0]) * generator.choice((-1, 1), size=d) for _ in range(m)])
        values = generator.integers(-9, 10, size=(m, 2))
        yield CorrespondenceCase(BETAS[number % len(BETAS)], _quarters(q)[0], _quarters(keys), _quarters(values))


def _quarters(array: Any) -> tuple[tuple[Fraction, ...], ...]:
    return tuple(tuple(Fraction(int(x), 4) for x in row) for row in array)


def planted_distances(n: int, bases: Sequence[str], beta: Fraction) -> tuple[Fraction, list[Fraction]]:
    """h² and squared distances with ``(β/2n)(h² − D_i) = u_i`` for the u_i of `bases`, then for 0 and −1.

    The last two are a key at distance h and one outside the ball; the nearest is at squared distance 1/3.
    """
    u = [Fraction(each) for each in (*bases, "0", "-1")]
    square = Fraction(1, 3) + 2 * n * max(u) / beta
    return square, [square - 2 * n * each / beta for each in u]


def truncated_power(base: Any, order: Fraction) -> Any:
    """``[base]₊^n`` for n > 0: a Fraction for a rational base and an integer order, else a ball, even around 0."""
    if not isinstance(base, arb):
        if base <= 0:
            return Fraction(0)
        return base**order.numerator if order.denominator == 1 else rational(base) ** rational(order)
    if base > 0:
        return base ** rational(order)
    top = base.upper()
    return arb(0).union(top ** rational(order)) if top > 0 else arb(0)


def full_logit(x: Any, k: Any, beta: Any) -> Any:
    """``β(q·k − ‖k‖²/2)`` from x = q·k and ‖k‖²; in any arithmetic."""
    return beta * (x - k / 2)


def exact_shares(values: Sequence[Any]) -> list[Any]:
    """`values` ≥ 0 divided by their sum; all 0 if every value is 0, as in an empty ball."""
    return normalized(values) if any(value != 0 for value in values) else list(values)


def compact_weights(squares: Sequence[Any], square: Any, order: Fraction) -> list[Any]:
    """Nadaraya–Watson weights of the kernel of order n < ∞ with h² = `square`, at the squared distances `squares`.

    They are 0 for an empty ball.
    """
    if isinstance(square, arb):
        return exact_shares([truncated_power(1 - ball(each) / square, order) for each in squares])
    powers = [truncated_power(1 - each / square, order) for each in squares]
    return exact_shares(powers if order.denominator == 1 else [ball(each) for each in powers])


def gaussian_weights(squares: Sequence[Any], variance: Any) -> list[arb]:
    """Nadaraya–Watson weights of the Gaussian with σ² = `variance`, at the squared distances `squares`."""
    return normalized([(-ball(each) / (2 * ball(variance))).exp() for each in squares])


def mixture(weights: Sequence[Any], values: Sequence[Sequence[Fraction]]) -> list[Any]:
    """``Σ w_i v_i`` in balls, one per coordinate."""
    return [
        dot([ball(weight) for weight in weights], [ball(v) for v in column]) for column in zip(*values, strict=True)
    ]


def named(name: str, left: Iterable[Any], right: Iterable[Any]) -> Iterator[tuple[str, arb, arb]]:
    """A pair of balls per entry, with the number of the entry in its name."""
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        yield f"{name}, entry {i}", ball(a), ball(b)


def width(settings: Settings) -> float:
    """The relative width that decides a pair of balls.

    A weight of order 1/2 exactly at the threshold keeps half of the bits; half of these are reserved for conditioning.
    """
    return float(2.0 ** -(settings.precision // 4))


def heads(seed: int) -> Iterator[tuple[str, Floats, Floats]]:
    """(name, q, k) as float64 (heads, tokens, d): 12 heads of normal numbers, then every real layer."""
    generator = np.random.default_rng(seed)
    yield "N(0, 1), d = 8", generator.normal(size=(12, 32, 8)), generator.normal(size=(12, 32, 8))
    for layer in load():
        yield f"layer {layer.index} of MiniLM", layer.q.astype(np.float64), layer.k.astype(np.float64)


def breaks(name: str, measure: Callable[[Floats, Floats], float], seed: int) -> dict[str, float | int | str]:
    """The results of `measure` on random and on real heads, to four digits, by name."""
    return {f"{name}, {where}": float(f"{measure(q, k):.4g}") for where, q, k in heads(seed)}


def dots_and_squares(q: Floats, k: Floats) -> tuple[Floats, Floats]:
    """``q·k`` and ``‖q − k‖²``, each (heads, queries, keys)."""
    dots: Floats = np.einsum("htd,hsd->hts", q, k)
    squares: Floats = ((q[:, :, None] - k[:, None]) ** 2).sum(axis=-1)
    return dots, squares


def shares(values: Floats) -> Floats:
    """`values` ≥ 0 divided by their sums along the last axis; a row without mass is NaN."""
    total = values.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(values, total, out=np.full_like(values, np.nan), where=total > 0))


def mean_variation(p: Floats, r: Floats) -> float:
    """The mean total variation over the rows that have weights on both sides."""
    return float(np.nanmean(total_variation(p, r)))


def nearness(logit: Callable[[Any, Any, Any], Any]) -> tuple[tuple[str, Any, Any], ...]:
    """The identities by which logits order the keys by nearness: ``z_i − z_j = (β/2)(D_j − D_i)``."""
    q, k, low = sympy.symbols("Q K K_j", nonnegative=True)
    x, near = sympy.symbols("x x_j", real=True)
    qi, ki = sympy.symbols("q_i k_i", real=True)
    beta = sympy.Symbol("beta", positive=True)
    first, second = logit(x, k, beta), logit(near, low, beta)
    return (
        ("each coordinate of ‖q − k‖²", (qi - ki) ** 2, qi**2 + ki**2 - 2 * qi * ki),
        ("z_i − z_j", first - second, beta / 2 * ((q + low - 2 * near) - (q + k - 2 * x))),
        ("z_i − z_j without ‖k‖²", beta * (x - near), beta / 2 * ((q + k - 2 * near) - (q + k - 2 * x))),
    )
