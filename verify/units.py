"""Condition units: how far an error of one unit roundoff in the inputs may move each output (docs/theory.md §4).

Everything here is first order, in float64, from the proved weights of one row; it sizes the allowed error
and never decides what is true. Notation: slopes ``l_i = ∂w_i/∂s_i`` before centring, ``J_ij = l_i(δ_ij − π_j)``
with π = w, or π = l/Σl for the adaptive rule; `moved` is the input error of each score over u.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import Adaptive, Anchored, Fixed

Floats = NDArray[np.float64]


def _others(values: Floats) -> Floats:
    """(S,) the sum of all entries but each one, by sums from both ends: nothing cancels."""
    before, after = np.zeros_like(values), np.zeros_like(values)
    before[1:] = np.cumsum(values[:-1])
    after[:-1] = np.cumsum(values[:0:-1])[::-1]
    return before + after


@dataclass(frozen=True, eq=False)
class RowUnits:
    """First-order sensitivities of one row over its support of S keys.

    Attributes:
        weights: (S,) in (0, 1].
        margins: (S,) γ − d in the unit of the logits (+inf at order ∞).
        order: n as a float, inf allowed.
        rule: Fixed, Anchored or Adaptive.
        rate: at order ∞ the factor of the scores in the exponent, else ignored.
        shift: (S,) what the parameters act on: scores for Fixed, gaps else; in the unit of the logits.
        moved: (S,) input error of each score over u, in the unit of the logits.
    """

    weights: Floats
    margins: Floats
    order: float
    rule: Fixed | Anchored | Adaptive
    rate: float
    shift: Floats
    moved: Floats

    @cached_property
    def flat(self) -> bool:
        """Whether the weights do not depend on the scores at all (order 0, argmax)."""
        return self.order == 0 or (isinstance(self.rule, Anchored) and self.order == np.inf)

    @cached_property
    def _stiffness(self) -> Floats:
        """∂ log r_i/∂s_i."""
        if self.flat:
            return np.zeros_like(self.weights)
        if self.order == np.inf:
            return np.full_like(self.weights, self.rate)
        with np.errstate(divide="ignore", over="ignore"):
            return np.minimum(self.order / self.margins, 1e250)

    @cached_property
    def slopes(self) -> Floats:
        """l_i."""
        return self._stiffness * self.weights

    @cached_property
    def _pi(self) -> Floats:
        total = self.slopes.sum()
        if isinstance(self.rule, Adaptive):
            return self.slopes / total if total > 0 else self.slopes
        # ∂w_i/∂s_j = w_i(δ_ij a_i − a_j w_j): centring by w acts on cotangents; on scores it is by the slopes.
        return self.weights

    @cached_property
    def jacobian(self) -> Floats:
        """(S, S): ∂w_i/∂s_j; symmetric for the adaptive rule."""
        if isinstance(self.rule, Adaptive):
            return np.diag(self.slopes) - np.outer(self.slopes, self._pi)
        return np.diag(self.slopes) - np.outer(self.weights, self.slopes)

    @cached_property
    def _doubled(self) -> float:
        """Fixed and Anchored also take one rounding of their parameter, which moves all scores together."""
        return 1.0 if isinstance(self.rule, Adaptive) else 2.0

    @cached_property
    def weight(self) -> Floats:
        """(S,) unit of each weight, ``w + |J|·moved``; for the adaptive rule the bracket of docs/theory.md §4.

        J is a diagonal less an outer product, so that no row of thousands of keys needs all S² entries of it.
        """
        rows, columns = (self.slopes, self._pi) if isinstance(self.rule, Adaptive) else (self.weights, self.slopes)
        with np.errstate(over="ignore", invalid="ignore"):
            own = np.abs(self.slopes - rows * columns) * self.moved
            return self.weights + self._doubled * (own + rows * _others(columns * self.moved))

    def mean(self, values: Floats) -> Floats:
        """(e,) unit of ``Σ w_i v_i`` for values (S, e)."""
        centre = self._pi @ values
        y = self.weights @ values
        by_score = np.abs(self.slopes[:, None] * (values - centre))
        return np.asarray(np.abs(y) + self.weights @ np.abs(values) + self._doubled * (self.moved @ by_score))

    @cached_property
    def _curvature(self) -> tuple[Floats, Floats, Floats]:
        """(Q, P, J): ∂ log l_i/∂s_k, ∂π_j/∂s_k and ∂w_i/∂s_k."""
        if self.flat:
            none = np.zeros((len(self.weights), len(self.weights)))
            return none, none, none
        jacobian, eye = self.jacobian, np.eye(len(self.weights))
        if isinstance(self.rule, Adaptive):
            power = 1.0 if self.order == np.inf else 1.0 - 1.0 / self.order
            relative = self._stiffness[:, None] * (eye - self._pi[None, :])
            q = power * relative if self.order != np.inf else relative
            p = self._pi[:, None] * (q - (self._pi @ q)[None, :])
            return q, p, jacobian
        bent = 0 < self.order < np.inf
        own = -self._stiffness / self.order if bent else np.zeros_like(self.weights)
        q = np.diag(own + self._stiffness) - self.slopes[None, :]
        return q, jacobian, jacobian

    @cached_property
    def second(self) -> Floats:
        """(S, S, S): ∂²w_j/(∂s_i ∂s_k) as [i, j, k], from ``J_ij = l_i(δ_ij − π_j)``; transposed for fixed rules."""
        q, p, _ = self._curvature
        base = np.diag(self.slopes) - np.outer(self.slopes, self._pi)
        return q[:, None, :] * base[:, :, None] - self.slopes[:, None, None] * p[None, :, :]

    @cached_property
    def _products(self) -> Floats:
        """(S, S): ``l_i(δ_ij + π_j)``, the sizes of the products in J before the two of the diagonal cancel.

        A backward that reads stored weights cannot know ``1 − w_i`` to better than a rounding of ``w_i``.
        """
        return np.diag(self.slopes) + np.outer(self.slopes, self._pi)

    def score_gradient(self, cotangent: Floats, noise: Floats | None = None) -> Floats:
        """(S,) unit of ``c_i = Σ_j J_ij g_j``; `noise` is the rounding of g itself, over u."""
        base = self._products
        size = np.abs(cotangent)
        out = base @ size + self._doubled * np.einsum("ijk,j,k->i", np.abs(self.second), size, self.moved)
        if noise is not None:
            out = out + base @ noise
        if isinstance(self.rule, Anchored):
            nearest = self.shift == 0
            out = np.where(nearest, out + out.sum(), out)
        return np.asarray(out)

    def parameter_gradient(self, cotangent: Floats, coefficient: float) -> float:
        """Unit of ``coefficient·Σ_ij g_j J_ij x_i`` with x = `shift`: the gradient in h, gamma or beta."""
        size, x = np.abs(cotangent), self.shift
        base = np.diag(self.slopes) - np.outer(self.slopes, self._pi)
        # x is the scores themselves for Fixed, and falls as they rise for gaps.
        sign = 1.0 if isinstance(self.rule, Fixed) else -1.0
        moved = np.einsum("ijk,i->jk", self.second, x) + sign * base.T
        products = self._products * np.abs(x)[:, None]
        unit = products.sum(axis=0) @ size + self._doubled * float(size @ np.abs(moved) @ self.moved)
        return abs(coefficient) * float(unit)

    def order_gradient(self, cotangent: Floats) -> float:
        """Unit of the gradient in n (G2); at order ∞ of the gradient in α."""
        if self.flat:
            return 0.0
        w, size = self.weights, np.abs(cotangent)
        _, p_moved, w_moved = self._curvature
        if self.order == np.inf:
            if not isinstance(self.rule, Adaptive):
                return 0.0
            log = np.log(np.maximum(w, 1e-320))
            spread = float(w @ log**2)
            moved_spread = (log**2 + 2 * log) @ w_moved
            moved = (w_moved * (spread - log**2 - 2 * log)[:, None] + np.outer(w, moved_spread)) / 2
            terms = w * (spread + log**2) / 2
            return float(size @ terms + size @ np.abs(moved) @ self.moved)
        n = self.order
        if isinstance(self.rule, Adaptive):
            log = np.log(np.maximum(w, 1e-320)) / n
            phi = log + np.expm1(np.minimum(-log, 700.0))
            total = float(w @ phi)
            gain = phi - np.expm1(np.minimum(-log, 700.0)) / n
            moved = gain[:, None] * w_moved - total * p_moved - np.outer(self._pi, gain @ w_moved)
            terms = w * np.abs(phi) + self._pi * abs(total)
            return float(size @ terms + size @ np.abs(moved) @ self.moved)
        reach = float(self.margins.max())
        log = np.log(np.maximum(self.margins / reach, 1e-320))
        mean = float(w @ log)
        own = self._stiffness / n
        moved = w_moved * (log - mean)[:, None] + np.diag(w * own) - np.outer(w, w_moved.T @ log + w * own)
        terms = w * (np.abs(log) + abs(mean))
        return float(size @ terms + 2.0 * (size @ np.abs(moved) @ self.moved))
