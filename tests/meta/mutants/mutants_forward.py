"""Faults of the forward pass of entmax, in NumPy: what a release gets wrong while its own tests are green."""

import numpy as np
from mutant_parts import entmax64, gaps_of, powers, reach, share, softmax64, sparsemax_sorted
from mutant_registry import mutant


def _as(weights, z):
    return weights.astype(z.dtype)


@mutant("softmax without the shift by the maximum", plausible=True, order="inf")
def no_max_shift(z):
    with np.errstate(all="ignore"):
        return share(np.exp(z))


@mutant("softmax shifted by the mean instead of the maximum", plausible=True, order="inf")
def mean_shift(z):
    with np.errstate(all="ignore"):
        return share(np.exp(z - z.mean(-1, keepdims=True)))


@mutant("float32 inside, whatever comes", order="inf", plausible=True)
def float32_inside(z):
    return _as(softmax64(z.astype(np.float32)).astype(np.float32), z)


@mutant("float32 inside sparsemax", order=1, plausible=True)
def float32_inside_sparsemax(z):
    return _as(sparsemax_sorted(z.astype(np.float32)).astype(np.float32), z)


@mutant("exponents are cut at −30", order="inf", plausible=True)
def cut_exponents(z):
    return _as(share(np.exp(np.maximum(-gaps_of(z.astype(np.float64)), -30))), z)


@mutant("weights below 1e-9 are set to 0", order="inf", plausible=True)
def small_weights_dropped(z):
    weights = softmax64(z)
    return _as(np.where(weights < 1e-9, 0, weights), z)


@mutant("weights are rounded to eight decimals", order="inf", plausible=True)
def rounded_to_decimals(z):
    return _as(np.round(softmax64(z), 8), z)


@mutant("1e-8 is added to the denominator", order=2, plausible=True, dtypes=["float64"])
def epsilon_in_denominator(z):
    gaps = gaps_of(z)
    terms = powers(gaps, reach(gaps, 2), 2)
    return terms / (terms.sum(-1, keepdims=True) + 1e-8)


@mutant("a base-2 exponent taken before the shift: digits go where scores are large", order="inf", plausible=True)
def scaled_before_shift(z):
    scaled = z * np.asarray(np.log2(np.e), z.dtype)
    top = scaled.max(-1, keepdims=True, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        return share(np.exp2(scaled - top))


@mutant("the threshold of entmax15 found in twelve bisections", order=2)
def few_bisections(z):
    gaps = gaps_of(z.astype(np.float64))
    return _as(share(powers(gaps, reach(gaps, 2, steps=12), 2)), z)


@mutant("the threshold found in twenty-four bisections, and no division by the sum", order=2, plausible=True)
def not_renormalized(z):
    gaps = gaps_of(z.astype(np.float64))
    with np.errstate(invalid="ignore"):
        weights = np.maximum((reach(gaps, 2, steps=24) - gaps) / 2, 0) ** 2
    return _as(np.where(np.isnan(z).any(-1, keepdims=True), np.nan, weights), z)


@mutant("order 2.0002 for order 2", order=2)
def wrong_order(z):
    return _as(entmax64(z, 2.0002), z)


@mutant("entmax15 for every order", orders=["1..8"])
def one_order_for_all(z, order):
    return _as(entmax64(z, 2), z)


@mutant("orders above 3 are taken for softmax", orders=["1..inf"])
def large_order_is_softmax(z, order):
    return _as(entmax64(z, order if order <= 3 else np.inf), z)


@mutant("orders that are no integers are rounded", orders=["1..inf"])
def integer_orders_only(z, order):
    return _as(entmax64(z, np.inf if order == np.inf else round(order)), z)


@mutant("a temperature of 1.0002", order="inf")
def wrong_temperature(z):
    return _as(softmax64(z.astype(np.float64) * 1.0002), z)


@mutant("the last key of the support is left out", order=1)
def support_short_by_one(z):
    weights = sparsemax_sorted(z)
    least = np.where(weights > 0, weights, np.inf).min(-1, keepdims=True, initial=np.inf)
    kept = np.where((weights == least) & (weights < 1), 0, weights)
    return _as(share(kept), z)


@mutant("where every key has weight the threshold is off", order=1, plausible=True)
def wrong_where_all_have_weight(z):
    weights = sparsemax_sorted(z)
    full = (weights > 0).all(-1, keepdims=True) & (z.shape[-1] > 1)
    return _as(np.where(full, np.roll(weights, 1, -1), weights), z)


@mutant("tied keys of the maximum: only the first has weight", order=1, plausible=True)
def ties_broken(z):
    weights = sparsemax_sorted(z)
    first = np.arange(z.shape[-1]) == z.argmax(-1)[..., None] if z.shape[-1] else np.zeros(z.shape, bool)
    tied = (z == z.max(-1, keepdims=True, initial=-np.inf)) & ~first
    return _as(share(np.where(tied, 0, weights)), z)


@mutant("a key exactly at the threshold of sparsemax gets 1e-7", order=1, plausible=True, dtypes=["float64"])
def weight_at_threshold(z):
    weights = sparsemax_sorted(z)
    gaps = gaps_of(z)
    edge = (weights == 0) & (np.abs(gaps - 1) < 1e-12) & (weights.max(-1, keepdims=True, initial=0) == 1)
    return np.where(edge, 1e-7, weights)


@mutant("negative weights of −1e-9 are left off the support", order=1, plausible=True)
def slightly_negative(z):
    weights = sparsemax_sorted(z)
    return _as(np.where(weights == 0, -1e-9, weights), z)


@mutant("rows of one key give 0", order=2, plausible=True)
def nothing_for_one_key(z):
    return _as(entmax64(z, 2) * (z.shape[-1] != 1), z)


@mutant("blocks of eight: what is left over at the end of a row counts twice", order="inf", plausible=True)
def tail_counted_twice(z):
    terms = np.exp(-gaps_of(z.astype(np.float64)))
    extra = terms[..., z.shape[-1] - z.shape[-1] % 8 :].sum(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return _as(terms / (terms.sum(-1, keepdims=True) + extra), z)


@mutant("rows longer than 100 keys are cut there", order="inf", plausible=True)
def only_first_hundred(z):
    out = np.zeros_like(z)
    out[..., :100] = softmax64(z[..., :100])
    return out


@mutant("the maximum is sought among the first 64 keys", order=2, plausible=True)
def maximum_of_first_block(z):
    with np.errstate(invalid="ignore"):
        gaps = np.maximum(z[..., :64].max(-1, keepdims=True, initial=-np.inf) - z.astype(np.float64), 0)
    return _as(share(powers(gaps, reach(gaps, 2), 2)), z)


@mutant("scores beyond 1e4 go through float16", order="inf", plausible=True)
def half_for_large_scores(z):
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = z.astype(np.float16).astype(z.dtype)
    return _as(softmax64(np.where(np.abs(z) > 1e4, narrow, z)), z)


@mutant("gaps are computed after the scores were scaled by the largest magnitude", order=1, plausible=True)
def scaled_scores(z):
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(np.where(np.isfinite(z), z, 0)).max(-1, keepdims=True, initial=0), 1e-6)
        return _as(sparsemax_sorted((z / size).astype(np.float32).astype(np.float64) * size), z)


@mutant("the last two scores of a row change places when they are close", order=2, plausible=True)
def near_ties_swapped(z):
    weights = entmax64(z, 2)
    if z.shape[-1] < 2:
        return _as(weights, z)
    with np.errstate(invalid="ignore"):
        close = np.abs(z[..., -1] - z[..., -2]) < 1e-5
    swapped = weights.copy()
    swapped[..., [-1, -2]] = weights[..., [-2, -1]]
    return _as(np.where(close[..., None], swapped, weights), z)


@mutant("subnormal weights are taken for their double", order="inf", plausible=True)
def subnormals_doubled(z):
    weights = _as(softmax64(z), z)
    tiny = np.finfo(z.dtype).tiny
    return np.where((weights < tiny) & (weights > 0), 2 * weights, weights)


@mutant("the power of order 3 by exp and log in float32", order=3, dtypes=["float64"], plausible=True)
def power_in_float32(z):
    gaps = gaps_of(z)
    with np.errstate(all="ignore"):
        base = np.maximum(1 - gaps / reach(gaps, 3), 0).astype(np.float32)
        return share(np.exp(np.float32(3) * np.log(base)).astype(np.float64))


@mutant("the threshold form (z/n − τ)ⁿ: digits go as n", orders=["64..inf"], dtypes=["float32"])
def threshold_form(z, order):
    if order == np.inf:
        return _as(softmax64(z), z)
    n = np.float32(order)
    gaps = gaps_of(z.astype(np.float64))
    tau = (z.max(-1, keepdims=True, initial=-np.inf) / n - (reach(gaps, order) / order).astype(np.float32)).astype(
        np.float32
    )
    with np.errstate(all="ignore"):
        return _as(np.maximum(z / n - tau, np.float32(0)) ** n, z)


@mutant("the threshold is that of the 1024 largest, though more are in the support", order=1, plausible=True)
def thousand_largest(z):
    wide = z.astype(np.float64)
    if z.shape[-1] <= 1024:
        return _as(sparsemax_sorted(wide), z)
    least = -np.sort(-wide, axis=-1)[..., 1023:1024]
    top = sparsemax_sorted(np.where(wide < least, -np.inf, wide))
    # Any positive weight gives the threshold: here the largest.
    threshold = wide.max(-1, keepdims=True) - top.max(-1, keepdims=True)
    return _as(np.maximum(wide - threshold, 0), z)
