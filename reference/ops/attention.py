"""`attention`: multi-head attention with kernel weights; certified outputs, gradients and supports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.enclosure import NO_VALUE, Block, Enclosure
from kernelproof.reference.errors import DomainError, shown
from kernelproof.reference.exact_numbers import exact_flag, exact_number
from kernelproof.reference.model import Kernel, Rule, Student, check_mechanism
from kernelproof.reference.ops.regression import upstream_of
from kernelproof.reference.rows import float_array, plain_array
from kernelproof.reference.solved_rows import Weighting, collect
from kernelproof.reference.solver import PRECISION, Solver, checked_precision, choose
from kernelproof.reference.weighted_means import Floats, WeightedMeans


@dataclass(frozen=True)
class Attention:
    """What is proved about attention.

    Attributes:
        y: (..., H, T, e).
        weighting: the weights (..., H, T, S), with the threshold and the support.
        log_normalizer: (..., H, T), ``log Σ_i [1 − d_i/γ]₊^n`` of the ratio form, in [0, log S]; NaN where empty.
    """

    y: Enclosure
    weighting: Weighting
    log_normalizer: Enclosure


def attention(
    q: Any,
    k: Any,
    v: Any,
    kernel: Kernel | Student,
    rule: Rule,
    *,
    scale: Any = None,
    mask: Any = None,
    causal: bool = False,
    lengths: Any = None,
    key_norm_term: bool = False,
    empty: str = "nan",
    arithmetic: str = "arb",
    precision: int = PRECISION,
) -> Attention:
    """Attention ``y = Σ w_i v_i`` with scores ``scale·q·k_i``, or ``−scale·‖q − k_i‖²/2`` with `key_norm_term`.

    Args:
        q: (..., H, T, d) finite floats, taken as exact.
        k: (..., G, S, d), H a multiple of G: head h uses key head h // (H // G).
        v: (..., G, S, e).
        kernel: its order n in (−∞, ∞], or a `Student`.
        rule: the bandwidth rule.
        scale: of the scores, exact; by default the float64 nearest to 1/√d (`default_scale`).
        mask: booleans (True = may attend) or floats added to the scores (−∞ masks), broadcastable to (..., H, T, S).
        causal: key j only for query i with ``j ≤ i + S − T``.
        lengths: ints of the shape of the leading axes: keys j < length only.
        key_norm_term: keep the ‖k‖² term, which makes attention regression.
        empty: as in `weights`.
        arithmetic: "arb" or "mpmath".
        precision: bits of the first solve, from 2 to 2**20.

    Raises:
        DomainError: shapes that do not match (the message names them), values that are not finite.

    Source: arXiv:2601.22766, section 3.

    >>> from kernelproof.reference import Adaptive, Kernel
    >>> one = [[[1.0]]]
    >>> attention(one, [[[0.0], [0.5]]], [[[0.0], [1.0]]], Kernel(1), Adaptive()).y.round("float32").tolist()
    [[[0.75]]]
    """
    precision = checked_precision(precision)
    problem, lead = _problem(q, k, v, scale, mask, causal, lengths, key_norm_term)
    mechanism = check_mechanism(kernel, rule, problem.q.shape[2])
    solver = Solver(mechanism, choose(arithmetic, mechanism), empty)
    queries, width = problem.q.shape[1], problem.v.shape[2]
    y = problem.output(solver, precision, (*lead, queries, width))
    rows = [row for head in problem.rows for row in head]
    logs = Solver(mechanism, choose(arithmetic, mechanism, logarithms=True), empty)
    normalizers = [_normalizer_block(row, logs, precision, r) for r, row in enumerate(rows)]
    weighting = collect(rows, solver, precision, (*lead, *problem.bias.shape[1:]))
    return Attention(y, weighting, logs.enclosure((*lead, queries), normalizers))


def _normalizer_block(row: Any, solver: Solver, bits: int, r: int) -> Block:
    """The normalizer Z of row r: the nearest key has ``r = 1``, so its weight is 1/Z."""

    def compute(chosen: Solver, more: int) -> list[Any]:
        truth = chosen.solve(row, more)
        if truth.empty:
            return [NO_VALUE]
        with chosen.working(more):
            return [chosen.arithmetic.publish(-chosen.arithmetic.log(truth.weights[0]))]

    return solver.block(np.array([r], dtype=np.intp), compute, bits)


def attention_vjp(
    q: Any,
    k: Any,
    v: Any,
    cotangent: Any,
    kernel: Kernel | Student,
    rule: Rule,
    *,
    scale: Any = None,
    mask: Any = None,
    causal: bool = False,
    lengths: Any = None,
    key_norm_term: bool = False,
    arithmetic: str = "arb",
    precision: int = PRECISION,
) -> dict[str, Enclosure]:
    """The vector-Jacobian product of `attention`: by "q", "k", "v", "order" and the rule's parameter.

    Args:
        q: (..., H, T, d).
        k: (..., G, S, d).
        v: (..., G, S, e).
        cotangent: (..., H, T, e), finite.
        kernel: the kernel.
        rule: the rule.
        scale: as in `attention`.
        mask: as in `attention`.
        causal: as in `attention`.
        lengths: as in `attention`.
        key_norm_term: as in `attention`.
        arithmetic: "arb" or "mpmath".
        precision: bits of the first solve, from 2 to 2**20.

    Raises:
        DomainError: as in `attention`; a cotangent of another shape.

    Source: docs/theory.md §3, G3.
    """
    precision = checked_precision(precision)
    problem, lead = _problem(q, k, v, scale, mask, causal, lengths, key_norm_term)
    mechanism = check_mechanism(kernel, rule, problem.q.shape[2])
    upstream = upstream_of(cotangent, (*lead, problem.q.shape[1], problem.v.shape[2]))
    shapes = {name: float_array(array, name).shape for name, array in (("q", q), ("k", k), ("v", v))}
    flat = upstream.reshape(len(problem.q), *upstream.shape[-2:])
    return problem.gradients(flat, mechanism, arithmetic, precision, shapes)


def _problem(
    q: Any, k: Any, v: Any, scale: Any, mask: Any, causal: bool, lengths: Any, key_norm_term: bool
) -> tuple[WeightedMeans, tuple[int, ...]]:
    queries, keys, values = (float_array(a, name, finite=True) for name, a in (("q", q), ("k", k), ("v", v)))
    shapes = f"q {queries.shape}, k {keys.shape}, v {values.shape}"
    fits = (
        min(queries.ndim, keys.ndim, values.ndim) >= 3
        and queries.shape[:-3] == keys.shape[:-3] == values.shape[:-3]
        and keys.shape[-3] == values.shape[-3]
        and keys.shape[-2] == values.shape[-2]
        and queries.shape[-1] == keys.shape[-1]
        and keys.shape[-3] > 0
        and queries.shape[-3] % keys.shape[-3] == 0
    )
    if not fits:
        wanted = "q (..., H, T, d), k (..., G, S, d), v (..., G, S, e) with H a multiple of G"
        msg = f"attention needs {wanted}; got {shapes}"
        raise DomainError(msg)
    batch, (heads, count, width) = queries.shape[:-3], queries.shape[-3:]
    groups, size = keys.shape[-3], keys.shape[-2]
    batches = int(np.prod(batch, dtype=np.int64))
    factor = default_scale(width) if scale is None else _scale(scale)
    head = np.arange(heads) // (heads // groups)
    group = (np.arange(batches)[:, None] * groups + head[None, :]).ravel().astype(np.intp)
    bias = _bias(mask, causal, lengths, (*batch, heads, count, size))
    problem = WeightedMeans(
        queries.reshape(batches * heads, count, width),
        keys.reshape(batches * groups, size, width),
        values.reshape(batches * groups, size, values.shape[-1]),
        group,
        bias.reshape(batches * heads, count, size),
        factor,
        exact_flag(key_norm_term, "key_norm_term"),
    )
    return problem, (*batch, heads)


def default_scale(width: int) -> Fraction:
    """The float64 nearest to 1/√d, for d = `width` > 0; 1 for d = 0.

    ``1/√d`` evaluated in float64 rounds twice, and is one unit in the last place off for 218 of the first 1024 d.

    >>> default_scale(64), float(default_scale(2)) == 1 / 2**0.5
    (Fraction(1, 8), False)
    """
    if not width:
        return Fraction(1)
    # 1/√d is never a midpoint m of float64: d·m² differs from 1 by at least 4^−(54 + log2 d), which 256 bits resolve.
    return Fraction(float(Fraction(math.isqrt(2**512 // width), 2**256)))


def _scale(scale: Any) -> Fraction:
    number = exact_number(scale, "scale")
    if not isinstance(number, Fraction):
        msg = f"scale must be finite; got {shown(scale)}"
        raise DomainError(msg)
    return number


def _bias(mask: Any, causal: bool, lengths: Any, shape: tuple[int, ...]) -> Floats:
    """What is added to the scores, (..., H, T, S): the mask, and −∞ where a key may not be attended to."""
    bias = np.zeros(shape)
    if mask is not None:
        array = plain_array(mask, "mask")
        if array.dtype == bool:
            added: NDArray[Any] = np.where(array, 0.0, -np.inf)
        elif array.dtype.kind in "iuO":
            # 0 and 1 meant as False and True would silently be added to the scores.
            wanted = "booleans (True = may attend) or floats (added to the scores, -inf masks)"
            msg = f"mask must hold {wanted}; got dtype {array.dtype}: use booleans, or 0.0 and -inf"
            raise DomainError(msg)
        else:
            added = float_array(array, "mask", finite=True, minus_infinity=True)
        try:
            bias = bias + np.broadcast_to(added, shape)
        except ValueError:
            msg = f"mask must broadcast to (..., H, T, S) = {shape}; got {array.shape}"
            raise DomainError(msg) from None
    if exact_flag(causal, "causal"):
        count, size = shape[-2:]
        allowed = np.arange(size)[None, :] <= np.arange(count)[:, None] + (size - count)
        bias = np.where(allowed, bias, -np.inf)
    if lengths is not None:
        given = plain_array(lengths, "lengths")
        if given.shape != shape[:-3] or given.dtype.kind not in "iu" or (given < 0).any() or (given > shape[-1]).any():
            msg = f"lengths must be ints in [0, {shape[-1]}] of shape {shape[:-3]}; got {shown(lengths)}"
            raise DomainError(msg)
        allowed = np.arange(shape[-1]) < given[..., None, None, None]
        bias = np.where(allowed, bias, -np.inf)
    return bias
