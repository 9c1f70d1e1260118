"""Vector-Jacobian products of entmax in the dtype of the input: the backward fast path of the Numba core.

The root γ is found as in `rows`, on packed keys. One pass at the root computes the shares ``e = [1 − z/γ]₊ⁿ⁻¹`` and
their sums with the cotangent; a second one writes ``β·w·(g − Σeg/Σe)``, ``w = (n/γ)·e/Σ[1 − z/γ]₊ⁿ``, and sums the
derivative in the order (`spread`). Left undone are rows whose root `rows` would leave to the careful solver, rows
whose scores or cotangents are not finite (masked keys aside), and rows so large or small that a product might leave
the range.

Source: docs/theory.md §3, G1 and G2.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Flags, Floats
from kernelproof.verify.backends.numba.elementary_functions import (
    BLOCK,
    LN2_HIGH,
    LN2_LOW,
    REPEATED,
    exponential,
    fraction,
    gaussians,
    log1m,
    rest,
    sharp_share,
    split_sum,
)
from kernelproof.verify.backends.numba.fast.newton import FAST_VJP, SHARP_VJP, polish, settle, underflown
from kernelproof.verify.backends.numba.fast.rows import GAUSSIAN, LARGE, LARGEST, SMALLEST
from kernelproof.verify.backends.numba.jit import contracted, inlined, jit, parallel, reassociated
from kernelproof.verify.backends.numba.llvm import SLACK, exponent, fused, mantissa, ranked, unranked, wide
from kernelproof.verify.backends.numba.packing import ask, highest, pack, padded, unpack
from kernelproof.verify.backends.numba.scalar_functions import two_sum

COARSE = 1536.0  # times a bound of the terms: their upper parts then have an exact sum in any order, 2^10 at a time
LEAST, MOST = 1e-250, 1e250  # cotangents whose products with weights and slopes stay in range


@inlined
def upper(term: float, coarse: float) -> float:
    """The term rounded to a multiple of the last bit of `coarse`."""
    return (term + coarse) - coarse


@inlined
def spread(x: float) -> Any:
    """``u·log u + x`` with ``u = 1 − x``, that is ``x²/2 + x³/6 + …``, without a difference of nearly equal numbers.

    For u in [√½, 1] its logarithm is ``−x − x²/2 + s·(x²/2 + series)`` (`elementary_functions.log1m`), and the first
    two terms of ``u·log u + x`` are ``x²/2·(1 + x)``. There the rounding error of u enters relative to x², through s
    only.
    """
    u = 1.0 - x
    k = exponent(u)
    f = -x if k == 0.0 else mantissa(u) - 1.0
    s = f / (2.0 + f)
    z = s * s
    series = 1.818357216161805012e-01 + z * (1.531383769920937332e-01 + z * 1.479819860511658591e-01)
    series = 3.999999999940941908e-01 + z * (2.857142874366239149e-01 + z * (2.222219843214978396e-01 + z * series))
    series = z * (6.666666666666735130e-01 + z * series)
    half = 0.5 * f * f
    tail = s * (half + series)
    near = half * (1.0 + x) + u * tail
    far = u * (k * LN2_HIGH - ((half - (tail + k * LN2_LOW)) - f)) + x
    return near if k == 0.0 else far


@reassociated
def whole_shares(kept: Array, start: int, end: int, top: float, inverse: float, n: int, out: Floats) -> None:
    """``e = [1 − z/γ]₊ⁿ⁻¹`` for n from 1 to REPEATED, in double words, within little more than 2^-53."""
    wide()
    once, twice, fourfold = (n - 1) & 1, (n - 1) & 2, (n - 1) & 4
    for i in range(np.uint64(start), np.uint64(end)):
        inside, _, _, share, share_low = sharp_share(fraction(top, kept[i], inverse), once, twice, fourfold)
        out[i] = share + share_low if inside else 0.0


@reassociated
def real_shares(kept: Array, start: int, end: int, top: float, inverse: float, n: float, out: Floats) -> None:
    """`whole_shares` for any n ≥ 1."""
    wide()
    for i in range(np.uint64(start), np.uint64(end)):
        x = fraction(top, kept[i], inverse)
        inside = x < 1.0
        x = x if inside else 0.0
        e = exponential((n - 1.0) * log1m(x))
        out[i] = e if inside else 0.0


@reassociated
def sums(
    e: Floats, g: Array, start: int, end: int, first: float, coarse: float
) -> tuple[float, float, float, float, float, float]:
    """``Σe``, ``Σe·g`` and ``Σe·(first − g)`` over a block, each in two parts: an exact one and a small one."""
    wide()
    e_high, e_low, value, value_low, apart, apart_low = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(np.uint64(start), np.uint64(end)):
        high = upper(e[i], COARSE)
        e_high += high
        e_low += rest(e[i], high)
        term = e[i] * g[i]
        high = upper(term, coarse)
        value += high
        value_low += rest(term, high)
        term = e[i] * (first - g[i])
        high = upper(term, 2.0 * coarse)
        apart += high
        apart_low += rest(term, high)
    return e_high, e_low, value, value_low, apart, apart_low


@contracted
def written(
    e: Floats, g: Array, start: int, end: int, mean: float, mean_low: float, scale: float, scale_low: float, out: Array
) -> None:
    """Write the gradient ``scale·e·(g − mean)`` of a block in the dtype of `out`; both factors are double words."""
    wide()
    for i in range(np.uint64(start), np.uint64(end)):
        apart = (g[i] - mean) - mean_low
        out[i] = (scale * e[i]) * apart + (scale_low * e[i]) * apart


@reassociated
def bent(
    kept: Array,
    e: Floats,
    g: Array,
    start: int,
    end: int,
    mean: float,
    top: float,
    inverse: float,
    n: float,
    log_total: float,
) -> float:
    """``Σ e·(g − mean)·(x·log R + n·(u·log u + x))`` over a block (G2)."""
    wide()
    value = 0.0
    for i in range(np.uint64(start), np.uint64(end)):
        x = fraction(top, kept[i], inverse)
        x = x if x < 1.0 else 0.0  # its share is 0
        value += e[i] * (g[i] - mean) * (x * log_total + n * spread(x))
    return value


@reassociated
def bent_gaussian(
    kept: Array, e: Floats, g: Array, start: int, end: int, mean: float, top: float, factor: float, log_total: float
) -> float:
    """The limit of `bent` at n = ∞: ``Σ e·(g − mean)·(z·log R + z²/2)``."""
    wide()
    value = 0.0
    for i in range(np.uint64(start), np.uint64(end)):
        z = (top - kept[i]) * factor
        z = z if e[i] > 0.0 else 0.0
        value += e[i] * (g[i] - mean) * (z * (log_total + 0.5 * z))
    return value


@jit
def magnitude(cotangent: Array) -> float:
    """The largest ``|g|``; NaN or inf if any is."""
    wide()
    high = ranked(abs(cotangent[0]))
    for i in range(cotangent.size):
        high = max(high, ranked(abs(cotangent[i])))
    return np.float64(unranked(high))


@jit
def quotient(a: float, a_low: float, b: float, b_low: float) -> tuple[float, float]:
    """``(a + a_low)/(b + b_low)`` as the rounded quotient of the heads and its remaining error (Dekker)."""
    head = a / b
    return head, ((fused(-head, b, a) + a_low) - head * b_low) / b


@jit
def row_vjp(
    kept: Array,
    count: int,
    top: float,
    rate: float,
    rate_low: float,
    n: float,
    total: float,
    total_low: float,
    factor: float,
    size: float,
    e: Floats,
    g: Array,
    wanted: bool,
    out: Array,
) -> float:
    """Gradients of packed keys from their shares.

    Args:
        kept: packed scores.
        count: how many of them `e` and `g` cover.
        top: the largest score.
        rate: β/γ, β at n = ∞.
        rate_low: its remaining error.
        n: the order; one from GAUSSIAN on counts as ∞.
        total: ``Σ[1 − z/γ]₊ⁿ``.
        total_low: its remaining error.
        factor: β.
        size: a bound on ``|g|``.
        e: shares.
        g: packed cotangents.
        wanted: whether to compute the derivative in α.
        out: filled; it may share the memory of `kept`, which is read first.

    Returns:
        The derivative in α = 1 + 1/n.
    """
    gaussian = n >= GAUSSIAN
    coarse = math.ldexp(COARSE, math.frexp(size)[1])
    at = 0
    while kept[at] < top:
        at += 1
    first = np.float64(g[at])
    e_high, e_low, value, value_low, apart, apart_low = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        high, low, value_high, value_rest, apart_high, apart_rest = sums(e, g, start, end, first, coarse)
        e_high, lost = two_sum(e_high, high)
        e_low += lost + low
        value, lost = two_sum(value, value_high)
        value_low += lost + value_rest
        apart, lost = two_sum(apart, apart_high)
        apart_low += lost + apart_rest
    e_total, e_rest = two_sum(e_high, e_low)
    mean, mean_low = quotient(*two_sum(value, value_low), e_total, e_rest)
    if gaussian:
        scale, scale_low = quotient(factor, 0.0, total, total_low)
    else:
        whole = n * rate
        scale, scale_low = quotient(whole, fused(n, rate, -whole) + n * rate_low, total, total_low)
    alpha = 0.0
    if wanted:
        log_total = math.log(total)
        low = 0.0
        for start in range(0, count, BLOCK):
            end = min(start + BLOCK, count)
            if gaussian:
                part = bent_gaussian(kept, e, g, start, end, mean, top, factor, log_total)
            else:
                part = bent(kept, e, g, start, end, mean, top, rate, n, log_total)
            alpha, lost = two_sum(alpha, part)
            low += lost
        # n²(ξ − ξ_top) is (γ/n)·n·(x·log R + n·(u·log u + x)), and γ is β/rate.
        alpha = -(alpha + low) * scale / factor * (1.0 if gaussian else factor / rate)
    for start in range(0, count, BLOCK):
        written(e, g, start, min(start + BLOCK, count), mean, mean_low, scale, scale_low, out)
    # Where one share is nearly 1 its cotangent is nearly the mean; the difference is a sum over the others.
    largest = (apart + apart_low) / e_total
    out[at] = (scale * e[at]) * largest + (scale_low * e[at]) * largest
    return alpha


@jit
def finite_row_vjp(
    scores: Array,
    cotangent: Array,
    top: float,
    factor: float,
    n: float,
    size: float,
    wanted: bool,
    kept: Array,
    g: Array,
    room: Floats,
    gradient: Array,
) -> tuple[bool, float]:
    """Order 1 ≤ n < ∞; return whether the row is done, and the derivative in α."""
    sharp = scores.itemsize == 8
    e, slopes = room[0], room[1]
    count, reach, limit = settle(scores, top, factor, n, kept)
    end = padded(kept, count)
    goal = SHARP_VJP if sharp else FAST_VJP
    change, total, s_total, inverse = polish(kept, end, top, factor, n, reach, goal, e, slopes)
    if total == 0.0 or (sharp and underflown(kept, count, top, inverse, e)):
        return False, 0.0
    total, total_low = two_sum(total, change * s_total)
    rate, rate_low = quotient(inverse, 0.0, *two_sum(1.0, change / n))
    repeated = n <= REPEATED and n == int(n)
    for start in range(0, end, BLOCK):
        stop = min(start + BLOCK, end)
        if repeated:
            whole_shares(kept, start, stop, top, rate, int(n), e)
        else:
            real_shares(kept, start, stop, top, rate, n, e)
    if count == scores.size:
        return True, row_vjp(
            kept, count, top, rate, rate_low, n, total, total_low, factor, size, e, cotangent, wanted, gradient
        )
    pack(scores, 0, scores.size, limit, cotangent, g, 0)
    alpha = row_vjp(kept, count, top, rate, rate_low, n, total, total_low, factor, size, e, g, wanted, kept)
    unpack(scores, limit, kept, gradient)
    return True, alpha


@jit
def softmax_row_vjp(
    scores: Array,
    cotangent: Array,
    top: float,
    factor: float,
    size: float,
    wanted: bool,
    e: Floats,
    gradient: Array,
) -> tuple[bool, float]:
    """`finite_row_vjp` for order ∞."""
    total, low = 0.0, 0.0
    for start in range(0, scores.size, BLOCK):
        end = min(start + BLOCK, scores.size)
        gaussians(scores, start, end, top, factor, e)
        high, lost = split_sum(e, start, end)
        total, carry = two_sum(total, high)
        low += carry + lost
    total, low = two_sum(total, low)
    if scores.itemsize == 8 and underflown(scores, scores.size, top, 0.0, e):
        return False, 0.0
    return True, row_vjp(
        scores, scores.size, top, factor, 0.0, np.inf, total, low, factor, size, e, cotangent, wanted, gradient
    )


@parallel
def entmax_rows_vjp(
    scores: Array,
    cotangent: Array,
    n: float,
    factor: float,
    wanted: bool,
    gradient: Array,
    alpha: Floats,
    left: Flags,
    chunk: int,
) -> None:
    """Vector-Jacobian products of (R, m) scores at an order n > 0, `chunk` rows at a time on one thread.

    Args:
        scores: (R, m).
        cotangent: (R, m), of the same dtype.
        n: the order.
        factor: β.
        wanted: whether to compute the derivative in α.
        gradient: (R, m), filled.
        alpha: (R,), filled with derivatives in α.
        left: (R,), True for rows that are left undone.
        chunk: how many rows a thread takes at a time.
    """
    rows, length = scores.shape
    gaussian = n >= GAUSSIAN
    for part in numba.prange((rows + chunk - 1) // chunk):
        kept, g = np.empty(length + SLACK, scores.dtype), np.empty(length + SLACK, scores.dtype)
        room = np.empty((2, length + SLACK))
        for row in range(part * chunk, min(rows, part * chunk + chunk)):
            top, odd = highest(scores[row])
            size = magnitude(cotangent[row])
            if row + 1 < rows:
                ask(scores[row + 1])
                ask(cotangent[row + 1])
            done, alpha[row] = False, 0.0
            if not odd and top > -np.inf and size < MOST and (size > LEAST or size == 0.0):
                if gaussian and factor < LARGEST:
                    done, alpha[row] = softmax_row_vjp(
                        scores[row], cotangent[row], top, factor, size, wanted, room[0], gradient[row]
                    )
                elif n >= 1.0 and factor / n > SMALLEST and factor < LARGEST and abs(top) + n / factor < LARGE:
                    done, alpha[row] = finite_row_vjp(
                        scores[row], cotangent[row], top, factor, n, size, wanted, kept, g, room, gradient[row]
                    )
            left[row] = not done
