"""A NumPy function: Nadaraya–Watson regression with the Gaussian kernel and one bandwidth h for all queries.

    kernelproof verify examples/nadaraya_watson.py:nw

The first three parameters take the queries, the keys and the values, whatever they are called, because `op` is
declared as a regression; `h` takes the bandwidth. There is no parameter for the order of the kernel, so `order` says
which one it is: infinity is the Gaussian.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import kernelproof


@kernelproof.declare(op="regression", order="inf", scores="differences", most_rank=2)
def nw(x_query: NDArray[Any], x: NDArray[Any], y: NDArray[Any], h: float) -> NDArray[Any]:
    """Estimate E[y | x] at each query: the means of the rows of y (m, e), weighted by exp(−‖x_query − x‖²/2h²)."""
    squares = ((x_query[:, None, :] - x[None, :, :]) ** 2).sum(axis=-1)
    exponents = -squares / (2 * h**2)
    # The largest exponent comes off first: far from all x every weight would be exp(−large) = 0, and the mean 0/0.
    weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    return weights @ y / weights.sum(axis=1, keepdims=True)
