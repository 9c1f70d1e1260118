"""The sum over third derivatives in the unit of a gradient, in compiled loops: memory O(S), time O(S³)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(function: Function) -> Function:
    return cast("Function", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


@_compiled
def bend_rows(
    q: Floats, base: Floats, p: Floats, slopes: Floats, size: Floats, moved: Floats, out: Floats
) -> None:
    """out_i = ``Σ_jk |q_ik·base_ij − l_i·p_jk| size_j moved_k`` for each of R rows.

    Args:
        q: (R, S, S).
        base: (R, S, S).
        p: (R, S, S).
        slopes: (R, S), l.
        size: (R, S).
        moved: (R, S).
        out: (R, S), out.
    """
    rows, keys = slopes.shape
    bent = np.empty(keys)
    for r in range(rows):
        for i in range(keys):
            bent[:] = 0.0
            slope = slopes[r, i]
            if slope == 0.0:
                out[r, i] = 0.0
                continue
            for j in range(keys):
                factor, weight = base[r, i, j], size[r, j]
                if weight != 0.0:
                    for k in range(keys):
                        bent[k] += abs(q[r, i, k] * factor - slope * p[r, j, k]) * weight
            total = 0.0
            for k in range(keys):
                total += bent[k] * moved[r, k]
            out[r, i] = total
