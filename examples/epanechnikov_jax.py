"""A JAX function: Epanechnikov regression (order 1) in a ball of radius h, with its gradient from `jax.vjp`.

    kernelproof verify examples/epanechnikov_jax.py:regression

`op` is declared because q, k and v alone would be taken for attention, `order` because there is no parameter for it.
The parameter `h` receives the bandwidth. JAX computes in float32 unless the program enables float64.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

import kernelproof


@kernelproof.declare(op="regression", order=1, scores="differences", empty_row="zeros", grade="B")
def regression(q: Array, k: Array, v: Array, h: float) -> Array:
    """For each query (T, d), the mean of the values (m, e) weighted by [1 − ‖q − k‖²/h²]₊; 0 if the ball is empty."""
    squares = ((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(axis=-1)
    weights = jnp.maximum(1 - squares / h**2, 0)
    total = weights.sum(axis=-1, keepdims=True)
    # Divide by 1 where the total is 0: otherwise the gradient of such a row is NaN, and reaches every key and value.
    return (weights @ v) / jnp.where(total == 0, 1, total)
