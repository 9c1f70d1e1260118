"""Entmax of float32 and float64 rows in the dtype that came: the fast path of the Numba core.

A key whose gap ``z = β(max s − s)`` is n or more has no weight, so the others are packed first, and from order
WIDE on those only that a sample of the row says can have some. Newton on ``‖u‖_n − 1`` then runs in float32
(`singles`) until its steps are as small as float32 can tell, and ends in float64 (`lanes`), whose last step is taken
to first order on the powers at hand. A row goes to the careful solver of `compiled` where n < 1, where a key
lies so near γ that only the exact test can say whether it has weight, and where float64 has to tell masked keys
from tiny weights.

Source: arXiv:2601.22766, sections 2 to 4; docs/theory.md §2.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from kernelproof.verify.rows.compiled import ADAPTIVE, CompiledCore, P, solve_row
from kernelproof.verify.rows.core import Array, Floats, Law
from kernelproof.verify.rows.jit import jit, parallel
from kernelproof.verify.rows.lanes import BLOCK, evaluate, finish, gaussians, split_sum
from kernelproof.verify.rows.scalar import two_product, two_sum
from kernelproof.verify.rows.singles import sums32
from kernelproof.verify.rows.vectors import BYTES, SLACK, compress, expand, fetch, ranked, unranked, wide

START = 0.6  # of γ = n, its largest value; Newton goes to the root from either side
WIDE = 3.0  # orders above start from a sample
BLOCKS, RUN = 8, 8  # of a sample, and the keys of each
SAMPLE = BLOCKS * RUN
STEPS = 60
PARTS = 8  # of the rows, per thread: enough to even out rows that take longer
AHEAD = 1 << 14  # bytes of the next row that are asked for: a third of the first cache
LARGE = 1e300  # gaps beyond might overflow
SMALLEST, LARGEST = 1e-30, 1e30  # slopes β/n and β that float32 has room for
GAUSSIAN = 1e25  # from here on ``(1 − z/n)ⁿ`` is ``exp(−z)`` to 2^-64 wherever that is no underflow
# Newton's relative error after a step δ is about ``(1 + n)·δ²/2``, of high orders less.
STIFF = 16.0
ROUGH, SINGLE = 3e-3, 2e-6
# What the last step, taken to first order, may leave: 2^-3 of a rounding of the dtype near the edge, less elsewhere.
SETTLED_32, SETTLED_64 = 2.0**-34, 2.0**-61
NEARER = 2.0**-44  # of γ


@jit
def highest(scores: Array) -> tuple[float, bool]:
    """The largest score, and whether a NaN or +inf is among them (then the first means nothing)."""
    wide()
    high = ranked(scores[0])
    low = high
    for i in range(scores.size):
        rank = ranked(scores[i])
        high, low = max(high, rank), min(low, rank)
    infinite = ranked(scores.dtype.type(np.inf))
    # Below −inf are the NaN with a sign.
    odd = high >= infinite or low < ranked(scores.dtype.type(-np.inf))
    return np.float64(unranked(high)), odd


@jit
def ask(row: Array) -> None:
    """Have memory bring a row while another is worked on."""
    for i in range(0, min(row.size, AHEAD // row.itemsize), BYTES // row.itemsize):
        fetch(row, i)


@jit
def pack(scores: Array, start: int, end: int, limit: Any, values: Array, out: Array, count: int) -> int:
    """Append to ``out[count:]`` the values of keys from start to end with a score above the limit; the count then."""
    wide()
    step = BYTES // scores.itemsize
    whole = start + (end - start) // step * step
    for i in range(start, whole, step):
        count = compress(scores, i, limit, values, out, count)
    for i in range(whole, end):
        out[count] = values[i]
        count += scores[i] > limit
    return count


@jit
def unpack(scores: Array, limit: Any, packed: Array, weights: Array) -> None:
    """A row of weights from those of the keys above the limit."""
    wide()
    count, step = 0, BYTES // scores.itemsize
    whole = scores.size // step * step
    for i in range(0, whole, step):
        count = expand(scores, i, limit, packed, count, weights)
    for i in range(whole, scores.size):
        inside = scores[i] > limit
        weights[i] = packed[count] if inside else 0.0
        count += inside


@jit
def padded(kept: Array, count: int) -> int:
    """Masked keys up to a multiple of SLACK, so that no loop ends in single steps; how many then."""
    for i in range(SLACK):
        kept[count + i] = -np.inf
    return -(-count // SLACK) * SLACK


@jit
def limit_of(scores: Array, top: float, reach: float, factor: float) -> Any:
    """A score below those of all keys with a gap below γ, by more than all roundings, that to the dtype included."""
    return scores.dtype.type(top - reach / factor - (abs(top) + reach / factor) * 1e-6 - 1e-30)


@jit
def root32(r: float, n: float) -> float:
    """``r^(−1/n)`` in float32."""
    if n == 1.0:
        return 1.0 / r
    return np.float64(np.float32(r) ** np.float32(-1.0 / n))


@jit
def inverse_root(r: float, n: float) -> float:
    """``r^(−1/n)`` nearly."""
    if n == 1.0:
        return 1.0 / r
    return 1.0 / math.sqrt(r) if n == 2.0 else math.exp(-math.log(r) / n)


@jit
def step_of(r_total: float, e_total: float, reach: float, rounding: float, n: float, sharp: bool) -> float:
    """Newton's step on ``‖u‖_n − 1`` as a part of γ: ``(n·R^(−1/n)/γ − 1)·R/E``, if sharp good to about one rounding."""
    if not sharp:
        return (n * inverse_root(r_total, n) / reach - 1.0) * (r_total / e_total)
    if n == 1.0:
        root = 1.0 / r_total
        back, error = two_product(root, r_total)
        low = ((1.0 - back) - error) / r_total
    else:
        power = -1.0 / n
        back, error = two_product(power, n)
        root = r_total**power
        low = -root * math.log(r_total) * ((1.0 + back) + error) / n
    high, error = two_product(n, root)
    return (((high - reach) + (error + n * low)) / reach - rounding) * (r_total / e_total)


@jit
def rough(kept: Array, count: int, top: Any, factor: float, n: float, extra: float, reach: float) -> float:
    """γ by steps in float32 from `reach`; where `extra` is not 1 each key stands for so many, beside one at the top."""
    inverse, least = np.float32(factor / reach), factor / n
    part = n / factor
    tolerance = (SINGLE if extra == 1.0 else ROUGH) / (1.0 + min(n, STIFF))
    for _ in range(STEPS):
        r_total, e_total = sums32(kept, count, top, inverse, n)
        if extra != 1.0:
            r_total, e_total = 1.0 + extra * r_total, 1.0 + extra * e_total
        step = (part * root32(r_total, n) * np.float64(inverse) - 1.0) * (r_total / e_total)
        inverse = np.float32(max(np.float64(inverse) / (1.0 + step), least))
        if step * step < tolerance:
            break
    return factor / np.float64(inverse)


@jit
def sampled(scores: Array, top: Any, factor: float, n: float, kept: Array) -> float:
    """γ as a sample of the row tells it."""
    stride = scores.size // BLOCKS
    for block in range(BLOCKS):
        for i in range(RUN):
            score = scores[block * stride + i]
            kept[block * RUN + i] = score if score < top else -np.inf
    return rough(kept, SAMPLE, top, factor, n, scores.size / SAMPLE, n)


@jit
def settle(scores: Array, top: float, factor: float, n: float, kept: Array) -> tuple[int, float, Any]:
    """Pack the keys that may have weight into `kept`: how many, γ as float32 tells it, and the score they lie above."""
    peak = scores.dtype.type(top)
    reach, bound = START * n, n
    if n > WIDE and scores.size >= 2 * SAMPLE:
        reach = sampled(scores, peak, factor, n, kept)
        bound = min(n, reach * (1.0 + 1.0 / n))
    while True:
        limit = limit_of(scores, top, bound, factor)
        count = pack(scores, 0, scores.size, limit, scores, kept, 0)
        reach = rough(kept, padded(kept, count), peak, factor, n, 1.0, min(reach, bound))
        # A root of the packed keys inside the bound is one of all keys.
        if bound == n or reach < bound * (1.0 - 1e-4):
            return count, reach, limit
        bound = n


@jit
def polish(
    kept: Array, count: int, top: float, factor: float, n: float, reach: float, sharp: bool, out: Floats, slopes: Floats
) -> tuple[float, float, float]:
    """Powers in float64; what a step in γ changes (see `lanes.finish`), Σr after it (0: only the exact test can tell) and β/γ."""
    settled, digits, lowest = (SETTLED_64, 2.0**55, -1080.0) if sharp else (SETTLED_32, 2.0**26, -160.0)
    for _ in range(STEPS):
        inverse = factor / reach
        back, error = two_product(inverse, reach)
        r_total, s_total, nearest = evaluate(kept, count, top, inverse, n, sharp, out, slopes)
        step = step_of(r_total, r_total + s_total, reach, ((factor - back) - error) / factor, n, sharp)
        if (1.0 + min(n, STIFF)) * step * step <= settled:
            # Of keys with ``u = 1 − z/γ`` the step leaves ``nδ²/2u`` of their condition, and keys near 0 may cross it.
            near = max(NEARER, digits * n * step * step, 4.0 * n * abs(step))
            if nearest > near or n * math.log2(near) < lowest:
                change = n * step
                return change, r_total + change * s_total, inverse
            if near == NEARER:
                break
        reach = min(reach + step * reach, n)
    return 0.0, 0.0, 0.0


@jit
def underflown(kept: Array, count: int, top: float, slope: float, out: Floats) -> bool:
    """Whether a key inside the ball, ``slope·(max s − s) < 1``, has a power that float64 takes for 0."""
    wide()
    found = 0
    for i in range(count):
        found |= (out[i] == 0.0) & ((top - kept[i]) * slope < 1.0) & (kept[i] > -np.inf)
    return found != 0


@jit
def careful(scores: Array, n: float, factor: float, weights: Array) -> None:
    """A row by `compiled.solve_row`, on the keys with a gap below n."""
    top = -np.inf
    for score in scores:
        top = max(top, score)
    reach = min(n, LARGE)
    limit = limit_of(scores, top, reach, factor) if abs(top) + reach / factor < LARGE else -np.inf
    at = np.flatnonzero(scores > limit)
    out = np.zeros((5, at.size))
    solve_row(scores[at].astype(np.float64), ADAPTIVE, n, factor, out, np.zeros(at.size, np.bool_))
    weights[:] = 0
    for i in range(at.size):
        weights[at[i]] = out[P, i]


@jit
def softmax_row(scores: Array, top: float, factor: float, sharp: bool, weights: Array, out: Floats) -> bool:
    """Order ∞; False asks for the careful solver."""
    r_total, r_lost = 0.0, 0.0
    for start in range(0, scores.size, BLOCK):
        end = min(start + BLOCK, scores.size)
        gaussians(scores, start, end, top, factor, out)
        high, low = split_sum(out, start, end)
        r_total, lost = two_sum(r_total, high)
        r_lost += lost + low
    total = r_total + r_lost
    if sharp and underflown(scores, scores.size, top, 0.0, out):
        return False
    normalize(out, out, scores.size, 0.0, total, weights)
    return True


@jit
def normalize(out: Floats, slopes: Floats, count: int, change: float, total: float, weights: Array) -> None:
    """Weights of packed keys, a total of 1 to nearly one rounding each."""
    scale = 1.0 / total
    back, error = two_product(scale, total)
    finish(out, slopes, 0, count, change, scale, ((1.0 - back) - error) * scale, weights)


@jit
def finite_row(scores: Array, top: float, factor: float, n: float, weights: Array, kept: Array, room: Floats) -> bool:
    """Order 1 ≤ n < ∞; False asks for the careful solver."""
    sharp = scores.itemsize == 8
    out, slopes = room[0], room[1]
    count, reach, limit = settle(scores, top, factor, n, kept)
    end = padded(kept, count)
    change, total, slope = polish(kept, end, top, factor, n, reach, sharp, out, slopes)
    if total == 0.0 or (sharp and underflown(kept, count, top, slope, out)):
        return False
    if count == scores.size:
        normalize(out, slopes, count, change, total, weights)
    else:
        normalize(out, slopes, count, change, total, kept)
        unpack(scores, limit, kept, weights)
    return True


@parallel
def entmax_rows(scores: Array, n: float, factor: float, weights: Array, chunk: int) -> None:
    """Adaptive weights of (R, m) scores at an order n > 0, `chunk` rows at a time on one thread."""
    rows, length = scores.shape
    gaussian = n >= GAUSSIAN
    for part in numba.prange((rows + chunk - 1) // chunk):
        kept, room = np.empty(length + SLACK, scores.dtype), np.empty((2, length + SLACK))
        for row in range(part * chunk, min(rows, part * chunk + chunk)):
            top, odd = highest(scores[row])
            if row + 1 < rows:
                ask(scores[row + 1])
                ask(weights[row + 1])
            if odd or top == -np.inf:
                weights[row] = np.nan
                continue
            done = False
            if gaussian:
                done = softmax_row(scores[row], top, factor, scores.itemsize == 8, weights[row], room[0])
            elif n >= 1.0 and SMALLEST < factor / n and factor < LARGEST and abs(top) + n / factor < LARGE:
                done = finite_row(scores[row], top, factor, n, weights[row], kept, room)
            if not done:
                careful(scores[row], n, factor, weights[row])


class QuickCore(CompiledCore):
    """The row core compiled by Numba, with its fast path."""

    def direct(self, scores: Array, law: Law) -> Array:
        """Adaptive weights of (R, m) scores in their dtype; NaN in rows with NaN or +inf, and of −inf alone."""
        scores = np.require(scores, requirements=["C", "W"])
        weights = np.empty_like(scores)
        chunk = max(1, -(-scores.shape[0] // (PARTS * numba.get_num_threads())))
        entmax_rows(scores, law.order, law.parameter, weights, chunk)
        return weights


CORE = QuickCore()
