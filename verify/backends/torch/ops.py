"""The public operations on tensors: float64 inside, one rounding to the dtype of the input at the end.

Source: arXiv:2601.22766, sections 2 to 4.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from kernelproof.reference.model import AttentionInfo, resolve_kernel
from kernelproof.verify.backends.torch import arguments
from kernelproof.verify.backends.torch.double_word import two_sum
from kernelproof.verify.backends.torch.per_row import differs, entmax_each, is_array, weights_each
from kernelproof.verify.backends.torch.plan import Plan, entmax_plan, mechanism_plan, scalar
from kernelproof.verify.backends.torch.rounding import narrow, widen
from kernelproof.verify.backends.torch.row import row

SHORT = 16
"""Terms of a plain sum in float64: BLAS may add them one after the other, each time with a rounding of the sum."""

DIFFERENCES = 1 << 24
"""Differences of queries and keys held at once: 128 MiB."""


def entmax(z: Any, *, order: Any = None, alpha: Any = None, dim: int | None = None, axis: int | None = None) -> Tensor:
    """α-entmax of `z` along `dim`, in the shape and dtype of `z`; a row with NaN, +∞ or only −∞ is NaN.

    Args:
        z: floating tensor of at least one axis.
        order: n in (0, ∞] or below −1; a tensor keeps its gradient. With neither `order` nor `alpha`, softmax. One
            for each row is an array of the shape of z with size 1 along `dim`, or one that broadcasts to it.
        alpha: 1 + 1/n, instead of `order`.
        dim: the axis of a row; the last one by default.
        axis: another name for `dim`.

    Raises:
        DomainError: an argument is outside its domain.

    Source: arXiv:2601.22766, section 3.
    """
    if is_array(order) or is_array(alpha):
        return _entmax_each(z, order, alpha, dim, axis)
    plan = entmax_plan(order, alpha)
    z = arguments.floating(z, "z", 1)
    place = arguments.axis_of(dim, axis, z.dim())
    result = _weights(widen(z).movedim(place, -1), plan, "nan")
    return narrow(result.movedim(-1, place).contiguous(), z.dtype)


def _entmax_each(z: Any, order: Any, alpha: Any, dim: int | None, axis: int | None) -> Tensor:
    """`entmax` with an order or α for each row."""
    resolve_kernel(order, alpha)
    z = arguments.floating(z, "z", 1)
    name, numbers = ("order", order) if alpha is None else ("alpha", alpha)
    return entmax_each(z, name, numbers, arguments.axis_of(dim, axis, z.dim()), entmax)


def weights(scores: Any, kernel: Any, rule: Any, *, empty: str = "nan") -> Tensor:
    """The weights (..., m) of rows of scores (..., m).

    Args:
        scores: floating tensor, ``s_i = −‖q − k_i‖²/2`` or logits; masked keys are −∞.
        kernel: a Kernel, of n in (−∞, ∞]; a negative order has weight on every key.
        rule: Fixed, Anchored, Adaptive or Nearest.
        empty: what a row without a key in its ball gets: raise, zeros, nan, uniform or nearest.

    Raises:
        DomainError: an argument is outside its domain, or a row is empty under "raise".

    Source: arXiv:2601.22766, sections 2 to 4.
    """
    scores = arguments.floating(scores, "scores", 1)
    if differs(kernel, rule):
        arguments.policy(empty)
        asked = "zeros" if empty == "raise" else empty
        found = weights_each(scores, kernel, rule, partial(weights, empty=asked))
        if empty == "raise":
            arguments.no_empty_row((found == 0).all(-1))
        return found
    plan = mechanism_plan(kernel, rule)
    return narrow(_weights(widen(scores), plan, arguments.policy(empty)), scores.dtype)


def regression(q: Any, k: Any, v: Any, kernel: Any, rule: Any, *, empty: str = "nan") -> Tensor:
    """Nadaraya-Watson regression y (..., T, e) at q (..., T, d) from keys k (..., m, d) and values v (..., m, e).

    Scores are ``−‖q − k‖²/2``, computed from differences. Other arguments and errors as in `weights`.

    Source: arXiv:2601.22766, section 2.
    """
    plan = mechanism_plan(kernel, rule)
    arguments.triple(q, k, v, 2)
    scores = -_half_squares(widen(q), widen(k))
    w = _weights(scores, plan, arguments.policy(empty))
    return narrow(_mixed(w, widen(v), sharp=q.dtype == torch.float64), q.dtype)


def attention(
    q: Any,
    k: Any,
    v: Any,
    kernel: Any,
    rule: Any,
    *,
    scale: Any = None,
    mask: Any = None,
    causal: bool = False,
    lengths: Any = None,
    key_norm_term: bool = False,
    empty: str = "nan",
    info: bool = False,
) -> Tensor | AttentionInfo:
    """Attention y (..., H, T, e) of q (..., H, T, d) over k (..., Hk, S, d), v (..., Hk, S, e), H a multiple of Hk.

    Args:
        q: floating tensor; its head h reads key head ``h // (H // Hk)``.
        k: keys, in the dtype of `q`.
        v: values, in the dtype of `q`.
        kernel: a Kernel.
        rule: Fixed, Anchored, Adaptive or Nearest, of the scores ``scale·q·k``.
        scale: number; 1/√d if None.
        mask: bool (True = may attend) or floating (added), broadcastable to (..., H, T, S).
        causal: key j only if ``j ≤ i + S − T``.
        lengths: ints of the leading shape: only keys ``j < length``. Keys that no query may attend to are not read.
        key_norm_term: scores ``−scale·‖q − k‖²/2`` instead, from differences.
        empty: as in `weights`.
        info: return an AttentionInfo.

    Raises:
        DomainError: an argument is outside its domain, or a row is empty under "raise".

    Source: arXiv:2601.22766, sections 2 to 4.
    """
    plan = mechanism_plan(kernel, rule)
    arguments.triple(q, k, v, 3)
    arguments.heads(q, k, v)
    arguments.policy(empty)
    arguments.number(scale, "scale")
    causal, key_norm_term = arguments.flag(causal, "causal"), arguments.flag(key_norm_term, "key_norm_term")
    groups = q.shape[-3] // k.shape[-3]
    queries = widen(q)
    keys, values = (_repeated(widen(item), groups) for item in (k, v))
    shape = (*q.shape[:-1], k.shape[-2])
    allowed, bias = _allowed(shape, mask, causal, lengths, q.device)
    read = allowed.any(-2)[..., None]
    keys, values = torch.where(read, keys, 0.0), torch.where(read, values, 0.0)
    factor = scalar(1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale, queries)
    raw = -_half_squares(queries, keys) if key_norm_term else queries @ keys.mT
    scores = factor * raw
    scores = scores if bias is None else scores + bias
    scores = torch.where(allowed, scores, -math.inf)
    w = _weights(scores, plan, empty)
    y = narrow(_mixed(w, values, sharp=q.dtype == torch.float64), q.dtype)
    return _with_info(y, scores, plan, w) if info else y


def _repeated(heads: Tensor, groups: int) -> Tensor:
    """Repeat every head `groups` times; the gradient of repeat_interleave is not deterministic on CUDA."""
    shape = (*heads.shape[:-2], groups, *heads.shape[-2:])
    return heads.unsqueeze(-3).expand(shape).flatten(-4, -3)


def _mixed(w: Tensor, values: Tensor, *, sharp: bool) -> Tensor:
    """``Σ w_i v_i``; a row of NaN weights gives NaN, and does not enter the gradient of values shared with other rows.

    With `sharp`, for results that keep all digits of float64, the rounding errors of a long plain sum are added back.
    """
    lost = w.isnan().any(-1, keepdim=True)
    clean = torch.where(lost, 0.0, w)
    plain = clean @ values
    if sharp and values.shape[-2] > SHORT:
        plain = plain + _lost_in(plain, clean, values)
    return torch.where(lost, math.nan, plain)


@torch.no_grad()
def _lost_in(plain: Tensor, w: Tensor, values: Tensor) -> Tensor:
    """The error of ``plain = w @ values``, by a compensated sum of short sums."""
    head, tail = torch.zeros_like(plain), torch.zeros_like(plain)
    for start in range(0, values.shape[-2], SHORT):
        stop = start + SHORT
        head, error = two_sum(head, w[..., start:stop] @ values[..., start:stop, :])
        tail = tail + error
    missing = (head - plain) + tail
    return torch.where(missing.isfinite(), missing, 0.0)


def _half_squares(q: Tensor, k: Tensor) -> Tensor:
    """``‖q − k‖²/2``, (..., T, m), from at most `DIFFERENCES` differences at a time or those of one query."""
    each = math.prod(q.shape[:-2]) * k.shape[-2] * k.shape[-1]
    parts = torch.split(q, max(DIFFERENCES // max(each, 1), 1), dim=-2)
    return torch.cat([_half_squares_at_once(part, k) for part in parts], dim=-2)


def _half_squares_at_once(q: Tensor, k: Tensor) -> Tensor:
    difference = q[..., :, None, :] - k[..., None, :, :]
    return (difference * difference).sum(-1) / 2


def _allowed(
    shape: tuple[int, ...], mask: Any, causal: bool, lengths: Any, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Which keys each query may attend to, (..., H, T, S), and what is added to the scores."""
    queries, keys = shape[-2:]
    allowed = torch.ones(shape, dtype=torch.bool, device=device)
    column = torch.arange(keys, device=device)
    bias = None
    if causal:
        allowed = allowed & (column <= torch.arange(queries, device=device)[:, None] + (keys - queries))
    if lengths is not None:
        counts = arguments.lengths(lengths, shape[:-3], keys, device)
        allowed = allowed & (column < counts[..., None, None, None])
    if mask is not None:
        mask = arguments.mask(mask, shape).to(device)
        if mask.dtype == torch.bool:
            allowed = allowed & mask
        else:
            bias = widen(mask)
            allowed = allowed & (bias != -math.inf)
    return allowed, bias


def _nearest(scores: Tensor, count: int) -> Tensor:
    """`scores` with −∞ for all but the `count` largest; among keys tied for the last place, the first is kept."""
    if count >= scores.shape[-1]:
        return scores
    ranked = scores.detach().argsort(dim=-1, descending=True, stable=True)
    rank = ranked.argsort(dim=-1)
    kept = (rank < count) | scores.isnan() | (scores == math.inf)
    return torch.where(kept, scores, -math.inf)


def _solved(scores: Tensor, plan: Plan) -> tuple[Tensor, Tensor, Tensor]:
    """The scores that are kept, their weights (rows without any are 0) and the logs of `solver.RowSolution`."""
    kept = scores if plan.nearest is None else _nearest(scores, plan.nearest)
    parameter, shape = scalar(plan.parameter, scores), scalar(plan.shape, scores)
    result, logs, _ = row(kept, parameter, shape, plan.order, plan.by_alpha, plan.rule)
    return kept, result, logs


def _weights(scores: Tensor, plan: Plan, empty: str) -> Tensor:
    """The weights of float64 scores; rows without any are filled as `empty` says."""
    if scores.shape[-1] == 0:
        return scores.clone()
    _, result, _ = _solved(scores.contiguous(), plan)
    bare = (result == 0).all(-1, keepdim=True)
    if empty == "raise":
        arguments.no_empty_row(bare[..., 0])
    return torch.where(bare, _filling(scores, empty), result)


def _filling(scores: Tensor, empty: str) -> Tensor:
    """The weights of an empty row, (..., m); without any unmasked key NaN, or 0 under "zeros"."""
    if empty == "zeros":
        return torch.zeros_like(scores)
    if empty not in {"uniform", "nearest"}:
        return torch.full_like(scores, math.nan)
    scores = scores.detach()
    chosen = scores > -math.inf
    if empty == "nearest":
        chosen = chosen & (scores == scores.amax(-1, keepdim=True))
    return chosen.to(torch.float64) / chosen.sum(-1, keepdim=True)


def _with_info(y: Tensor, scores: Tensor, plan: Plan, w: Tensor) -> AttentionInfo:
    """The diagnostics of attention; NaN in an empty row, except for the threshold at order ∞."""
    if w.shape[-1] == 0:
        nothing = torch.full(w.shape[:-1], math.nan, dtype=w.dtype, device=w.device)
        threshold = torch.full_like(nothing, -math.inf) if plan.order == math.inf else nothing
        return AttentionInfo(y, nothing, threshold, w > 0)
    kept, raw, logs = _solved(scores.detach().contiguous(), plan)
    peak, top = raw.amax(-1), kept.amax(-1)
    n, parameter = plan.order, scalar(plan.parameter, w).detach()
    side = -1 if n < 0 else 1
    if n == math.inf:
        threshold = torch.full_like(top, -math.inf)
    elif n == 0:
        threshold = torch.full_like(top, math.nan)
    elif plan.rule == "adaptive":
        threshold = parameter * top / n - peak.pow(1 / n)
    elif plan.rule == "anchored":
        threshold = (top - side * parameter) / n
    else:
        threshold = torch.full_like(top, 0.0) - side * parameter * parameter / (2 * n)
    if n != math.inf:
        threshold = torch.where(peak > 0, threshold, math.nan)
    normalizer = torch.where(peak > 0, -peak.log(), math.nan)
    return AttentionInfo(y, normalizer, threshold, (w > 0) | (logs < 0))
