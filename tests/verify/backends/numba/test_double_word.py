"""The second stage of correct rounding: its bounds against MPFR, and what it decides."""

from __future__ import annotations

from typing import Any

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpfr

from kernelproof.reference import bulk
from kernelproof.verify.backends.numba.elementary_functions import BLOCK
from kernelproof.verify.backends.numba.llvm import SLACK
from kernelproof.verify.backends.numba.proved import double_word
from kernelproof.verify.backends.numba.proved.double_word import (
    INVERSE,
    R_HIGH,
    R_LOW,
    ROWS,
    bases,
    compared,
    finite_error,
    gaussian_error,
    gaussians,
    masses,
    raised,
    resolve,
)

BITS = 300
SIZES = ((2, 0.5), (9, 2.0), (300, 3.0), (2500, 1.0))


def near_root(scores: Any, n: float) -> float:
    """1/γ nearly, by bisection in float64."""
    gaps = np.float64(scores.max()) - scores
    low, high = 0.5 * n * len(scores) ** (-1 / n), n
    for _ in range(60):
        reach = (low + high) / 2
        mass = (np.maximum(reach - gaps, 0) / n) ** n
        low, high = (low, reach) if mass.sum() > 1 else (reach, high)
    return 1 / float(low)


def exact_weights(scores: Any, n: float) -> list[Any]:
    """Weights in BITS bits, by Newton from float64; the caller holds the context."""
    top = mpfr(float(scores.max()))
    gaps = [top - mpfr(float(score)) for score in scores]
    if n == np.inf:
        terms = [gmpy2.exp(-gap) for gap in gaps]
        total = gmpy2.fsum(terms)
        return [term / total for term in terms]
    order, reach = mpfr(n), 1 / mpfr(near_root(scores, n))
    for _ in range(8):
        inside = [max(reach - gap, mpfr(0)) / order for gap in gaps]
        reach += (1 - gmpy2.fsum([u**order for u in inside])) / gmpy2.fsum([u ** (order - 1) for u in inside if u > 0])
    return [(max(reach - gap, mpfr(0)) / order) ** order for gap in gaps]


def excesses(scores: Any, n: float) -> list[tuple[float, float]]:
    """The error of ``r(1 + τ)/N − M`` over r/N, and its bound, for the first keys that have weight."""
    top, count, found = float(scores.max()), len(scores), []
    room = np.empty((ROWS, BLOCK))
    inverse = 1.0 if n == np.inf else near_root(scores, n)
    norm, low, slope = masses(scores, count, top, inverse, n, room)
    change, nearness, fraction = 0.0, 0.0, 1.0
    if n < np.inf:
        nearest, fraction = room[double_word.CLOSEST].min(), slope / norm
        total, total_low = norm, low
        room[double_word.HIGH, 0] = n * inverse
        with gmpy2.context(precision=BITS):
            room[double_word.LOW, 0] = float(mpfr(n) * mpfr(inverse) - mpfr(n * inverse))
        raised(room, 1, n)
        norm, low = room[R_HIGH, 0], room[R_LOW, 0]
        change = ((norm - total) + (low - total_low)) / slope
        nearness = abs(change) / nearest
        if nearness > double_word.NEAR:
            return []
    with gmpy2.context(gmpy2.get_context(), precision=BITS, emin=-100000, emax=100000):
        truth = exact_weights(scores, n)
        for i in [i for i in range(count) if truth[i] > 2.0**-140][:20]:
            if n == np.inf:
                gaussians(scores, i, i + 1, top, room)
                room[INVERSE, 0], error = 0.0, gaussian_error(count)
            else:
                bases(scores, i, i + 1, top, inverse, room)
                raised(room, 1, n)
                error = finite_error(n, count, fraction, room[INVERSE, 0], change, nearness)
            # So near that what is left is no rounding of the difference itself.
            middle = float(truth[i])
            value = compared(middle, norm, low, change, room)
            found.append((abs(float(mpfr(value) - (truth[i] - mpfr(middle)) / truth[i])), error))
    return found


@pytest.mark.parametrize("n", [2.0, 3.0, 8.0, 10.0, 64.0, 1000.0, 1.5, 2.75, 20.1, np.inf])
def test_the_bound_holds_and_is_no_wider_than_it_need_be(n: float) -> None:
    generator = np.random.default_rng(int(min(n, 2000.0)))
    found = []
    for size, scale in SIZES:
        for _ in range(3):
            found += excesses(generator.normal(0, scale, size).astype(np.float32), n)
    assert len(found) > 20
    assert all(error <= bound for error, bound in found)
    # Keys next to the edge have a wider one: their power is known as well as the distance.
    assert np.median([bound for _, bound in found]) < 2.0**-59


@pytest.mark.parametrize("n", [2.0, 3.0, 8.0, 10.0, 64.0, 1.5, 20.125, np.inf])
@pytest.mark.parametrize("scale", [2.0, 30.0], ids=["random", "subnormal"])
def test_every_weight_of_a_row_can_be_decided(n: float, scale: float) -> None:
    generator = np.random.default_rng(3)
    z = generator.normal(0, scale, (6, 700)).astype(np.float32)
    z[3:] = np.round(z[3:] * 64) / np.float32(64)
    z[5, 1::2] = z[5, ::2] + np.float32(2.0**-20)  # ties and near ties
    truth = bulk.round_entmax(z, n, "float32").values
    for row, expected in zip(z, truth, strict=True):
        near = row[row > row.max() - n]
        # All in doubt, from values that are off by a rounding; what is left keeps its minus.
        weights = -np.nextafter(expected, np.float32(1))
        inverse = 1.0 if n == np.inf else near_root(near.astype(np.float64), n)
        room = np.empty(near.size + SLACK, np.float32)
        room[: near.size] = near
        left = resolve(row, float(row.max()), n, inverse, room, near.size, weights)
        decided = ~np.signbit(weights)
        assert left == np.sum(~decided)
        np.testing.assert_array_equal(weights[decided], expected[decided])
        # Those that are left have a power of 0, or lie next to the edge of a row with a key there.
        assert np.all(decided | (expected == 0)) or left == row.size
