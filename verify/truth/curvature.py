"""The sum over second derivatives in the unit of a gradient, in compiled loops: time O(S²) and memory O(S) a row.

``T_ijk = q_ik·l_i(δ_ij − π_j) − l_i·p_jk`` with ``q_ik = ∂ log l_i/∂s_k``, ``p_jk = ∂π_j/∂s_k`` (`units`). Where i, j
and k differ it is ``2·l_i·w_j·l_k`` if γ is given, and ``c·l_i·π_j·π_k·(a_i + a_j + a_k − ā)`` for the adaptive
rule, with the stiffness a, its mean ā under π, and c = 1 − 1/n: by sums over the keys in the order of their a, since
it asks for ``Σ |t + a_k|``. Only where the indices meet is T computed entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.compiled_cache import cached

Floats = NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(function: Function) -> Function:
    return cached(function, nogil=True, error_model="numpy")


@_compiled
def _entry(
    adaptive: bool, c: float, mean: float, a: Floats, pi: Floats, slopes: Floats, i: int, j: int, k: int
) -> float:
    """|T_ijk|; where γ is given c·a is the part of q that a key has to itself."""
    base = slopes[i] * ((1.0 if i == j else 0.0) - pi[j])
    if adaptive:
        q = c * a[i] * ((1.0 if i == k else 0.0) - pi[k])
        p = pi[j] * (c * a[j] * ((1.0 if j == k else 0.0) - pi[k]) - c * pi[k] * (a[k] - mean))
    else:
        q = (c * a[i] if i == k else 0.0) - slopes[k]
        p = (slopes[j] if j == k else 0.0) - pi[j] * slopes[k]
    return abs(float(q * base - slopes[i] * p))


@_compiled
def bend_rows(
    adaptive: bool,
    c: float,
    stiffness: Floats,
    weights: Floats,
    slopes: Floats,
    size: Floats,
    moved: Floats,
    out: Floats,
) -> None:
    """out_i = ``Σ_jk |T_ijk| size_j moved_k`` for each of R rows.

    Args:
        adaptive: the rule; else γ is given.
        c: 1 − 1/n, or what it is in the limit n → ∞ of the rule.
        stiffness: (R, S), a.
        weights: (R, S), π.
        slopes: (R, S), l.
        size: (R, S).
        moved: (R, S).
        out: (R, S), out.
    """
    rows, keys = slopes.shape
    mass, bent = np.zeros(keys + 1), np.zeros(keys + 1)
    for r in range(rows):
        a, pi, l_, g, m = stiffness[r], weights[r], slopes[r], size[r], moved[r]
        order = np.argsort(a)
        mean = 0.0
        for k in range(keys):
            mean += pi[k] * a[k]
        for k in range(keys):
            one = order[k]
            each = (pi[one] if adaptive else l_[one]) * m[one]
            mass[k + 1] = mass[k] + each
            bent[k + 1] = bent[k] + each * a[one]
        for i in range(keys):
            total = 0.0
            place = keys
            for at in range(keys):
                j = order[at]
                if l_[i] == 0.0 or g[j] == 0.0:
                    continue
                if i == j:
                    for k in range(keys):
                        total += _entry(adaptive, c, mean, a, pi, l_, i, i, k) * g[i] * m[k]
                    continue
                total += _entry(adaptive, c, mean, a, pi, l_, i, j, i) * g[j] * m[i]
                total += _entry(adaptive, c, mean, a, pi, l_, i, j, j) * g[j] * m[j]
                if adaptive:
                    t = a[i] + a[j] - mean
                    while place > 0 and a[order[place - 1]] > -t:
                        place -= 1
                    rest = t * (mass[keys] - 2.0 * mass[place]) + (bent[keys] - 2.0 * bent[place])
                    rest -= pi[i] * m[i] * abs(a[i] + t) + pi[j] * m[j] * abs(a[j] + t)
                    total += abs(c) * l_[i] * pi[j] * g[j] * max(rest, 0.0)
                else:
                    rest = mass[keys] - l_[i] * m[i] - l_[j] * m[j]
                    total += 2.0 * l_[i] * pi[j] * g[j] * max(rest, 0.0)
            out[r, i] = total
