"""Negative orders: ``w ∝ (1 + d/|γ|)^n``, with weight on every key that is not masked.

Gaps, and with them |γ|, are held by their halves, because a gap may exceed the largest float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernelproof.verify.backends.torch.double_word import logarithm, quotient, total, two_product, two_sum
from kernelproof.verify.backends.torch.terms import Pair, RowSolution, exponential, ratio_form

NEWTON_STEPS = 100
LAST_STEP = 2.0**-51  # relative to the unknown: convergence is quadratic, and what remains is rounding
SMALL_STEP = 2.0**-20  # the largest first-order correction: its square is neglected
HUGE = 1e300  # quotients from here on may overflow
LARGEST_LEAN = 1e300


def fixed_heavy(scores: Tensor, top: Tensor, live: Tensor, h: Tensor, order: float) -> RowSolution:
    """``|γ| + d = h²/2 − s``, h² with its rounding error, so that the sign of |γ| is exact; empty where |γ| ≤ 0."""
    square, rest = two_product(h, h)
    slack, error = two_sum((square / 2).expand_as(scores), torch.where(live, -scores, 0.0))
    slack, error = two_sum(slack, error + rest / 2)
    reach = (square / 2).expand_as(top), -top
    reach_head, reach_error = two_sum(*reach)
    reach_head = reach_head + (reach_error + rest / 2)
    inside = live & (reach_head > 0)
    below = torch.where(reach_head > 0, reach_head, 1.0)
    logs, terms = _terms(_halves(top, scores, inside), slack / 2, below / 2, inside, order)
    return _bounded(ratio_form(logs, terms, (slack, error), inside, -order))


def anchored_heavy(scores: Tensor, top: Tensor, live: Tensor, gamma: Tensor, order: float) -> RowSolution:
    """A constant |γ|."""
    halves, below = _halves(top, scores, live), gamma / 2
    slack = two_sum(below.expand_as(halves), halves)
    logs, terms = _terms(halves, slack[0], below, live, order)
    return _bounded(ratio_form(logs, terms, slack, live, -order / 2))


def adaptive_heavy(scores: Tensor, top: Tensor, live: Tensor, beta: Tensor, order: float) -> RowSolution:
    """α-entmax with α = 1 + 1/n below 1.

    The sum of the terms shows how far |γ| is off: ``log(γ/n) + log(Σ terms)/n = 0``, whose derivative in log |γ| is
    the mean of γ/(γ − d).
    """
    largest = torch.finfo(torch.float64).max
    halves = (beta * _halves(top, scores, live)).clamp(max=largest)
    height = _height(halves, live, order)
    below, error = two_product(height, torch.full_like(height, -order / 2))
    error = torch.where(error.isfinite(), error, 0.0)
    slack, rest = two_sum(below.expand_as(halves), halves)
    logs, terms = _terms(halves, slack, below, live, order)
    whole, part = total(*terms)
    whole = torch.where(whole > 0, whole, 1.0)
    a, a_tail = logarithm(height)
    b, b_tail = logarithm(whole)
    b, b_tail = quotient(b, b_tail + part / whole, torch.full_like(b, order), torch.zeros_like(b))
    off = (a + b) + (a_tail + b_tail)
    spread = torch.where(live, terms[0] * (below / slack), 0.0).sum(-1, keepdim=True) / whole
    error = error - below * torch.where(spread > 0, off / torch.where(spread > 0, spread, 1.0), 0.0)
    # The terms belong to the γ before this last step and, where d is large, to the rounded γ − d.
    moved = torch.where(live, order * (error + torch.where(halves < below / 2, 0.0, rest)) / slack, 0.0)
    moved = torch.where(moved.abs() <= SMALL_STEP, moved, 0.0)
    terms = terms[0], terms[1] + terms[0] * moved
    return ratio_form(logs, terms, (slack, rest + error), live, -order / 2)


def _halves(top: Tensor, scores: Tensor, inside: Tensor) -> Tensor:
    return torch.where(inside, top / 2 - torch.where(inside, scores, 0.0) / 2, 0.0)


def _bounded(row: RowSolution) -> RowSolution:
    return row._replace(lean=row.lean.clamp(max=LARGEST_LEAN))


def _power(above: Tensor, below: Tensor, ratio: Tensor, order: float) -> Tensor:
    """``ratio^order``, also where ``ratio = 1 + above/below`` overflows."""
    # Torch takes the power −2 of a large number by its square, which overflows.
    plain = (1 / ratio).square() if order == -2 else ratio.pow(order)
    far = ratio > HUGE
    if order <= -2:
        return torch.where(far, 0.0, plain)
    return torch.where(far, torch.where(far, above, 1.0).pow(order) * below.pow(-order), plain)


def _terms(halves: Tensor, slack: Tensor, below: Tensor, inside: Tensor, order: float) -> tuple[Tensor, Pair]:
    """``(slack/below)^n``, slack = below + halves, and its log: by log1p where the gap is small, else by a power."""
    depth = halves / below
    near = depth < 0.5
    ratio = torch.where(inside, slack, 1.0) / torch.where(inside, below, 1.0)
    far_log = torch.where(ratio > HUGE, slack.log() - below.log(), ratio.log())
    logs = torch.where(near, torch.log1p(torch.where(near, depth, 0.0)), far_log) * order
    head, tail = exponential(logs, inside)
    head = torch.where(near | ~inside, head, _power(halves, below, ratio, order))
    return torch.where(inside, logs, 0.0), (head, torch.where(near, tail, 0.0))


def _height(halves: Tensor, inside: Tensor, order: float) -> Tensor:
    """The root û of ``‖û + d/|n|‖_n = 1``, (..., 1), at which ``û = (Σ (1 + d/|γ|)^n)^(−1/n)``.

    The norm is concave and increasing in û: Newton's method climbs from û = 1.
    """
    depths = halves / (-order / 2)
    height = torch.ones_like(halves[..., :1])
    active = inside.any(-1, keepdim=True)
    for _ in range(NEWTON_STEPS):
        x = depths / height
        base = 1 + x
        power = torch.where(x < 0.5, torch.exp(order * torch.log1p(x)), _power(depths, height, base, order))
        power = torch.where(inside, power, 0.0)
        mass = power.sum(-1, keepdim=True)
        share = mass / (power / base).sum(-1, keepdim=True)
        step = torch.where(active, (mass.pow(-1 / order) - height) * share, 0.0)
        height = (height + step).clamp(min=1)
        active = active & (step > LAST_STEP * height)
        if not bool(active.any()):
            break
    return height
