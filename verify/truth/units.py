"""Condition units: how far an error of one unit roundoff in the inputs may move each output (docs/theory.md §4).

Everything here is first order, in float64, from the proved weights of rows; it sets the size of the allowed error
and never decides what is true. Notation: slopes ``l_i = ∂w_i/∂s_i`` before centring, ``J_ij = l_i(δ_ij − π_j)``
with π = w, or π = l/Σl for the adaptive rule; `moved` is the input error of each score over u.

Arrays hold one row, (S,), or several rows, (R, S). Shorter rows are padded with keys of weight 0, margin ∞ and
cotangent 0: these keys add nothing to other results, and the results for them have no meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import Adaptive, Anchored, Fixed

Floats = NDArray[np.float64]

DENSE = 1 << 16
"""Arrays of second derivatives with more entries are not stored: the compiled loops of `curvature` sum them."""


def _eye(values: Floats) -> Floats:
    return np.eye(values.shape[-1])


def _diagonal(values: Floats) -> Floats:
    return values[..., :, None] * _eye(values)


def _outer(a: Floats, b: Floats) -> Floats:
    return a[..., :, None] * b[..., None, :]


def _applied(matrix: Floats, vector: Floats) -> Floats:
    """matrix @ vector, row by row."""
    return np.asarray(np.matmul(matrix, vector[..., None])[..., 0])


def _weighed(vector: Floats, matrix: Floats) -> Floats:
    """vector @ matrix, row by row."""
    return np.asarray(np.matmul(vector[..., None, :], matrix)[..., 0, :])


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.einsum("...i,...i->...", a, b))


def _others(values: Floats) -> Floats:
    """For each of nonnegative values, the sum of all other values in its row."""
    before, after = np.zeros_like(values), np.zeros_like(values)
    before[..., 1:] = np.cumsum(values[..., :-1], axis=-1)
    after[..., :-1] = np.cumsum(values[..., :0:-1], axis=-1)[..., ::-1]
    return before + after


@dataclass(frozen=True, eq=False)
class RowUnits:
    """First-order sensitivities of a row over its support of S keys, or of R rows, (R, S).

    Attributes:
        weights: (S,) in (0, 1].
        margins: (S,) γ − d in the unit of the logits (+inf at order ∞), |γ| + d for negative orders.
        order: n as a float, inf allowed.
        rule: Fixed, Anchored or Adaptive.
        rate: at order ∞ the factor of the scores in the exponent, otherwise ignored.
        shift: (S,) what the parameters act on: scores for Fixed, gaps otherwise; in the unit of the logits.
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
    def stiffness(self) -> Floats:
        """∂ log r_i/∂s_i."""
        if self.flat:
            return np.zeros_like(self.weights)
        if self.order == np.inf:
            return np.full_like(self.weights, self.rate)
        with np.errstate(divide="ignore", over="ignore"):
            return np.minimum(abs(self.order) / self.margins, 1e250)

    @cached_property
    def reach(self) -> Floats:
        """(1,) or (R, 1): the margin of the nearest key, |γ|; 0 in a row without weights."""
        live = self.weights > 0
        if self.order < 0:
            least = np.where(live, self.margins, np.inf).min(axis=-1, keepdims=True, initial=np.inf)
            return np.asarray(np.where(np.isfinite(least), least, 0.0))
        return np.asarray(np.where(live, self.margins, 0.0).max(axis=-1, keepdims=True, initial=0.0))

    @cached_property
    def slopes(self) -> Floats:
        """l_i."""
        return self.stiffness * self.weights

    @cached_property
    def pi(self) -> Floats:
        """π_j of ``J_ij = l_i(δ_ij − π_j)``."""
        if isinstance(self.rule, Adaptive):
            total = self.slopes.sum(axis=-1, keepdims=True)
            return np.asarray(self.slopes / np.where(total > 0, total, 1.0))
        # ∂w_i/∂s_j = w_i(δ_ij a_i − a_j w_j): cotangents are centred by w, scores by the slopes.
        return self.weights

    @cached_property
    def jacobian(self) -> Floats:
        """(S, S): ∂w_i/∂s_j; symmetric for the adaptive rule."""
        if isinstance(self.rule, Adaptive):
            return self._base
        return _diagonal(self.slopes) - _outer(self.weights, self.slopes)

    @cached_property
    def _base(self) -> Floats:
        """(S, S): ``l_i(δ_ij − π_j)``."""
        return _diagonal(self.slopes) - _outer(self.slopes, self.pi)

    @cached_property
    def _doubled(self) -> float:
        """2 for Fixed and Anchored, which also round their parameter, so that all scores move together; else 1."""
        return 1.0 if isinstance(self.rule, Adaptive) else 2.0

    @cached_property
    def weight(self) -> Floats:
        """(S,) unit of each weight; for the adaptive rule the bracket of docs/theory.md §4."""
        left, right = (self.slopes, self.pi) if isinstance(self.rule, Adaptive) else (self.weights, self.slopes)
        with np.errstate(over="ignore", invalid="ignore"):
            # |J| @ moved in O(S): off the diagonal J is −left_i·right_j, and sums on both sides of i do not cancel.
            others = _others(right * self.moved)
            own = np.abs(self.slopes - left * right) * self.moved
            return np.asarray(self.weights + self._doubled * (own + np.where(left > 0, left * others, 0.0)))

    def mean(self, values: Floats) -> Floats:
        """(e,) unit of ``Σ w_i v_i`` for values (S, e), of one row."""
        centre = self.pi @ values
        y = self.weights @ values
        by_score = np.abs(self.slopes[:, None] * (values - centre))
        return np.asarray(np.abs(y) + self.weights @ np.abs(values) + self._doubled * (self.moved @ by_score))

    @cached_property
    def _power(self) -> float:
        """c = 1 − 1/n, the ratio of ``∂ log l_i/∂s_i`` to the stiffness; 1 at orders 0 and ∞."""
        return 1.0 - 1.0 / self.order if self.order != 0 and self.order < np.inf else 1.0

    @cached_property
    def _bend(self) -> tuple[Floats, Floats, Floats]:
        """(D, A, B) of ``∂ log l_i/∂s_k = D_i δ_ik − A_i B_k``."""
        own = self._power * self.stiffness
        if isinstance(self.rule, Adaptive):
            return own, own, self.pi
        return own, np.ones_like(own), self.slopes

    def _times_bend(self, matrix: Floats) -> Floats:
        """matrix @ (∂ log l_i/∂s_k), in O(S²)."""
        d, a, b = self._bend
        return np.asarray(matrix * d[..., None, :] - _outer(_applied(matrix, a), b))

    @cached_property
    def _moved_pi(self) -> Floats:
        """(S, S): ∂π_j/∂s_k."""
        if not isinstance(self.rule, Adaptive):
            return self.jacobian
        d, a, b = self._bend
        q = _diagonal(d) - _outer(a, b)
        return np.asarray(self.pi[..., :, None] * (q - (self.pi * d - _dot(self.pi, a)[..., None] * b)[..., None, :]))

    @cached_property
    def second(self) -> Floats:
        """(S, S, S): ∂²w_j/(∂s_i ∂s_k) as [i, j, k], from ``J_ij = l_i(δ_ij − π_j)``; transposed for fixed rules."""
        d, a, b = self._bend
        q = _diagonal(d) - _outer(a, b)
        return np.asarray(
            q[..., :, None, :] * self._base[..., :, :, None]
            - self.slopes[..., :, None, None] * self._moved_pi[..., None, :, :]
        )

    def _bent(self, size: Floats) -> Floats:
        """(S,): ``Σ_jk |∂J_ij/∂s_k| size_j moved_k``."""
        if self.weights.size * self.weights.shape[-1] ** 2 <= DENSE:
            return np.asarray(np.einsum("...ijk,...j,...k->...i", np.abs(self.second), size, self.moved))
        from kernelproof.verify.truth.curvature import bend_rows  # noqa: PLC0415 (loads numba)

        keys = self.weights.shape[-1]
        vectors = (self.stiffness, self.pi, self.slopes, size, self.moved)
        a, pi, slopes, g, moved = (np.ascontiguousarray(each.reshape(-1, keys)) for each in vectors)
        out = np.empty_like(a)
        bend_rows(isinstance(self.rule, Adaptive), self._power, a, pi, slopes, g, moved, out)
        return out.reshape(self.weights.shape)

    @cached_property
    def _products(self) -> Floats:
        """(S, S): ``l_i(δ_ij + π_j)``, the sizes of the products in J before the two of the diagonal cancel.

        A backward that reads stored weights cannot know ``1 − w_i`` to better than a rounding of ``w_i``.
        """
        return _diagonal(self.slopes) + _outer(self.slopes, self.pi)

    def score_gradient(self, cotangent: Floats, noise: Floats | None = None) -> Floats:
        """(S,) unit of ``c_i = Σ_j J_ij g_j``; `noise` is the rounding of g itself, over u."""
        size = np.abs(cotangent)
        out = _applied(self._products, size if noise is None else size + noise) + self._doubled * self._bent(size)
        if isinstance(self.rule, Anchored):
            nearest = (self.shift == 0) & (self.weights > 0)
            out = np.where(nearest, out + out.sum(axis=-1, keepdims=True), out)
        return np.asarray(out)

    def parameter_gradient(self, cotangent: Floats, coefficient: float) -> Floats:
        """Unit of ``coefficient·Σ_ij g_j J_ij x_i`` with x = `shift`: the gradient in h, gamma or beta."""
        size, x = np.abs(cotangent), self.shift
        # For Fixed, x holds the scores; for the other rules it holds the gaps, which fall as the scores rise.
        sign = 1.0 if isinstance(self.rule, Fixed) else -1.0
        turned = np.swapaxes(self._base, -1, -2)
        moved = self._times_bend(turned * x[..., None, :]) - _dot(self.slopes, x)[..., None, None] * self._moved_pi
        moved = moved + sign * turned
        products = _weighed(np.abs(x), self._products)
        terms = _dot(products, size)
        if self.order < 0:
            # Where a slope underflows, its product with a huge gap need not.
            shares = np.minimum(np.abs(x) / np.minimum(self.margins, 1e300), 1.0)
            reached = np.where(self.weights > 0, shares, 0.0)
            terms = np.maximum(terms, -self.order * _dot(self.weights * reached, size))
        unit = terms + self._doubled * _dot(size, _applied(np.abs(moved), self.moved))
        return np.asarray(abs(coefficient) * unit)

    def order_gradient(self, cotangent: Floats) -> Floats:
        """Unit of the gradient in n (G2); at order ∞ of the gradient in α."""
        w, size = self.weights, np.abs(cotangent)
        adaptive = isinstance(self.rule, Adaptive)
        if self.flat or (self.order == np.inf and not adaptive):
            return np.zeros(w.shape[:-1])
        w_moved = self.jacobian
        if self.order == np.inf:
            log = np.log(np.maximum(w, 1e-320))
            spread = _dot(w, log**2)[..., None]
            moved_spread = _weighed(log**2 + 2 * log, w_moved)
            moved = (w_moved * (spread - log**2 - 2 * log)[..., None] + _outer(w, moved_spread)) / 2
            terms = w * (spread + log**2) / 2
            return np.asarray(_dot(size, terms) + _dot(size, _applied(np.abs(moved), self.moved)))
        n = self.order
        if adaptive:
            log = np.log(np.maximum(w, 1e-320)) / n
            rest = np.expm1(np.minimum(-log, 700.0))
            phi = np.where(w > 0, log + rest, 0.0)
            total = _dot(w, phi)[..., None]
            gain = np.where(w > 0, phi - rest / n, 0.0)
            moved = gain[..., None] * w_moved - total[..., None] * self._moved_pi
            moved = moved - _outer(self.pi, _weighed(gain, w_moved))
            terms = w * np.abs(phi) + self.pi * np.abs(total)
            return np.asarray(_dot(size, terms) + _dot(size, _applied(np.abs(moved), self.moved)))
        reach = self.reach
        own_reach, own_margins = np.where(reach > 0, reach, 1.0), np.where(w > 0, self.margins, 1.0)
        if n < 0:
            # Their quotient may be beyond float64.
            log = np.where(w > 0, np.log(np.minimum(own_margins, 1e308)) - np.log(own_reach), 0.0)
        else:
            log = np.where(w > 0, np.log(np.maximum(own_margins / own_reach, 1e-320)), 0.0)
        mean = _dot(w, log)[..., None]
        own = self.stiffness / n
        moved = w_moved * (log - mean)[..., None] + _diagonal(w * own)
        moved = moved - _outer(w, _weighed(log, w_moved) + w * own)
        terms = w * (np.abs(log) + np.abs(mean))
        return np.asarray(_dot(size, terms) + 2.0 * _dot(size, _applied(np.abs(moved), self.moved)))
