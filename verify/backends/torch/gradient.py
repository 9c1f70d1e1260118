"""Closed-form derivatives of the row map, in differentiable tensor operations, so that these have derivatives too.

Let ``a_i = w_i n/(γ − d_i)`` be the lean of `solver.RowSolution`, x̄ the mean of x weighted by a, and x̃ the mean
weighted by w. For a cotangent g of the weights, the map has

    adaptive   g_z = a (g − ḡ),      g_β = −Σ a (d − d̄) g,    g_{1/n} = −Σ a (F − F̄) g
    fixed      g_s = a (g − g̃),      g_h = h Σ w (e − ẽ) g,   e = n d/(γ (γ − d))
    anchored   the same g_s, minus g_γ at the largest score;   g_γ = Σ w (e − ẽ) g

and ``g_n = Σ w (l − l̃) g`` for the last two, l = log(1 − d/γ). At n < 0 all of it holds with γ < 0, so that γ
falls as h or gamma grow. F is ``n² (u log u − u)`` less its value at the
largest score, which leaves ``û (n² κ(t) − n t log p_top)``, ``κ(t) = (1 − t) log(1 − t) + t``, t = d/γ: two
positive terms, 0 for ties (``d²/2 − d log p_top`` at n = ∞). A second cotangent, of the logs, arises from
second derivatives only.

Source: arXiv:2601.22766, sections 2 to 4; Blondel, Martins and Niculae, JMLR 21 (2020), proposition 9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kernelproof.verify.backends.torch.double_word import quotient, total, two_product, two_sum

# Below x = 1, this many terms of the series of exp(x) − 1 − x leave out 1/22! of it; above, cancellation loses at most
# a factor of 4.
SERIES_TERMS = 21
LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class Saved:
    """One application of the row map: its arguments and results, as in `solver.solve` and `solver.RowSolution`."""

    scores: Tensor
    parameter: Tensor
    weights: Tensor
    logs: Tensor
    lean: Tensor
    order: float
    order_tensor: Tensor
    rule: str


@dataclass(frozen=True)
class RowGradients:
    """Gradients of one application; `order` is the derivative in n, `inverse` the one in 1/n = α − 1."""

    scores: Tensor
    parameter: Tensor
    order: Tensor
    inverse: Tensor


def gradients(saved: Saved, cotangent: Tensor, of_logs: Tensor | None) -> RowGradients:
    """The vector-Jacobian product of the row map; keys without lean are left out, whatever their cotangent holds."""
    on = saved.weights > 0 if saved.order < 0 and saved.rule != "adaptive" else saved.lean != 0
    if saved.order == 0:
        nothing = torch.zeros_like(saved.parameter)
        return RowGradients(torch.zeros_like(cotangent), nothing, nothing, nothing)
    saved = replace(saved, logs=torch.where(on, saved.logs, 0.0))
    g = torch.where(on, cotangent, 0.0)
    extra = None if of_logs is None else torch.where(on, of_logs, 0.0)
    return _adaptive(saved, on, g, extra) if saved.rule == "adaptive" else _constant(saved, on, g, extra)


def _centered(share: Tensor, g: Tensor) -> Tensor:
    """``g − Σ share·g / Σ share`` with a double-word mean, relative to the key with more than half the share, if any.

    Around that key the difference is as small as the share of the others, and is not lost to cancellation.
    """
    sums = share.sum(-1, keepdim=True)
    sums = torch.where(sums == 0, 1.0, sums)
    reference = torch.where(share > sums / 2, g, 0.0).sum(-1, keepdim=True)
    with torch.no_grad():
        whole, part = total(share, torch.zeros_like(share))
        moved, error = two_sum(g, -reference.expand_as(g))
        product, missing = two_product(share, moved)
        mean, rest = quotient(*total(product, missing + share * error), torch.where(whole == 0, 1.0, whole), part)
        head, tail = two_sum(moved, -mean.expand_as(g))
        accurate = head + (tail + (error - rest))
    shifted = g - reference
    return _valued(accurate, shifted - (share * shifted).sum(-1, keepdim=True) / sums)


def _sum(terms: Tensor) -> Tensor:
    """The sum of a row, (..., 1), rounded once."""
    with torch.no_grad():
        head, tail = total(terms, torch.zeros_like(terms))
    return _valued(head + tail, terms.sum(-1, keepdim=True))


def _depth(saved: Saved, on: Tensor) -> tuple[Tensor, Tensor]:
    """The largest score, (..., 1), and the gaps, 0 off the support; both are differentiable."""
    top = torch.where(on, saved.scores, -math.inf).amax(-1, keepdim=True)
    top = torch.where(top > -math.inf, top, 0.0)
    return top, torch.where(on, top - torch.where(on, saved.scores, 0.0), 0.0)


def _valued(value: Tensor, formula: Tensor) -> Tensor:
    """`value` with the derivatives of `formula`, which is the same number computed less accurately."""
    if not torch.is_grad_enabled():
        return value
    difference = (value - formula).detach()
    return torch.where(difference == 0, formula, formula + difference)


def _at_top(logs: Tensor, on: Tensor) -> Tensor:
    """1 at the largest score, shared among ties."""
    tied = on & (logs == 0)
    return tied.to(logs.dtype) / tied.sum(-1, keepdim=True).clamp(min=1)


def _bend(logs: Tensor, peak: Tensor, height: Tensor, order: float, n: Tensor) -> Tensor:
    """The F of the module docstring, from the logs ``n log(1 − t)``, ``log p_top`` and the value of û."""
    if order == math.inf:
        return logs * logs / 2 + logs * peak
    x = -logs / n
    near = x.abs() < 1
    small = torch.where(near, x, 0.0)
    series = torch.ones_like(x)
    for k in range(SERIES_TERMS, 2, -1):
        series = 1 + series * small / k
    far = torch.where(near, 1.0, x)
    kappa = torch.where(near, logs * logs / 2 * series * (-small).exp(), n * n * (1 - (1 + far) * (-far).exp()))
    return _valued(height, (peak / n).exp()) * (kappa + n * torch.expm1(-x) * peak)


def _adaptive(saved: Saved, on: Tensor, g: Tensor, extra: Tensor | None) -> RowGradients:
    n, order, p, logs = saved.order_tensor, saved.order, saved.weights, saved.logs
    highest = p.amax(-1, keepdim=True)
    peak = torch.where(highest > 0, highest, 1.0).log()
    exponent = torch.zeros_like(logs) if order == math.inf else -(logs + peak) / n
    inverse_u = torch.where(on, exponent.clamp(max=LARGEST_EXPONENT).exp(), 0.0)
    lean = torch.where(on, _valued(saved.lean, p * inverse_u), 0.0)
    moved, carried = lean * _centered(lean, g), lean * g
    if extra is not None:
        own = (extra - _at_top(logs, on) * extra.sum(-1, keepdim=True)) * inverse_u
        mass = lean.sum(-1, keepdim=True)
        moved = moved + own - lean * (own.sum(-1, keepdim=True) / torch.where(mass == 0, 1.0, mass))
        carried = carried + own
    _, gaps = _depth(saved, on)
    of_beta = -(carried * _centered(lean, gaps)).sum()
    if order < 0 and extra is None:
        with torch.no_grad():
            # lean·d where its factors under- and overflow: |n|·p·d/(|γ| + d)/β.
            share = torch.where(on, -torch.expm1(-logs / n), 0.0)
            accurate = n / saved.parameter * (p * _centered(lean, g) * share).sum()
        of_beta = _valued(accurate, of_beta)
    lean_top = (lean * _at_top(logs, on)).sum(-1, keepdim=True)
    height = highest / torch.where(lean_top == 0, 1.0, lean_top)
    bend = torch.where(on, _bend(logs, peak, height, order, n), 0.0)
    of_inverse = -(carried * _centered(lean, bend)).sum()
    of_order = torch.zeros_like(of_inverse) if order == math.inf else -of_inverse / (n * n)
    return RowGradients(saved.parameter * moved, of_beta, of_order, of_inverse)


def _less_half_square(value: Tensor, h: Tensor) -> Tensor:
    """``value − h²/2``, rounded once."""
    with torch.no_grad():
        square, rest = two_product(h, h)
        head, error = two_sum(value, (-square / 2).expand_as(value))
        accurate = head + (error - rest / 2)
    return _valued(accurate, value - h * h / 2)


def _reach_and_slack(saved: Saved, on: Tensor, top: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor]:
    """γ, (..., 1), and ``γ − d`` at a finite order."""
    h, fixed, heavy = saved.parameter, saved.rule == "fixed", saved.order < 0
    scores = torch.where(on, saved.scores, 0.0)
    # γ − d of the fixed rule is written without the largest score, which cancels and may be far above h.
    if not heavy:
        reach = (h * h / 2 + top) if fixed else h.expand_as(top)
        reach = torch.where(on.any(-1, keepdim=True), reach, 1.0)
        slack = h * h / 2 + scores if fixed else reach - gaps
    else:
        reach = _less_half_square(top, h) if fixed else -h.expand_as(top)
        reach = torch.where(on.any(-1, keepdim=True), reach, -1.0)
        slack = _less_half_square(scores, h) if fixed else reach - gaps
    return reach, torch.where(on, slack, 1.0)


def _constant(saved: Saved, on: Tensor, g: Tensor, extra: Tensor | None) -> RowGradients:
    """The rules whose γ does not depend on the weights."""
    n, w, h = saved.order_tensor, saved.weights, saved.parameter
    fixed, gaussian, heavy = saved.rule == "fixed", saved.order == math.inf, saved.order < 0
    top, gaps = _depth(saved, on)
    if gaussian:
        slope, rate = (1 / (h * h)).expand_as(w), 1 / (h * h)
        turn = slope * (2 * gaps / (h * h))
    else:
        reach, slack = _reach_and_slack(saved, on, top, gaps)
        slope, rate = n / slack, n / reach
        if heavy:
            # Where γ is tiny d/γ may overflow, and d/(γ − d) does not; it is −1 where d itself overflows.
            far = slack.isinf()
            turn = rate * torch.where(far, -1.0, gaps.masked_fill(far, 0.0) / slack.masked_fill(far, 1.0))
        else:
            turn = slope * (gaps / reach)
    lean = torch.where(on, _valued(saved.lean, w * slope), 0.0)
    moved, carried = torch.where(on, lean * _centered(w, g), 0.0), w * g
    of_parameter = _sum(carried * _centered(w, torch.where(on, turn, 0.0)))
    of_order = torch.zeros_like(w.sum()) if gaussian else (carried * _centered(w, saved.logs / n)).sum()
    if extra is not None:
        moved = moved + extra * slope
        of_parameter = of_parameter + (extra * turn).sum(-1, keepdim=True)
        of_order = of_order if gaussian else of_order + (extra * saved.logs).sum() / n
    at_top = _at_top(saved.logs, on)
    if extra is not None:
        moved = moved - rate * extra.sum(-1, keepdim=True) * at_top
    if not fixed:
        moved = moved - of_parameter * at_top
    of_parameter = of_parameter.sum()
    if heavy:
        # So far a derivative by γ, which falls as h or gamma grow.
        of_parameter = -of_parameter
    of_inverse = of_order if gaussian else -n * n * of_order
    return RowGradients(moved, of_parameter * h if fixed else of_parameter, of_order, of_inverse)
