"""A NumPy function: ReLUmax of any order, whose margin γ is a constant.

    kernelproof verify examples/relumax_numpy.py:relumax

Nothing is declared: `scores` says that it is the op weights, `n` takes the order, `gamma` the number of the rule
anchored, `axis` the axis. Of the contract the default is asked: grade C.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def relumax(scores: NDArray[Any], n: float, gamma: float, axis: int = -1) -> NDArray[Any]:
    """Weights in proportion to [1 − d/γ]₊ⁿ, where d is how far a score is below the largest of its row."""
    # In float64: a large power multiplies the rounding of its base.
    wide = scores.astype(np.float64)
    gaps = wide.max(axis=axis, keepdims=True, initial=-np.inf) - wide
    near = gaps < gamma
    # n·log1p(−d/γ), and not a power of 1 − d/γ, which has lost d where d is small.
    powers = gaps == 0 if n == np.inf else np.exp(n * np.log1p(-np.where(near, gaps, 0) / gamma))
    # A NaN anywhere in a row has made all of its gaps NaN, which are neither near nor far.
    parts = np.where(np.isnan(gaps), np.nan, np.where(near, powers, 0.0))
    with np.errstate(invalid="ignore"):
        weights = parts / parts.sum(axis=axis, keepdims=True)
    return weights.astype(scores.dtype)
