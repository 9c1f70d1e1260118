"""Faults in JAX, where float32 is the default, masks are numbers and derivatives come from `where`."""

import jax
import jax.numpy as jnp
from mutant_registry import mutant

FLUSHES = {"flush_to_zero": True}
"""XLA makes subnormal numbers 0, and that is declared."""
SOFT = {
    "op": "attention",
    "order": "inf",
    "rule": "adaptive:1",
    "array_library": "jax",
    "dtypes": ["float32"],
} | FLUSHES
ROWS = {"order": "inf", "array_library": "jax", "dtypes": ["float32"]} | FLUSHES


def scores_of(q, k, scale=None):
    """Scores in float32."""
    factor = max(q.shape[-1], 1) ** -0.5 if scale is None else scale
    return factor * (q @ jnp.swapaxes(jnp.repeat(k, q.shape[-3] // k.shape[-3], axis=-3), -1, -2))


def average(scores, v, free):
    """The mean of the values of the keys that are free."""
    wide = jnp.repeat(v, scores.shape[-3] // v.shape[-3], axis=-3)
    empty = ~free.any(-1, keepdims=True)
    p = jax.nn.softmax(jnp.where(free | empty, jnp.where(empty, 0.0, scores), -jnp.inf), axis=-1)
    return jnp.where(free, p, 0.0) @ wide


def causal_keys(q, k, shift=0):
    """(T, S) the keys that causal lets be seen."""
    return jnp.tri(q.shape[-2], k.shape[-2], k.shape[-2] - q.shape[-2] + shift, dtype=bool)


@mutant("jax.numpy.exp without a shift", **ROWS)
def jax_softmax_without_shift(z):
    terms = jnp.exp(z)
    return terms / terms.sum(-1, keepdims=True)


@mutant("a temperature of 1.002", **ROWS)
def jax_tempered(z):
    return jax.nn.softmax(1.002 * z, axis=-1)


@mutant("masked logits are −1e9, so that a row of them is uniform", empty_row="nan", **ROWS)
def jax_finite_mask(z):
    return jax.nn.softmax(jnp.maximum(z, -1e9), axis=-1)


@mutant("gradients of softmax stop at the sum", **ROWS)
def jax_sum_stops_gradients(z):
    if not z.shape[-1]:
        return z
    terms = jnp.exp(z - jax.lax.stop_gradient(z.max(-1, keepdims=True)))
    return terms / jax.lax.stop_gradient(terms.sum(-1, keepdims=True))


@mutant("sparsemax of scores that went through float16", order=1, array_library="jax", dtypes=["float32"], gradients=[])
def jax_sparsemax_from_float16(z):
    if not z.shape[-1]:
        return z
    narrow = jnp.where(jnp.abs(z) < 6e4, z.astype(jnp.float16).astype(jnp.float32), z)
    top = narrow.max(-1, keepdims=True)
    shifted = narrow - jnp.where(jnp.isfinite(top), top, 0)
    ordered = -jnp.sort(-shifted, axis=-1)
    counts = jnp.arange(1, z.shape[-1] + 1)
    sums = jnp.cumsum(jnp.where(jnp.isfinite(ordered), ordered, 0), axis=-1)
    size = ((1 + counts * ordered > sums) & jnp.isfinite(ordered)).sum(-1, keepdims=True)
    tau = (jnp.take_along_axis(sums, jnp.maximum(size - 1, 0), axis=-1) - 1) / jnp.maximum(size, 1)
    return jnp.where(jnp.isfinite(top), jnp.maximum(shifted - tau, 0), jnp.nan)


@mutant("causal sees one key ahead", **SOFT)
def jax_causal_ahead(q, k, v, causal=False):
    free = causal_keys(q, k, 1) if causal else jnp.ones((q.shape[-2], k.shape[-2]), bool)
    return average(scores_of(q, k), v, free)


@mutant("a mask given with causal replaces it", **SOFT)
def jax_mask_for_causal(q, k, v, mask=None, causal=False):
    scores = scores_of(q, k)
    free = jnp.ones(scores.shape, bool) if mask is not None or not causal else causal_keys(q, k)
    if mask is not None:
        bias = jnp.where(mask, 0.0, -jnp.inf) if mask.dtype == bool else mask
        free, scores = free & ~jnp.isneginf(bias), scores + jnp.where(jnp.isneginf(bias), 0.0, bias)
    return average(scores, v, free)


@mutant("query heads take their key heads in turn", **SOFT)
def jax_heads_in_turn(q, k, v):
    picked = jnp.arange(q.shape[-3]) % k.shape[-3]
    k, v = k[..., picked, :, :], v[..., picked, :, :]
    return average(scores_of(q, k), v, jnp.ones((q.shape[-2], k.shape[-2]), bool))


@mutant("products in bfloat16, as on a TPU by default", **SOFT)
def jax_products_in_half(q, k, v, scale=None):
    q, k = (part.astype(jnp.bfloat16).astype(jnp.float32) for part in (q, k))
    return average(scores_of(q, k, scale), v, jnp.ones((q.shape[-2], k.shape[-2]), bool))


@mutant("the gradient of grouped keys is that of the first head of each group", **SOFT)
def jax_first_head_of_group(q, k, v):
    group = q.shape[-3] // k.shape[-3]
    wide = jnp.repeat(k, group, axis=-3)
    first = (jnp.arange(q.shape[-3]) % group == 0)[:, None, None]
    held = jnp.where(first, wide, jax.lax.stop_gradient(wide))
    return average(scores_of(q, held), v, jnp.ones((q.shape[-2], k.shape[-2]), bool))
