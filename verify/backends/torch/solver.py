"""The weights of rows of float64 scores: one formula, ``w_i ∝ [1 − d_i/γ]₊^n``, and where γ comes from.

Orders n ≥ 1 use the ratio form, ``exp(n log1p(−d/γ))``. For ``Adaptive``, γ = n·û, where û is the root of
``‖û − d/n‖_n = 1`` over the support; Newton's method from û = 1 decreases to it, because the map is convex and smooth.
Orders n < 1 anchor at the smallest key of the support and solve for its weight. In both cases the support itself is
decided first, by the exact test over the sorted gaps. Nothing here is differentiated.

Source: arXiv:2601.22766, sections 2 to 4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kernelproof.verify.backends.torch.double_word import logarithm, power, quotient, total, two_product, two_sum
from kernelproof.verify.backends.torch.heavy_tails import adaptive_heavy, anchored_heavy, fixed_heavy
from kernelproof.verify.backends.torch.terms import Pair, RowSolution, difference, exponential, normalized, ratio_form

RULES = ("fixed", "anchored", "adaptive", "uniform")
NEWTON_STEPS = 100
# A Newton step below this, relative to the unknown, is the last: convergence is quadratic, so what remains is rounding.
# 4 units roundoff.
LAST_STEP = 2.0**-51
LARGEST_LEAN = 1e300
SMALLEST = 1e-300
# The largest first-order correction: its square is neglected.
SMALL_STEP = 2.0**-20
# More than the rounding of a sum of powers near 1, even with 1e5 of them.
DOUBT = 2.0**-40
# Double-word powers are off by 2^-58: sums that are exactly 1 must not come out below 1.
EDGE = -(2.0**-56)


def solve(scores: Tensor, parameter: Tensor, order: float, rule: str) -> RowSolution:
    """Compute the row map.

    Args:
        scores: (..., m) float64; masked keys are −∞.
        parameter: 0-d float64: h, gamma or beta.
        order: n in (−∞, ∞].
        rule: one of RULES; "uniform" is the whole row (order 0 among the nearest keys).
    """
    top = scores.amax(-1, keepdim=True)
    valid = top < math.inf
    live = scores > -math.inf
    top = torch.where(valid & (top > -math.inf), top, 0.0)
    if order < 0:
        heavy = {"fixed": fixed_heavy, "anchored": anchored_heavy, "adaptive": adaptive_heavy}[rule]
        row = heavy(scores, top, live, parameter, order)
    elif rule == "fixed":
        row = _fixed(scores, top, live, parameter, order)
    else:
        unit = parameter if rule == "adaptive" else torch.ones_like(parameter)
        gaps = torch.where(live, difference(top, scores, unit), 0.0)
        if rule == "adaptive":
            row = _adaptive(scores, gaps, live, parameter, order)
        elif rule == "anchored" and math.isfinite(order):
            row = _anchored(gaps, live, parameter, order)
        else:
            row = _shared(live if rule == "uniform" else live & (gaps == 0))
    return RowSolution(*(torch.where(valid, item, math.nan) for item in row))


def _shared(inside: Tensor) -> RowSolution:
    """Equal weights, constant in the scores."""
    count = inside.sum(-1, keepdim=True).clamp(min=1)
    weights = inside.to(torch.float64) / count
    return RowSolution(weights, torch.zeros_like(weights), torch.zeros_like(weights))


def _gaussian(gaps: Tensor, live: Tensor, h: Tensor) -> RowSolution:
    """``w ∝ exp(−d/h²)``; divides by h twice, because h² may overflow where the quotient does not."""
    logs = torch.where(live, -(gaps / h / h), 0.0)
    weights, _ = normalized(*exponential(logs, live))
    return RowSolution(weights, logs, weights / h / h)


def _fixed(scores: Tensor, top: Tensor, live: Tensor, h: Tensor, order: float) -> RowSolution:
    """``γ = h²/2 + max s``; h² with its rounding error, so that the sign of ``h²/2 + s`` is exact."""
    gaps = torch.where(live, difference(top, scores, torch.ones_like(h)), 0.0)
    if order == math.inf:
        return _gaussian(gaps, live, h)
    square, rest = two_product(h, h)
    slack, error = two_sum((square / 2).expand_as(scores), torch.where(live, scores, 0.0))
    slack, error = two_sum(slack, error + rest / 2)
    inside = live & (slack > 0)
    if order == 0:
        return _shared(live & (slack >= 0))
    reach = (square / 2 + top) + rest / 2
    logs, terms = _terms(gaps, slack, reach, inside, order)
    return ratio_form(logs, terms, (slack, error), inside, order)


def _anchored(gaps: Tensor, live: Tensor, gamma: Tensor, order: float) -> RowSolution:
    inside = live & (gaps < gamma)
    slack = two_sum(gamma.expand_as(gaps), -gaps)
    logs, terms = _terms(gaps, slack[0], gamma, inside, order)
    return ratio_form(logs, terms, slack, inside, order)


def _terms(gaps: Tensor, slack: Tensor, reach: Tensor, inside: Tensor, order: float) -> tuple[Tensor, Pair]:
    """``[slack/reach]^n``, slack = γ − d, and its log: by log1p where d is the small part, else by the quotient."""
    reach = torch.where(reach > 0, reach, 1.0)
    depth = torch.where(inside, gaps, 0.0) / reach
    near = depth < 0.5
    ratio = torch.where(inside, slack, reach) / reach
    logs = torch.where(near, torch.log1p(-torch.where(near, depth, 0.0)), ratio.log()) * order
    head, tail = exponential(logs, inside)
    head = torch.where(near | ~inside, head, ratio.pow(order))
    return torch.where(inside, logs, 0.0), (head, torch.where(near, tail, 0.0))


def _adaptive(scores: Tensor, gaps: Tensor, live: Tensor, beta: Tensor, order: float) -> RowSolution:
    if order == math.inf:
        return _gaussian(gaps, live, torch.ones_like(beta))
    inside = live & _support(scores, beta, order)
    gaps = torch.where(inside, gaps, 0.0)
    return _low(scores, gaps, inside, beta, order) if order < 1 else _high(gaps, inside, order)


def _high(gaps: Tensor, inside: Tensor, order: float) -> RowSolution:
    """Orders n ≥ 1, by the ratio form.

    The sum of the terms shows how far γ is off: ``log(γ/n) + log(Σ terms)/n = 0``, whose derivative in log γ is the
    mean of γ/slack.
    """
    height = _height(gaps, inside, order)
    reach, error = two_product(height, torch.full_like(height, order))
    slack, rest = two_sum(reach.expand_as(gaps), -gaps)
    low = slack < SMALLEST
    slack = slack.clamp(min=SMALLEST)
    logs, terms = _terms(gaps, slack, reach, inside, order)
    whole, part = total(*terms)
    whole = torch.where(whole > 0, whole, 1.0)
    a, a_tail = logarithm(height)
    b, b_tail = logarithm(whole)
    b, b_tail = quotient(b, b_tail + part / whole, torch.full_like(b, order), torch.zeros_like(b))
    off = (a + b) + (a_tail + b_tail)
    spread = torch.where(inside, terms[0] * (reach / slack), 0.0).sum(-1, keepdim=True) / whole
    error = error - reach * torch.where(spread > 0, off / torch.where(spread > 0, spread, 1.0), 0.0)
    # The terms belong to the γ before this last step and, where d is large, to the rounded slack. A key whose slack is
    # itself of the size of the step is within rounding of the threshold and stays as it is.
    known = inside & ~low & (error.abs() <= SMALL_STEP * slack)
    error = torch.where(known, error, 0.0)
    moved = torch.where(known, order * (error + torch.where(gaps < reach / 2, 0.0, rest)) / slack, 0.0)
    moved = torch.where(moved.abs() <= SMALL_STEP, moved, 0.0)
    terms = terms[0], terms[1] + terms[0] * moved
    row = ratio_form(logs, terms, (slack, torch.where(low, 0.0, rest + error)), inside, order)
    return row._replace(lean=inside.to(torch.float64)) if order == 1 else row


def _support(scores: Tensor, beta: Tensor, order: float) -> Tensor:
    """Keys i with ``Σ_{z_j > z_i} ((z_j − z_i)/n)^n < 1``, z = βs: true down to some score, found by bisection.

    For n ≤ 1, where a key near the threshold has slopes that are not small, sums that rounding leaves in doubt are
    computed again in double words.
    """
    ranked = scores.sort(-1, descending=True).values
    if order > 1:
        return scores >= ranked.gather(-1, _last(ranked, beta, order, 1.0))
    last = _last(ranked, beta, order, 1 + DOUBT)
    sure, _ = _mass(ranked, last, beta, order)
    if bool((sure >= 1 - DOUBT).any()):
        last = _last(ranked, beta, order, None)
    return scores >= ranked.gather(-1, last)


def _last(ranked: Tensor, beta: Tensor, order: float, limit: float | None) -> Tensor:
    """The last position, (..., 1), whose sum is below `limit`; None: below 1 in double words."""
    low = torch.zeros_like(ranked[..., :1], dtype=torch.int64)
    high = torch.full_like(low, ranked.shape[-1])
    for _ in range(ranked.shape[-1].bit_length()):
        middle = (low + high) // 2
        mass, reach = _mass(ranked, middle, beta, order, precise=limit is None)
        edge = limit if limit is not None else 0.0 if order == 1 else EDGE
        belongs = (mass < edge) & (reach < order)
        low = torch.where(belongs, middle, low)
        high = torch.where(belongs, high, middle)
    return low


def _mass(ranked: Tensor, place: Tensor, beta: Tensor, order: float, *, precise: bool = False) -> tuple[Tensor, Tensor]:
    """The sum of the exact test at a position, minus 1 if `precise`, and the gap at that position, both (..., 1)."""
    gaps = difference(ranked, ranked.gather(-1, place), beta)
    depths = gaps.clamp(min=0) / order
    if not precise:
        return depths.pow(order).sum(-1, keepdim=True), gaps[..., :1]
    above = (depths > 0) & (depths < math.inf)
    safe = torch.where(above, depths, 1.0)
    head, tail = (safe, torch.zeros_like(safe)) if order == 1 else power(safe, order)
    head, tail = (torch.where(above, part, 0.0) for part in (head, tail))
    one = torch.ones_like(head[..., :1])
    head, tail = total(torch.cat([head, -one], -1), torch.cat([tail, 0 * one], -1))
    return head + tail, gaps[..., :1]


def _height(gaps: Tensor, inside: Tensor, order: float) -> Tensor:
    """The root û of ``‖û − d/n‖_n = 1`` over the support, (..., 1), for n ≥ 1."""
    depths = gaps / order
    height = torch.ones_like(gaps[..., :1])
    active = inside.any(-1, keepdim=True)
    for _ in range(NEWTON_STEPS):
        u = (height - depths).clamp(min=0)
        mass = torch.where(inside, u.pow(order), 0.0).sum(-1, keepdim=True)
        slope = torch.where(inside, u.pow(order - 1), 0.0).sum(-1, keepdim=True)
        step = torch.where(active, mass * torch.expm1(-mass.log() / order) / slope, 0.0)
        height = height + step
        active = active & (step.abs() > LAST_STEP * height)
        if not bool(active.any()):
            break
    return height


def _low(scores: Tensor, gaps: Tensor, inside: Tensor, beta: Tensor, order: float) -> RowSolution:
    """Orders n < 1: solve ``Σ_j (c_j + x^{1/n})^n = 1`` for x, the weight of the smallest key of the support.

    The sum is convex in x, and Newton's method decreases to the root. Its last two steps compute the residual in double
    words: derivatives carry the (1/n − 1)-th power of every error in x.
    """
    anchor = torch.where(inside, scores, math.inf).amin(-1, keepdim=True)
    anchor = torch.where(anchor < math.inf, anchor, 0.0)
    over = torch.where(inside, difference(scores, anchor, beta), 0.0) / order
    x = 1 / inside.sum(-1, keepdim=True).clamp(min=1).to(torch.float64)
    active = inside.any(-1, keepdim=True)
    for _ in range(NEWTON_STEPS):
        step = torch.where(active, -_step(x, over, inside, order, precise=False), 0.0)
        active = active & (step.abs() > LAST_STEP * x)
        x = (x - step).clamp(min=SMALLEST)
        if not bool(active.any()):
            break
    x = (x + _step(x, over, inside, order, precise=True)).clamp(min=SMALLEST)
    part = _step(x, over, inside, order, precise=True) / x
    part = torch.where(part.abs() < 0.5, part, 0.0)
    v = x.pow(1 / order) * torch.exp(torch.log1p(part) / order)
    u, close = over + v, (over < v) | (over == 0)
    # Near ties are written as multiples of x, so that an error in 1/n is not amplified n-fold.
    rise = order * torch.log1p(torch.where(over < v, over / v, 0.0))
    weights = torch.where(close, x + x * (part + (1 + part) * torch.expm1(rise)), u.pow(order))
    height = torch.where(inside, u, 0.0).amax(-1, keepdim=True)
    logs, _ = _terms(gaps / order, u, height, inside, order)
    lean = u.pow(order - 1).clamp(max=LARGEST_LEAN)
    return RowSolution(*(torch.where(inside, item, 0.0) for item in (weights, logs, lean)))


def _step(x: Tensor, over: Tensor, inside: Tensor, order: float, *, precise: bool) -> Tensor:
    """The Newton step of `_low` at x."""
    v = x.pow(1 / order)
    u, close = over + v, (over < v) | (over == 0)
    head, tail = power(u, order) if precise else (u.pow(order), torch.zeros_like(u))
    growth = x * torch.expm1(order * torch.log1p(torch.where(over < v, over / v, 0.0)))
    head, tail = torch.where(close, x, head), torch.where(close, growth, tail)
    head, tail = (torch.where(inside, item, 0.0) for item in (head, tail))
    if precise:
        head, tail = total(torch.cat([head, -torch.ones_like(x)], -1), torch.cat([tail, torch.zeros_like(x)], -1))
        excess = head + tail
    else:
        excess = (head + tail).sum(-1, keepdim=True) - 1
    slopes = torch.where(over > 0, (v / u).pow(1 - order), 1.0)
    slope = torch.where(inside, slopes, 0.0).sum(-1, keepdim=True)
    return -excess / torch.where(slope > 0, slope, 1.0)
