"""A NumPy function: ReLUmax of any order, with a constant margin γ.

    kernelproof verify examples/relumax_numpy.py:relumax

Nothing is declared, because the names of the parameters say everything: `scores` that this is the op `weights`; `n`
receives the order, `gamma` the number of the rule `anchored`, `axis` the axis. The grade to keep is the default, C.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def relumax(scores: NDArray[Any], n: float, gamma: float, axis: int = -1) -> NDArray[Any]:
    """Weights proportional to [1 − d/γ]₊ⁿ, where d is how far a score lies below the largest of its row."""
    # In float64, because a large power multiplies the rounding error of its base.
    wide = scores.astype(np.float64)
    gaps = wide.max(axis=axis, keepdims=True, initial=-np.inf) - wide
    near = gaps < gamma
    # n·log1p(−d/γ) instead of a power of 1 − d/γ, in which a small d is lost.
    powers = gaps == 0 if n == np.inf else np.exp(n * np.log1p(-np.where(near, gaps, 0) / gamma))
    # A NaN anywhere in a row makes all of its gaps NaN, and a NaN is not near.
    parts = np.where(np.isnan(gaps), np.nan, np.where(near, powers, 0.0))
    with np.errstate(invalid="ignore"):
        weights = parts / parts.sum(axis=axis, keepdims=True)
    return weights.astype(scores.dtype)
