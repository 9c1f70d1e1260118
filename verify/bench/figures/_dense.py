"""Dense regression and attention in torch: compute the scores of all pairs, their weights, and a matrix product.

Written for speed, in place where that saves a copy, because the Numba backend is compared with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

STEPS = 16
"""The most Newton steps for the threshold of entmax; it stops when the step of every row is at most `SMALL`."""
SMALL = 1e-7

Weigh = Callable[[Any], Any]
"""Maps (..., T, S) scores, which it may overwrite, to weights."""


def softmax(scores: Any) -> Any:
    """Weights of order ∞ with the adaptive rule."""
    return scores.softmax(-1)


def entmax(scores: Any, order: int) -> Any:
    """Weights of an integer order n with the adaptive rule.

    Newton's method on ``Σ [z/n − τ]₊^n = 1`` from below; it converges because the sum is convex and monotone.
    """
    scores.div_(order)
    tau = scores.amax(-1, keepdim=True) - 1
    for _ in range(STEPS):
        kept = (scores - tau).clamp_(min=0)
        slopes = kept if order == 2 else kept.sign() if order == 1 else kept.pow(order - 1)
        total, slope = (kept * slopes).sum(-1, keepdim=True), slopes.sum(-1, keepdim=True)
        step = ((total - 1) / (order * slope)).clamp_(min=0)
        tau += step
        if float(step.max()) <= SMALL:
            break
    return _normalized((scores - tau).clamp_(min=0), order)


def anchored(scores: Any, order: int, gamma: float) -> Any:
    """ReLUmax of order n: ``[1 − d/γ]₊^n``, normalized."""
    return _normalized(scores.sub_(scores.amax(-1, keepdim=True)).div_(gamma).add_(1).clamp_(min=0), order)


def fixed(scores: Any, order: int, h: float) -> Any:
    """Weights of scores −‖q − k‖²/2: ``[h² − ‖q − k‖²]₊^n``, normalized; a row without a key in the ball is NaN."""
    return _normalized(scores.mul_(2).add_(h * h).clamp_(min=0), order)


def _normalized(kept: Any, order: int) -> Any:
    powered = kept if order == 1 else kept.pow_(order)
    return powered.div_(powered.sum(-1, keepdim=True))


def attention(q: Any, k: Any, v: Any, weigh: Weigh) -> Any:
    """Dense attention: (H, T, d), (H, S, d), (H, S, e) -> (H, T, e)."""
    return weigh((q @ k.mT).mul_(q.shape[-1] ** -0.5)) @ v


def regression(q: Any, k: Any, v: Any, weigh: Weigh) -> Any:
    """Dense regression, in the shapes of `attention`: scores −‖q − k‖²/2, computed from dot products."""
    scores = (q @ k.mT).sub_((q * q).sum(-1, keepdim=True) / 2).sub_((k * k).sum(-1, keepdim=True).mT / 2)
    return weigh(scores.clamp_(max=0)) @ v
