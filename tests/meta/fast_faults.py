"""Faults in the parts of the row backends that rows alone, or the careful solver, never reach: tiles, fast products."""

from __future__ import annotations

from tests.meta.faults import ENTMAX, RANDOM, Fault
from tests.meta.planting import FAST, Change

TILED_CASE = "attention order=2 rule=adaptive:1 dtype=float64 family=random shape=2x1x3x8x4x2 feature=1 seed=0"
CAUSAL_CASE = "attention order=8 rule=adaptive:1 dtype=float64 family=masks shape=2x1x3x8x4x2 feature=causal seed=0"
"""At a high order, so that every key that is seen has weight."""
TILED = (
    Fault(
        "numpy",
        "causal edge",  # one key more than a query may see
        Change("_arrays.tiles", "np.arange(tile.end) >= ends[:, None]", "np.arange(tile.end) > ends[:, None]"),
        ("accuracy",),
        CAUSAL_CASE,
    ),
    Fault(
        "numpy",
        "last tile only",  # gradients of the keys from the tiles before are forgotten
        Change("_arrays.tiles", "sums[0], lost = two_sum(sums[0], part)", "sums[0], lost = two_sum(0 * sums[0], part)"),
        ("gradients",),
        TILED_CASE,
    ),
    Fault(
        "numba",
        "narrow reach",  # keys in the far half of the ball are never proposed
        Change("numba.tiles.sparse_queries", "top - law[3] - 2.0 * slack", "top - law[3] / 8 - 2.0 * slack"),
        ("accuracy",),
        TILED_CASE,
    ),
    Fault(
        "numba",
        "wrong values",  # those of the weights' slopes
        Change(
            "numba.tiles.sparse_queries",
            "add(of_v[0, at[j]], of_v[1, at[j]], solved[P, j]",
            "add(of_v[0, at[j]], of_v[1, at[j]], solved[SHARE, j]",
        ),
        ("gradients",),
        TILED_CASE,
    ),
    Fault(
        "numba",
        "one end for a tile",  # its queries see what the last of them may
        Change(
            "numba.tiles.core",
            "ends = problem.masking.ends(head, slice(row, stop))",
            "ends = np.full(stop - row, problem.masking.ends(head, slice(row, stop)).max())",
        ),
        ("accuracy",),
        CAUSAL_CASE,
    ),
)
"""In tiles, which rows alone never reach; planted in copies whose tiles are small."""
_SOFTMAX = ENTMAX.format("inf", "random", "3x8", 1)
_REAL = ENTMAX.format(1.5, "random", "3x8", 1)
FAST_PRODUCTS = tuple(
    Fault(FAST, kind, Change("numba.fast.vjp", old, new), ("gradients",), case)
    for kind, old, new, case in (
        (
            "mean of no shares",
            "mean, mean_low = quotient(*two_sum(value, value_low), e_total, e_rest)",
            "mean, mean_low = value, value_low",
            RANDOM,
        ),
        ("sum at the top", "largest = (apart + apart_low) / e_total", "largest = apart", RANDOM),
        ("scale", "whole = n * rate", "whole = rate", RANDOM),
        ("last step", "two_sum(1.0, change / n)", "two_sum(1.0, 1e-7)", RANDOM),
        ("integer share", "share + share_low if inside", "share * share if inside", RANDOM),
        ("real share", "exponential((n - 1.0) * log1m(x))", "exponential(n * log1m(x))", _REAL),
        ("spread near the top", "near = half * (1.0 + x) + u * tail", "near = half + u * tail", RANDOM),
        ("spread far off", "far = u * (", "far = (", RANDOM),
        (
            "mean of softmax",
            "quotient(factor, 0.0, total, total_low)",
            "quotient(factor, 0.0, 2.0 * total, total_low)",
            _SOFTMAX,
        ),
        ("cotangent in float32", "term = e[i] * g[i]", "term = e[i] * np.float32(g[i])", RANDOM),
    )
)
"""One in each term of the fast vector-Jacobian product."""
