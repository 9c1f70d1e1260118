"""What all solvers share: the weights and by-products of a row, and sums and quotients of its terms in double words."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from kernelproof.verify.backends.torch.double_word import quotient, total, two_product, two_sum

Pair = tuple[Tensor, Tensor]


class RowSolution(NamedTuple):
    """The weights of rows and the ingredients of their derivatives, each (..., m) float64, 0 off the support.

    Attributes:
        weights: w; rows without a key in the ball are all 0, rows with NaN or +∞ all NaN.
        logs: ``n log(1 − d/γ)``, −d/σ² for a Gaussian; below 0 for keys whose weight underflows.
        lean: ``w_i n/(γ − d_i)``, the derivative of ``w_i`` in its own score up to normalization; w/h² for a
            Gaussian of σ = h, w for softmax, 0 at order 0 and for argmax.
    """

    weights: Tensor
    logs: Tensor
    lean: Tensor


def difference(high: Tensor, low: Tensor, unit: Tensor) -> Tensor:
    """``unit·(high − low)``, also where the difference overflows and the product does not."""
    gaps = unit * (high - low)
    return torch.where(gaps == math.inf, 2 * (unit * (high / 2 - low / 2)), gaps)


def exponential(logs: Tensor, inside: Tensor) -> Pair:
    """``exp(logs)``, 0 off `inside`; a double word near 1, where the weights may be off by half a unit only."""
    near = logs > -0.5
    head, tail = two_sum(torch.ones_like(logs), torch.expm1(torch.where(near, logs, 0.0)))
    head = torch.where(near, head, logs.exp())
    return torch.where(inside, head, 0.0), torch.where(inside & near, tail, 0.0)


def normalized(heads: Tensor, tails: Tensor) -> Pair:
    """The terms divided by their sum; 0 where the sum is 0."""
    whole, part = total(heads, tails)
    head, tail = quotient(heads, tails, torch.where(whole > 0, whole, 1.0), part)
    return two_sum(head, tail)


def ratio_form(logs: Tensor, terms: Pair, slack: Pair, inside: Tensor, order: float) -> RowSolution:
    """The solution from these terms, with ``lean = order·w/slack`` rounded once."""
    weights, rest = normalized(*terms)
    top, error = two_product(weights, torch.full_like(weights, order))
    below = torch.where(inside, slack[0], 1.0), torch.where(inside, slack[1], 0.0)
    lean, missing = quotient(top, error + order * rest, *below)
    return RowSolution(weights, logs, torch.where(inside, lean + missing, 0.0))
