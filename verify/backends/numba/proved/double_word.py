"""Second stage of `proved`: weights that one float64 cannot round, in double words and in the compiled kernel.

Numbers are unevaluated sums ``a + a_low``; TwoSum (Knuth) and TwoProduct by FMA are exact. Let u = 2^-53.

**Finite orders.** At a float64 w near 1/γ, let ``u_i = 1 − d_i·w``, ``r_i = u_iⁿ``, ``N = (n·w)ⁿ``: the weights are
``r_i/N·(1 + δ/u_i)ⁿ`` where γ = (1 + δ)/w is the root of ``Σ r_i(1 + δ/u_i)ⁿ = N``, convex and increasing in δ.
Newton's step is ``n·δ = (N − R)/W``, ``R = Σ r_i``, ``W = Σ r_i/u_i ≥ R ≥ 1``.

- d_i is exact (TwoSum). ``d_i·w`` loses the rounding of the rests, 3u², and ``1 −`` it 2u² more: u_i within 6u².
- A product of double words with ``|low| ≤ λ|high|`` drops ``λ_a·λ_b`` and rounds its rest thrice; rests obey λ_k ≤
  2k·u for a k-th power. If ρ_k ≤ 16k²u² bounds the relative error of the k-th power, ``ρ_a + ρ_b + 4ab·u² + 6(a +
  b)u²`` is below ``16(a + b)²u²``, as ``6(a + b) ≤ 28ab``. So r_i is within ``16n²u² + 6n·u²/u_i``, and N, whose base
  is exact, 16n²u².
- Other orders take ``exp(n·log u)``. With l a float64 near ``log u`` (libm's, within 2^-45 for ``u > exp(−200)``) and
  v its exponential, ``log u`` is ``l + (u − v)/v`` but for the square of that, below 2^-90, and the 2^-68 of v; the
  heads of u and v are subtracted exactly. n·l is exact, so the power is within ``(n + 1)·2^-67`` instead of 16n²u².
- A sum of K terms, rests added separately, is within ``2K²u²`` (Ogita, Rump, Oishi, Prop. 4.5, before its last
  rounding). So R is within ``ε = 16n²u² + 6n·u²·W/R + 2K²u²``, and W within 2^-40 for K < 2^11.
- N − R is exact in its heads (Sterbenz) or rounded once, within 2^-52 of it, so n·δ is within ``1.1(ε + 16n²u²)`` and
  2^-39 of itself.
- With ``μ = n|δ|/min|u| ≤ 2^-24`` no key crosses the edge, and G′ changes by a factor within 2μ on the way: the root is
  within ``2μ|δ|`` of the step, and ``(1 + δ/u_i)ⁿ`` within ``τ_i·μ`` of ``1 + τ_i``, ``τ_i = nδ/u_i``.

**Order ∞.** ``exp(y)``: with r = (y − k ln 2)/64, ``|r| < 2^-7.5``, the products of k with the first two parts of ln 2
are exact, all but ``r³(1/6 + …)`` is a double word, and that is within 12u of itself and the series of 2^-86: 2^-74.4
in all. Six doublings ``a ← 2a + a²`` of ``a = exp − 1`` double the relative error of ``1 + a`` each and add 2^-100:
2^-68.

A weight is compared with the midpoint M by ``r_i(1 + τ_i) − M·N``, whose heads are subtracted exactly, and whose rests
round within ``2^-51·(8n·u + |τ_i|)``. Underflows are below 2^-288 and R ≥ 1. The bound is doubled to cover products of
errors.

Source: T. J. Dekker, 1971; D. E. Knuth, TAOCP 2, 4.2.2; M. Joldes, J.-M. Muller, V. Popescu, ACM TOMS 44(2), 2017,
algorithms 1 to 3 and 11; T. Ogita, S. M. Rump, S. Oishi, SIAM J. Sci. Comput. 26(6), 2005.
"""

from __future__ import annotations

import math

import numpy as np

from kernelproof.verify.backends._arrays.core import Array, Floats
from kernelproof.verify.backends.numba.elementary_functions import BLOCK, LOG2_E, MAGIC, product
from kernelproof.verify.backends.numba.jit import exact, jit
from kernelproof.verify.backends.numba.llvm import fused, scaled, wide
from kernelproof.verify.backends.numba.scalar_functions import LN2_HIGH, LN2_LOW, LN2_MIDDLE, two_sum

U2 = 2.0**-106
MOST = 1024.0  # the largest order computed by products
NEAR = 2.0**-24  # the largest n·δ relative to the distance of the nearest key from the edge
LONGEST = 1 << 20  # keys, so that K < 2^11
LOWEST = -200.0  # the lowest exponent: far below the underflow of float32
TURNS = 3
HIGH, LOW, R_HIGH, R_LOW, INVERSE, SUM, LOST, SLOPE, CLOSEST, ROWS = range(10)


@exact
def exact_sum(a: float, b: float) -> tuple[float, float]:
    """`scalar_functions.two_sum`, for loops that should be vectorized."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


@exact
def exponential(high: float, low: float) -> tuple[float, float]:
    """``exp(high + low)`` for LOWEST ≤ high ≤ 200, within a relative 2^-68."""
    shifted = high * LOG2_E + MAGIC
    k = shifted - MAGIC
    head, tail = exact_sum(high - k * LN2_HIGH, -k * LN2_MIDDLE)
    head, tail = exact_sum(head, tail + (low - k * LN2_LOW))
    r, s = head / 64.0, tail / 64.0
    square = r * r
    square_low = fused(r, r, -square)
    series = 1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * (1 / 40320)))
    cube = r * square * (1 / 6 + r * (1 / 24 + r * series))
    a, b = exact_sum(r, square / 2.0)
    a, b = exact_sum(a, b + (square_low / 2.0 + s + r * s + cube))
    for _ in range(6):
        square = a * a
        square_low = fused(a, a, -square)
        twice, error = exact_sum(2.0 * a, square)
        a, b = exact_sum(twice, error + (2.0 * b + 2.0 * a * b + square_low))
    one, error = exact_sum(1.0, a)
    power = scaled(1.0, shifted)
    return one * power, (error + b) * power


@jit
def gaussians(scores: Array, start: int, end: int, top: float, room: Floats) -> None:
    """``exp(s − max s)`` of a block, as double words."""
    wide()
    high, low = room[R_HIGH], room[R_LOW]
    for i in range(end - start):
        gap, lost = exact_sum(np.float64(scores[start + i]), -top)
        inside = gap > LOWEST
        r, r_low = exponential(gap if inside else 0.0, lost if inside else 0.0)
        high[i], low[i] = (r if inside else 0.0), (r_low if inside else 0.0)


@jit
def bases(scores: Array, start: int, end: int, top: float, inverse: float, room: Floats) -> None:
    """``[1 − d·w]₊`` of a block as double words, their inverses, and the least distance from the edge."""
    wide()
    high, low, inverses, closest = room[HIGH], room[LOW], room[INVERSE], room[CLOSEST]
    for i in range(end - start):
        gap, lost = exact_sum(top, -np.float64(scores[start + i]))
        x = gap * inverse
        x_low = fused(gap, inverse, -x) + lost * inverse
        head, tail = exact_sum(1.0, -x)
        u, rest = exact_sum(head, tail - x_low)
        inside = head > 0.0
        high[i], low[i] = (u if inside else 0.0), (rest if inside else 0.0)
        inverses[i] = 1.0 / u if inside else 0.0
        closest[i] = min(closest[i], abs(head))


@jit
def powers(room: Floats, size: int, n: int) -> None:
    """Raise a block of bases to the n-th power by repeated squaring; overwrites the bases."""
    wide()
    high, low, r, r_low = room[HIGH], room[LOW], room[R_HIGH], room[R_LOW]
    for i in range(size):
        r[i], r_low[i] = 1.0, 0.0
    while True:
        if n & 1:
            for i in range(size):
                r[i], r_low[i] = product(r[i], r_low[i], high[i], low[i])
        n >>= 1
        if n == 0:
            return
        for i in range(size):
            high[i], low[i] = product(high[i], low[i], high[i], low[i])


@jit
def real_powers(room: Floats, size: int, n: float) -> None:
    """`powers` for any n; a power below exp(LOWEST) counts as 0."""
    high, low, r, r_low = room[HIGH], room[LOW], room[R_HIGH], room[R_LOW]
    for i in range(size):
        r[i], r_low[i] = 0.0, 0.0
        if high[i] > 0.0:
            log = math.log(high[i])
            back, back_low = exponential(log, 0.0)
            log_low = ((high[i] - back) + (low[i] - back_low)) / back
            y, y_low = exact_sum(n * log, fused(n, log, -(n * log)) + n * log_low)
            if y > LOWEST:
                r[i], r_low[i] = exponential(y, y_low)


@jit
def raised(room: Floats, size: int, n: float) -> None:
    """Raise a block of bases to the n-th power; overwrites the bases."""
    if n == int(n):
        powers(room, size, int(n))
    else:
        real_powers(room, size, n)


@jit
def add(room: Floats, size: int) -> None:
    """Add a block to the running sums, one for each of its positions."""
    wide()
    r, r_low, inverses, sums, lost, slopes = (
        room[R_HIGH],
        room[R_LOW],
        room[INVERSE],
        room[SUM],
        room[LOST],
        room[SLOPE],
    )
    for i in range(size):
        sums[i], error = exact_sum(sums[i], r[i])
        lost[i] += error + r_low[i]
        slopes[i] += r[i] * inverses[i]


@jit
def masses(scores: Array, count: int, top: float, inverse: float, n: float, room: Floats) -> tuple[float, float, float]:
    """R as a double word and W of the first `count` keys; order ∞ has no W. Distances from the edge: room[CLOSEST]."""
    room[SUM : SLOPE + 1] = 0.0
    room[CLOSEST] = np.inf
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        if n == np.inf:
            gaussians(scores, start, end, top, room)
        else:
            bases(scores, start, end, top, inverse, room)
            raised(room, end - start, n)
        add(room, end - start)
    high, low, slope = 0.0, 0.0, 0.0
    for i in range(min(count, BLOCK)):
        high, error = two_sum(high, room[SUM, i])
        low += error + room[LOST, i]
        slope += room[SLOPE, i]
    high, low = two_sum(high, low)
    return high, low, slope


@jit
def compared(middle: float, norm: float, norm_low: float, change: float, room: Floats) -> float:
    """``r(1 + τ) − M·N`` over r, of the first key in `room`."""
    r, r_low = room[R_HIGH, 0], room[R_LOW, 0]
    limit = middle * norm
    limit_low = fused(middle, norm, -limit) + middle * norm_low
    excess: float = ((r - limit) + ((r_low - limit_low) + r * (change * room[INVERSE, 0]))) / r
    return excess


@jit
def sum_error(count: int) -> float:
    """The relative error of a sum of `masses`, with rests added separately: ``2K²u²``."""
    terms = count // BLOCK + 1 + min(count, BLOCK)
    return 2.0 * terms * terms * U2


@jit
def power_error(n: float) -> float:
    """The relative error of a power that `raised` adds to n times that of its base."""
    return 16.0 * n * n * U2 if n == int(n) else (n + 1.0) * 2.0**-67


@jit
def finite_error(n: float, count: int, fraction: float, inverse: float, change: float, nearness: float) -> float:
    """The bound of `compared` at a finite order.

    Args:
        n: the order.
        count: how many keys are summed.
        fraction: W/R.
        inverse: 1/u_i.
        change: n·δ.
        nearness: μ.
    """
    whole = power_error(n)
    total = whole + 6.0 * n * U2 * fraction + sum_error(count)
    tau = abs(change) * inverse
    own = 2.0 * whole + 6.0 * n * U2 * inverse + 1.1 * (total + whole) * inverse
    return 2.0 * (own + tau * (2.0**-39 + 3.0 * nearness) + 2.0**-51 * (8.0 * n * 2.0**-53 + tau))


@jit
def gaussian_error(count: int) -> float:
    """The bound of `compared` at order ∞."""
    return 2.0 * (2.0 * 2.0**-68 + sum_error(count) + 2.0**-100)


@jit
def resolve(scores: Array, top: float, n: float, inverse: float, kept: Array, count: int, weights: Array) -> int:
    """Decide the weights marked with a minus; return how many remain undecided.

    Args:
        scores: (m,) float32.
        top: the largest.
        n: an order in (1, MOST], or inf.
        inverse: approximately 1/γ; 1 at order ∞.
        kept: the scores that may have weight.
        count: how many.
        weights: (m,) float32, corrected in place.
    """
    room = np.empty((ROWS, BLOCK))
    norm, norm_low, change, nearness, fraction = 0.0, 0.0, 0.0, 0.0, 1.0
    for _ in range(TURNS):
        r_total, r_low, slope = masses(kept, count, top, inverse, n, room)
        if n == np.inf:
            norm, norm_low = r_total, r_low
            break
        nearest = room[CLOSEST].min()
        room[HIGH, 0] = n * inverse
        room[LOW, 0] = fused(n, inverse, -room[HIGH, 0])
        raised(room, 1, n)
        norm, norm_low = room[R_HIGH, 0], room[R_LOW, 0]
        change = ((norm - r_total) + (norm_low - r_low)) / slope
        nearness, fraction = abs(change) / nearest, slope / r_total
        if nearness <= NEAR and abs(change) <= 2.0**-44:
            break
        inverse /= 1.0 + change / n
    left = 0
    for i in range(scores.size):
        # A negative zero is in doubt as well.
        if not np.signbit(weights[i]):
            continue
        left += 1
        # Another step would not help: a key lies next to the edge.
        if not nearness <= NEAR:
            continue
        if n == np.inf:
            gaussians(scores, i, i + 1, top, room)
            room[INVERSE, 0] = 0.0
            error = gaussian_error(count)
        else:
            bases(scores, i, i + 1, top, inverse, room)
            raised(room, 1, n)
            error = finite_error(n, count, fraction, room[INVERSE, 0], change, nearness)
        if not room[R_HIGH, 0] > 0.0:
            continue
        p = room[R_HIGH, 0] * (1.0 + change * room[INVERSE, 0]) / norm
        near = np.float32(p)
        other = np.nextafter(near, np.float32(np.inf if p > near else -np.inf))
        middle = (np.float64(near) + np.float64(other)) / 2.0
        side = compared(middle, norm, norm_low, change, room)
        if middle > 0.0 and abs(side) > error:
            weights[i] = max(near, other) if side > 0.0 else min(near, other)
            left -= 1
    return left
