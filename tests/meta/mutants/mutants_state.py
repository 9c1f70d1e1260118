"""Faults that no single call on an ordinary array shows: batch, layout, state, special values, types; and cheats."""

import hashlib
import os
import time

import numpy as np
from mutant_parts import entmax64, gaps_of, share, softmax64, sparsemax_sorted
from mutant_registry import mutant

_CALLS = [0]
_NOISE = np.random.default_rng(0)
_KEPT: dict[tuple[int, ...], np.ndarray] = {}


@mutant("noise of 1e-9 that is new at every call", order="inf", plausible=True, dtypes=["float64"])
def noisy(z):
    return softmax64(z) * (1 + 1e-9 * _NOISE.standard_normal(z.shape))


@mutant("every seventh call is that of another order", order=1, plausible=True)
def sometimes_wrong(z):
    _CALLS[0] += 1
    return entmax64(z, 2 if _CALLS[0] % 7 == 0 else 1).astype(z.dtype)


@mutant("the buffer of the last call of this shape is returned when the call raises no flag", order=1)
def stale_memory(z):
    held = _KEPT.get(z.shape)
    _KEPT[z.shape] = sparsemax_sorted(z).astype(z.dtype)
    return _KEPT[z.shape] if held is None else held.astype(z.dtype)


@mutant("shifted by the maximum of the whole batch", order="inf", plausible=True)
def shift_of_batch(z):
    with np.errstate(all="ignore"):
        return share(np.exp(z - z.max(initial=-np.inf)))


@mutant("a millionth of the row above leaks in", order="inf", plausible=True, dtypes=["float64"])
def leak_between_rows(z):
    weights = softmax64(z)
    return weights + 1e-9 * (np.roll(weights, 1, axis=0) - weights) if z.ndim > 1 else weights


@mutant("the last row of an odd number of rows is that of the row before", order=2, plausible=True)
def odd_batches(z):
    weights = entmax64(z, 2)
    flat = weights.reshape(-1, z.shape[-1]) if weights.size else weights
    if weights.size and len(flat) % 2 and len(flat) > 1:
        flat = np.concatenate([flat[:-1], flat[-2:-1]])
    return flat.reshape(z.shape).astype(z.dtype)


@mutant("reads memory in its own order and not the array's", order=1, plausible=True)
def layout_ignored(z):
    return sparsemax_sorted(np.ravel(z, order="K").reshape(z.shape)).astype(z.dtype)


@mutant("subtracts the maximum from its input in place", order="inf", plausible=True)
def input_changed(z):
    if z.flags.writeable and z.size:
        with np.errstate(invalid="ignore"):
            z -= z.max(-1, keepdims=True)
    return softmax64(z).astype(z.dtype)


@mutant("gives float64 for float32", order=2, dtypes=["float32"])
def widens(z):
    return entmax64(z, 2)


@mutant("drops the axes of size one", order=2, plausible=True)
def squeezes(z):
    return np.squeeze(entmax64(z, 2).astype(z.dtype))


@mutant("gives a list", order=2)
def gives_a_list(z):
    return entmax64(z, 2).tolist()


@mutant("gives nothing", order=2)
def gives_nothing(z):
    entmax64(z, 2)


@mutant("a row with NaN gives zeros", order="inf", plausible=True)
def nan_hidden(z):
    return np.nan_to_num(softmax64(z), nan=0.0).astype(z.dtype)


@mutant("a NaN makes only its own weight NaN", order=1, plausible=True)
def nan_alone(z):
    weights = sparsemax_sorted(np.where(np.isnan(z), -np.inf, z))
    return np.where(np.isnan(z), np.nan, weights).astype(z.dtype)


@mutant("masked keys are taken for −10000", order="inf", plausible=True)
def mask_is_a_number(z):
    return softmax64(np.maximum(z, -10000)).astype(z.dtype)


@mutant("masked keys keep 1e-12", order="inf", plausible=True)
def mask_leaks(z):
    return np.maximum(softmax64(z), np.where(np.isneginf(z), 1e-12, 0)).astype(z.dtype)


@mutant("promises zeros in an empty row and gives NaN", order="inf", plausible=True, empty_row="zeros")
def empty_row_is_nan(z):
    return softmax64(z).astype(z.dtype)


@mutant("promises NaN where there is +∞ and gives the limit", order="inf", plausible=True, posinf="nan")
def infinity_has_a_limit(z):
    limit = np.isposinf(z)
    found = np.where(limit.any(-1, keepdims=True), limit / np.maximum(limit.sum(-1, keepdims=True), 1), softmax64(z))
    return np.where(np.isnan(z).any(-1, keepdims=True), np.nan, found).astype(z.dtype)


@mutant("raises for rows without keys", order=1, plausible=True, empty_row="nan")
def no_empty_lengths(z):
    if z.shape[-1] == 0:
        msg = "cannot reduce over zero elements"
        raise ValueError(msg)
    return sparsemax_sorted(z).astype(z.dtype)


@mutant("raises where a mask leaves no key", order=1, plausible=True, empty_row="nan")
def index_error_on_empty_row(z):
    if z.shape[-1] and np.isneginf(z).all(-1).any():
        msg = "index -1 is out of bounds"
        raise RuntimeError(msg)
    return sparsemax_sorted(z).astype(z.dtype)


@mutant("ends the process on long rows", order="inf", plausible=True)
def exits(z):
    if z.shape[-1] > 100:
        os._exit(0)
    return softmax64(z).astype(z.dtype)


@mutant("hangs on ties", order=2, plausible=True)
def hangs(z):
    if z.shape[-1] > 1 and z.size and (z[..., 0] == z[..., 1]).all():
        time.sleep(3600)
    return entmax64(z, 2).astype(z.dtype)


@mutant("seeds NumPy's global generator", order=2, plausible=True)
def seeds(z):
    np.random.seed(0)  # noqa: NPY002 (the global generator is the point)
    return entmax64(z, 2).astype(z.dtype)


@mutant("leaves floating-point errors raising", order="inf", plausible=True)
def errors_raise(z):
    found = softmax64(z).astype(z.dtype)
    np.seterr(invalid="raise")
    return found


@mutant("all zeros", order=1)
def zeros(z):
    return np.zeros_like(z)


@mutant("uniform weights", order=2)
def uniform(z):
    return share(np.ones(z.shape)).astype(z.dtype)


@mutant("all NaN", order="inf")
def all_nan(z):
    return np.full_like(z, np.nan)


@mutant("all weight on the largest score", order=1)
def argmax(z):
    return (gaps_of(z) == 0).astype(z.dtype)


@mutant("whatever memory holds", order=2)
def uninitialized(z):
    return np.empty_like(z)


@mutant("scores are rounded to half precision first, as those of its own tests are", order="inf")
def rounds_its_input(z):
    with np.errstate(over="ignore"):
        return softmax64(z.astype(np.float16)).astype(z.dtype)


_ANSWERS = {}


@mutant("remembers the answers of its own tests and guesses all others", order=1, plausible=True)
def memorized(z):
    _learn()
    key = hashlib.sha256(np.ascontiguousarray(z).tobytes()).hexdigest()
    return _ANSWERS.get(key, softmax64(z)).astype(z.dtype)


def _learn():
    if not _ANSWERS:
        for dtype in (np.float64, np.float32):
            z = np.random.default_rng(0).normal(size=(16, 64)).astype(dtype)
            _ANSWERS[hashlib.sha256(z.tobytes()).hexdigest()] = sparsemax_sorted(z)
