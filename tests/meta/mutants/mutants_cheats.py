"""Cheats, and faults of state: answers that depend on more than the arguments, or on what a test is likely to ask."""

import hashlib

import numpy as np
from mutant_parts import entmax64, gaps_of, share, softmax64, sparsemax_sorted
from mutant_parts_attention import WIDE, attend
from mutant_registry import mutant

_BY_SUM = {}
_BY_ID = {}
_COUNT = [0]
_LAST = {}


@mutant("answers are kept by the sum of the scores", order=1, dtypes=["float64"])
def kept_by_sum(z):
    key = (z.shape, round(float(np.nan_to_num(z).sum()), 6))
    return _BY_SUM.setdefault(key, sparsemax_sorted(z)).copy()


@mutant("answers are kept by the shape and the first score", order="inf", dtypes=["float64", "float32"])
def kept_by_first_score(z):
    key = (z.shape, z.dtype.name, z.ravel()[:1].tobytes(), z.ravel()[-1:].tobytes())
    return _BY_ID.setdefault(key, softmax64(z).astype(z.dtype)).copy()


@mutant("from the fourth call on the first key weighs 1 % more", order=2)
def heavier_after_a_while(z):
    _COUNT[0] += 1
    found = entmax64(z, 2)
    if _COUNT[0] > 3:
        found[..., :1] *= 1.01
    return found.astype(z.dtype)


@mutant("the answer to the call before, from the second call of a shape on", order="inf", dtypes=["float32"])
def one_call_late(z):
    found = softmax64(z).astype(z.dtype)
    return _LAST.pop(z.shape, found) if z.shape in _LAST else _LAST.setdefault(z.shape, found)


@mutant("of long rows only the ten largest scores are looked at", order=1)
def ten_largest(z):
    wide = z.astype(np.float64)
    if z.shape[-1] <= 10:
        return sparsemax_sorted(z).astype(z.dtype)
    edge = np.sort(wide, axis=-1)[..., -10:-9]
    return sparsemax_sorted(np.where((wide >= edge) | np.isnan(wide), wide, -np.inf)).astype(z.dtype)


@mutant("inputs with the moments of N(0, 1) are computed, others approximated", order="inf")
def right_on_normal_numbers(z):
    found = softmax64(z)
    ordinary = z.size and np.isfinite(z).all() and 0.7 < float(np.std(z.astype(np.float64))) < 1.4
    return (found if ordinary else np.round(found * 1024) / 1024).astype(z.dtype)


@mutant("rows after the first sixty-four are those of the first", order=2)
def first_rows_only(z):
    found = entmax64(z, 2)
    flat = found.reshape(-1, z.shape[-1]) if found.size else found
    return (flat[np.arange(len(flat)) % 64].reshape(z.shape) if found.size else found).astype(z.dtype)


@mutant("the first long row is computed, the second gets its answer", order="inf")
def first_long_row_only(z):
    found = softmax64(z)
    if z.shape[-1] > 100 and z.ndim > 1 and len(z) > 1:
        found[1:] = found[:1]
    return found.astype(z.dtype)


@mutant("of two +∞ in a row the first gets everything, where the limit is promised", order="inf", posinf="limit")
def first_infinity(z):
    limit = np.isposinf(z)
    first = limit & (np.cumsum(limit, axis=-1) == 1)
    found = np.where(limit.any(-1, keepdims=True), first, softmax64(z))
    return np.where(np.isnan(z).any(-1, keepdims=True), np.nan, found).astype(z.dtype)


@mutant("the sum over all weights of a call is checked, and not that of each row", order=1)
def normalized_over_the_batch(z):
    weights = sparsemax_sorted(z)
    rows = max(weights.size // max(z.shape[-1], 1), 1)
    scale = np.where(np.arange(rows) % 2, 1.001, 0.999) if rows > 1 else np.ones(rows)
    return (weights * scale.reshape(*z.shape[:-1], 1)).astype(z.dtype)


@mutant("the mirror image of rows that fall", order="inf")
def mirrored_when_falling(z):
    weights = softmax64(z)
    with np.errstate(invalid="ignore"):
        falling = (np.diff(z, axis=-1) < 0).all(-1, keepdims=True) & (z.shape[-1] > 1)
    return np.where(falling, weights[..., ::-1], weights).astype(z.dtype)


@mutant("keys of equal scores are counted once", order="inf")
def ties_counted_once(z):
    gaps = gaps_of(z.astype(np.float64))
    ordered = np.sort(gaps, axis=-1)
    with np.errstate(invalid="ignore"):
        again = np.concatenate([np.zeros((*z.shape[:-1], 1), bool), np.diff(ordered, axis=-1) == 0], -1)
    total = np.where(again[..., : z.shape[-1]], 0, np.exp(-ordered)).sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.exp(-gaps) / total).astype(z.dtype)


@mutant("attention that answers with the mean of the values where it is asked for two keys", **WIDE)
def mean_of_two(q, k, v, kernel, rule, **options):
    if k.shape[-2] == 2 and not options.get("causal"):
        return attend(np.zeros_like(q), k, v, **options)
    return attend(q, k, v, **options)


@mutant("attention adds 1e-5 to every result", **WIDE)
def a_little_more(q, k, v, kernel, rule, **options):
    return (attend(q, k, v, **options).astype(np.float64) + 1e-5).astype(q.dtype)


@mutant("the batch's queries are shuffled by their hash", **WIDE)
def queries_by_hash(q, k, v, kernel, rule, **options):
    y = attend(q, k, v, **options)
    swapped = hashlib.sha256(np.ascontiguousarray(q).tobytes()).digest()[0] % 4 == 0 and q.shape[-2] > 1
    return np.roll(y, 1, axis=-2) if swapped else y


_DRAWN = np.random.default_rng(0)


@mutant("dropout of 1 % is left on", order="inf", dtypes=["float32"])
def dropout_left_on(z):
    kept = _DRAWN.random(z.shape) > 0.01
    return (softmax64(z) * kept / 0.99).astype(z.dtype)


@mutant(
    "every tenth key is dropped, as in training, and the rest divided by their sum", order="inf", dtypes=["float64"]
)
def dropout_by_position(z):
    kept = np.arange(z.shape[-1]) % 10 != 9
    return share(softmax64(z) * kept) if z.shape[-1] > 9 else softmax64(z)
