"""Adaptive bandwidths of many rows at once: the support by the exact test, then the root of the mass equation.

`z` below are gaps ``β(max s − s_i)`` of R rows of m keys, inf where masked; each row has a key at 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernelproof.verify.backends._arrays import double_word
from kernelproof.verify.backends._arrays.core import Flags, Floats
from kernelproof.verify.backends._arrays.double_word import total

# Slopes are clipped to this, so that a kink at n < 1 gives a large number and never a NaN.
LARGEST_SLOPE = 1e280
STEPS = 100
CONVERGED = 4e-16
TINY = 5e-324
TINY_POWER = 1e-290  # below this x^(1/n) may have lost digits, and x is used instead
EXACT_POWERS = 16.0  # 16^16 is far from overflow


class Powers(NamedTuple):
    """``r = (1 − x)ⁿ`` on the support, 0 off it; ``e = r/(1 − x)``; ``log = log(1 − x)``, 0 off it."""

    r: Floats
    e: Floats
    log: Floats


class EntmaxRows(NamedTuple):
    """Entmax: p, ``w = p^(1 − 1/n)``, ``w/Σw``, ``log(1 − d/γ)`` and the support, (R, m); γ and log Σr, (R, 1)."""

    p: Floats
    slope: Floats
    share: Floats
    log: Floats
    support: Flags
    reach: Floats
    log_normalizer: Floats


def powers(x: Floats, q: Floats, n: float, support: Flags) -> Powers:
    """Powers of ``q = 1 − x``; q is a separate argument because near 0 the caller knows it better than ``1 − x``."""
    near = x < 0.5
    q = np.where(support, np.where(near, 1.0 - x, q), 0.0)
    usable = q > 0
    safe = np.where(usable, q, 1.0)
    log = np.where(near & support, np.log1p(-np.where(near, x, 0.0)), np.log(safe))
    r = q if n == 1 else np.where(near & support, np.exp(n * log), np.where(usable, safe**n, 0.0))
    e = np.where(usable, r / safe, float(n == 1))
    return Powers(r, np.where(support, e, 0.0), log)


def cutoff(z: Floats, n: float) -> Floats:
    """The largest gap of each row's support (R, 1): key k is in it iff ``Σ_{z_j < z_k} ((z_k − z_j)/n)ⁿ < 1``.

    Bisection over the sorted gaps: the sum rises with z_k.

    Source: docs/theory.md §2; no threshold is computed.
    """
    ordered = np.sort(z, axis=1)
    low = np.zeros(len(z), dtype=np.intp)
    high = (z < n).sum(axis=1) - 1
    while np.any(low < high):
        middle = (low + high + 1) // 2
        at = np.take_along_axis(ordered, middle[:, None], axis=1)
        inside = slack(at - np.where(ordered < at, ordered, at), n)[:, 0] > 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle - 1)
    return np.take_along_axis(ordered, low[:, None], axis=1)


def slack(above: Floats, n: float) -> Floats:
    """A number of the sign of ``1 − Σ (above/n)ⁿ`` over the last axis, which is kept; that number itself for n < 1."""
    if n < 1:
        return one_minus_powers(above / n, n)
    # Without the division small integers stay integers, and a tie is decided exactly.
    scale = n if n > EXACT_POWERS else 1.0
    room: Floats = (n / scale) ** n - total((above / scale) ** n)
    return room


def one_minus_powers(base: Floats, n: float) -> Floats:
    """``1 − Σ baseⁿ`` over the last axis, which is kept, to nearly one rounding, for n < 1 and bases in [0, 1]."""
    high, low = double_word.power(base, n)
    return total(np.concatenate([np.ones_like(high[:, :1]), -high], axis=1), -low)


def solve(z: Floats, n: float) -> EntmaxRows:
    """Entmax of finite order n > 0 of each row."""
    edge = cutoff(z, n)
    support = z <= edge
    return _from_the_top(z, n, support, edge) if n >= 1 else _from_the_edge(z, n, support, edge)


def _from_the_top(z: Floats, n: float, support: Flags, edge: Floats) -> EntmaxRows:
    """Ratio form: Newton's method in γ on ``‖u‖_n − 1``, convex, from the right end ``γ = n`` down to the root."""
    gap = np.where(support, z, 0.0)
    reach = np.full_like(edge, n)
    active = np.ones_like(edge, dtype=np.bool_)
    for _ in range(STEPS):
        found = powers(gap / reach, (reach - gap) / reach, n, support)
        r_total = total(found.r)
        excess = n * np.log(reach / n) + np.log(r_total)  # n log ‖u‖_n
        step = reach * np.expm1(-excess / n) * (r_total / total(found.e))
        moved = np.where(reach + step < edge, (reach + edge) / 2, reach + step)
        reach = np.where(active, moved, reach)
        active &= step < -CONVERGED * reach
        if not active.any():
            break
    found = powers(gap / reach, (reach - gap) / reach, n, support)
    r_total = total(found.r)
    log_total = np.log(r_total)
    return EntmaxRows(
        p=found.r / r_total,
        slope=found.e * (r_total ** (1 / n - 1) if n <= 2 else np.exp(log_total / n) / r_total),  # û = R^(−1/n)
        share=found.e / total(found.e),
        log=found.log,
        support=support,
        reach=reach,
        log_normalizer=log_total,
    )


def _polished(y: Floats, c: Floats, n: float, support: Flags) -> Floats:
    """One Newton step in y near ties, where the slopes ``(c + y)^(n − 1)`` need y itself to one rounding."""
    u = np.where(support, c + y, 0.0)
    excess = -one_minus_powers(u, n)
    slopes = total(np.where(support, u ** (n - 1), 0.0))
    near = (y > TINY_POWER) & (4 * y > c.max(axis=1, keepdims=True))
    return np.where(near, y - excess / (n * np.where(near, slopes, 1.0)), y)


def _from_the_edge(z: Floats, n: float, support: Flags, edge: Floats) -> EntmaxRows:
    """Low-anchored form: with ``c = (z_k − z)/n`` above the smallest key k, ``Σ (c + x^(1/n))ⁿ = 1`` for ``x = p_k``.

    The sum is convex in x, so Newton's method from ``(1 − Σcⁿ)/K``, with K keys tied with k, decreases to the root.
    """
    c = np.where(support, (edge - z) / n, 0.0)
    above = c > 0
    safe = np.where(above, c, 1.0)
    c_powers = c**n
    tied = total((support & ~above).astype(np.float64))
    room = np.maximum(slack(edge - np.where(support, z, edge), n), 0.0)
    x = room / tied
    active = np.ones_like(edge, dtype=np.bool_)
    for _ in range(STEPS):
        y = x ** (1 / n)
        times = y / safe  # may overflow; then cⁿ is negligible against x
        gain = np.where(np.isinf(times), x, c_powers * np.expm1(n * np.log1p(times)))
        rise = total(np.where(above, gain, 0.0))
        slopes = total(np.where(above, (y / (safe + y)) ** (1 - n), 0.0))
        step = (room - tied * x - rise) / (tied + slopes)
        x = np.where(active, np.maximum(x + step, 0.0), x)
        active &= step < -CONVERGED * x
        if not active.any():
            break
    y = _polished(x ** (1 / n), c, n, support)
    u = np.where(support, c + y, 1.0)
    log_u = np.where(above | (y > TINY_POWER), np.log(u), np.log(np.maximum(x, TINY)) / n)
    log_u = np.where(support, log_u, -np.inf)
    p = np.where(above | (y > TINY_POWER), u**n, x) * support
    slope = np.where(above | (y > TINY_POWER), p / u, np.minimum(x ** ((n - 1) / n), LARGEST_SLOPE))
    nearness = np.where(above, (1 + c / np.maximum(y, TINY)) ** (n - 1), 1.0) * support
    p = p / total(p)
    return EntmaxRows(
        p=p,
        slope=np.where(support, slope, 0.0),
        share=nearness / total(nearness),
        log=np.where(support, np.minimum(log_u - log_u.max(axis=1, keepdims=True), 0.0), 0.0),
        support=support,
        reach=edge + n * y,
        log_normalizer=-n * log_u.max(axis=1, keepdims=True),
    )
