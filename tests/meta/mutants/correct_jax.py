"""Correct implementations in JAX, in its default precision."""

import jax
import jax.numpy as jnp
from mutant_registry import correct
from mutants_jax import ROWS, SOFT, average, causal_keys, scores_of


@correct(**ROWS)
def softmax_of_jax(z):
    """jax.nn.softmax."""
    return jax.nn.softmax(z, axis=-1)


@correct(**SOFT)
def attention_of_jax(q, k, v, mask=None, causal=False, scale=None):
    """Masks, causal and scale."""
    scores = scores_of(q, k, scale)
    free = causal_keys(q, k) if causal else jnp.ones(scores.shape[-2:], bool)
    free = jnp.broadcast_to(free, scores.shape)
    if mask is not None:
        bias = jnp.where(mask, 0.0, -jnp.inf) if mask.dtype == bool else mask
        free, scores = free & ~jnp.isneginf(bias), scores + jnp.where(jnp.isneginf(bias), 0.0, bias)
    return average(scores, v, free)


@correct(**SOFT)
def attention_of_jax_with_lengths(q, k, v, lengths=None):
    """The number of keys of each entry of the batch."""
    scores = scores_of(q, k)
    free = jnp.ones(scores.shape, bool)
    if lengths is not None:
        free = free & (jnp.arange(k.shape[-2]) < lengths.reshape(*lengths.shape, 1, 1, 1))
    return average(scores, v, free)
