"""Gradients at a kink of order 1: a correct backend returns a point of the hull of the limiting Jacobians (G3).

As the logits move, each of the K keys exactly at the threshold may be in the support U or not, which gives 2^K limits
of the Jacobian ``diag(1_U) − 1_U 1_Uᵀ/|U|``. A returned vector-Jacobian product is right if it is a convex
combination of the products with these limits, up to the rounding that the grade allows.
"""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np

from kernelproof.verify.records import Flags, Floats

MOST = 6
"""The largest number of keys at the threshold for which the hull is examined; a row with more is undecided."""


def hull_distance(got: Floats, cotangent: Floats, support: Flags, boundary: Flags, scale: float) -> float:
    """Compute the largest distance, over the keys, from `got` to the nearest point of the hull, relative to the terms.

    Args:
        got: (m,) the gradient of one row.
        cotangent: (m,) its upstream gradient.
        support: (m,) keys of positive weight.
        boundary: (m,) keys at the threshold, at most `MOST`.
        scale: what multiplies the Jacobian of the logits (β).

    Returns:
        The distance in units of ``scale·max|g|``; 0 for a point of the hull.
    """
    points = corners_of(cotangent, support, boundary, scale)
    size = float(np.abs(scale * cotangent).max())
    if size == 0.0:
        return float(np.abs(got).max()) and np.inf
    from scipy.optimize import nnls  # noqa: PLC0415 (half of the start of a process)

    corners = points.T
    # The last row requires that the weights sum to 1; a point of the hull solves the system exactly.
    system = np.vstack([corners / size, np.ones((1, corners.shape[1]))])
    weights, _ = nnls(system, np.append(got / size, 1.0))
    weights /= weights.sum()
    return float(np.abs(corners @ weights - got).max()) / size


def corners_of(cotangent: Floats, support: Flags, boundary: Flags, scale: float) -> Floats:
    """(n, m) gradients that the limiting Jacobians give, one for each choice of keys; arguments as in `hull_distance`.

    >>> g = np.array([1.0, 3.0])
    >>> corners_of(g, np.array([True, False]), np.array([False, True]), 1.0).tolist()
    [[0.0, 0.0], [-1.0, 1.0]]
    """
    edge = np.flatnonzero(boundary)
    subsets = chain.from_iterable(combinations(edge, size) for size in range(len(edge) + 1))
    points = []
    for subset in subsets:
        inside = support.copy()
        inside[list(subset)] = True
        if not inside.any():
            continue
        points.append(scale * np.where(inside, cotangent - cotangent[inside].mean(), 0.0))
    return np.array(points).reshape(-1, len(cotangent))
