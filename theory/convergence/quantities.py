"""What converges: quantities at a finite order by the certified reference, limits and first-order terms in closed form.

A quantity holds exact inputs. `value` comes from the reference; `limit` and `first` come from softmax alone
(`expansion`), so that an error and the coefficient with which it is compared share no computation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from flint import arb
from numpy.typing import NDArray

from kernelproof.reference import Adaptive, Anchored, Kernel, attention, entmax_vjp, regression, weights
from kernelproof.reference.ops.attention import default_scale
from kernelproof.reference.scores import exact_scores
from kernelproof.theory.convergence.expansion import SoftmaxExpansion
from kernelproof.theory.convergence.norms import Norm, divergence, norm_of
from kernelproof.theory.convergence.row_series import RowSeries
from kernelproof.theory.rows import dot
from kernelproof.theory.series import Series, ball, balls

Floats = NDArray[np.float64]
Sizes = dict[Norm, arb]
PROBABILITY = (Norm.VARIATION, Norm.DIVERGENCE, Norm.L1, Norm.MAX)
VECTOR = (Norm.L1, Norm.MAX)
SCALAR = (Norm.SIZE,)


class Quantity(Protocol):
    """What a curve shows; balls have the working precision."""

    @property
    def norms(self) -> tuple[Norm, ...]:
        """The norms of its error; the first one is drawn."""

    @property
    def degenerate(self) -> str:
        """Why the first coefficient is exactly 0, or ""; decided on the exact inputs."""

    def coefficients(self) -> Sizes:
        """The constant c of ``error = c·n^slope + …`` by norm, from the limit alone."""

    def errors(self, order: Fraction, bits: int) -> dict[Norm, tuple[arb, arb]] | None:
        """By norm: the error at `order`, and the remainder after its first term; None where nothing is defined."""

    def near_limit(self, eps: arb) -> dict[Norm, tuple[arb, arb]]:
        """By norm, the sizes of the Taylor coefficients in ε = 1/n of the first-order term and of its remainder.

        They are computed from the definition, and hold at every ε of the ball `eps`, which is [0, 1/N] or 0.

        Raises:
            UndecidedError: the ball is too wide, so that nothing is proved.
        """


class VectorQuantity:
    """A quantity whose error is a vector."""

    norms: tuple[Norm, ...] = VECTOR

    def value(self, order: Fraction, bits: int) -> list[arb] | None:
        """The vector at a finite order, by the reference with `bits` bits."""
        raise NotImplementedError

    def limit(self) -> list[arb]:
        """The vector at n = ∞."""
        raise NotImplementedError

    def first(self) -> list[arb]:
        """The coefficient of 1/n."""
        raise NotImplementedError

    def series(self, eps: arb) -> list[Series]:
        """The vector at n = 1/ε as series of length 3 at the ball `eps`, from its definition."""
        raise NotImplementedError

    def near_limit(self, eps: arb) -> dict[Norm, tuple[arb, arb]]:
        """The norms of the coefficient vectors: of a norm, the remainder is at most the norm of the remainder."""
        found = self.series(eps)
        first, rest = ([each[k] for each in found] for k in (1, 2))
        return {norm: (norm_of(norm, first), norm_of(norm, rest)) for norm in self.norms if norm is not Norm.DIVERGENCE}

    def coefficients(self) -> Sizes:
        """The norms of the coefficient vector."""
        first = self.first()
        return {norm: norm_of(norm, first) for norm in self.norms if norm is not Norm.DIVERGENCE}

    def errors(self, order: Fraction, bits: int) -> dict[Norm, tuple[arb, arb]] | None:
        """The norms of ``value − limit`` and of ``value − limit − first/n``."""
        value = self.value(order, bits)
        if value is None:
            return None
        n = ball(order)
        error = [a - b for a, b in zip(value, self.limit(), strict=True)]
        rest = [a - b / n for a, b in zip(error, self.first(), strict=True)]
        return {norm: (norm_of(norm, error), norm_of(norm, rest)) for norm in self.norms if norm is not Norm.DIVERGENCE}


@dataclass(frozen=True)
class Weights(VectorQuantity):
    """The weights of one row under a rule that tends to softmax.

    Attributes:
        logits: z for "adaptive" and "anchored" (γ = n/β); for "fixed" they are −D/2, with D the squared distances.
        rule: "adaptive", "anchored" or "fixed" (h² = 2nσ²).
        scale: β of the first two rules, 1/σ² of the third.
    """

    logits: tuple[float, ...]
    rule: Literal["adaptive", "anchored", "fixed"] = "adaptive"
    scale: Fraction = Fraction(1)
    norms: tuple[Norm, ...] = PROBABILITY

    @property
    def degenerate(self) -> str:
        """The case of equal logits."""
        return tied(self.logits)

    def mechanism(self, order: Fraction) -> Adaptive | Anchored | None:
        """The rule at `order`; None where its ball is empty.

        `Fixed` with ``h² = 2nσ²`` is `Anchored` at ``γ = nσ² − min D/2``, so h may be irrational (docs/theory.md §1).
        """
        if self.rule == "adaptive":
            return Adaptive(self.scale)
        if self.rule == "anchored":
            return Anchored(order / self.scale)
        gamma = order / self.scale + Fraction(max(self.logits))
        return Anchored(gamma) if gamma > 0 else None

    def value(self, order: Fraction, bits: int) -> list[arb] | None:
        """The certified weights."""
        rule = self.mechanism(order)
        if rule is None:
            return None
        return balls(weights(list(self.logits), Kernel(order), rule, precision=bits).weights.values())

    @property
    def scores(self) -> list[Fraction]:
        """The exact logits in the unit of the limit, which is their softmax."""
        return [self.scale * Fraction(z) for z in self.logits]

    @property
    def scaled(self) -> list[Fraction] | None:
        """The distances x_i of ``w_i ∝ [1 − x_i/n]₊^n``; None for the adaptive rule."""
        if self.rule == "adaptive":
            return None
        start = Fraction(0) if self.rule == "fixed" else max(self.scores)
        return [start - z for z in self.scores]

    @property
    def expansion(self) -> SoftmaxExpansion:
        """The expansion of the row in its own unit."""
        return SoftmaxExpansion.of(self.scores, self.scaled)

    def row(self, eps: arb, length: int) -> RowSeries:
        """The weights as series."""
        if self.scaled is None:
            return RowSeries.adaptive(self.scores, eps, length)
        return RowSeries.compact(self.scaled, eps, length)

    def series(self, eps: arb) -> list[Series]:
        """The weights as series."""
        return self.row(eps, 3).weights

    def near_limit(self, eps: arb) -> dict[Norm, tuple[arb, arb]]:
        """Those of the vector, and the third Taylor coefficient of ``KL(w ‖ p)``."""
        found = self.row(eps, 4).divergence(self.expansion.log)
        return {**super().near_limit(eps), Norm.DIVERGENCE: (found[2], abs(found[3]))}

    def limit(self) -> list[arb]:
        """Softmax, that is, the Gaussian."""
        return self.expansion.p

    def first(self) -> list[arb]:
        """``p_i(E − y_i²)/2``."""
        return self.expansion.first

    def coefficients(self) -> Sizes:
        """Those of the vector, and ``Var_p(y²)/8`` for the divergence."""
        return {**super().coefficients(), Norm.DIVERGENCE: self.expansion.divergence}

    def errors(self, order: Fraction, bits: int) -> dict[Norm, tuple[arb, arb]] | None:
        """Those of the vector, and ``KL(w ‖ p)``."""
        found = super().errors(order, bits)
        value = self.value(order, bits)
        if found is None or value is None:
            return None
        total = divergence(value, self.limit())
        return {**found, Norm.DIVERGENCE: (total, total - self.expansion.divergence / ball(order) ** 2)}


@dataclass(frozen=True)
class Bandwidth(VectorQuantity):
    """``h² − 2n/β`` of the adaptive rule on one row of squared distances, which tends to ``−2·LSE/β``."""

    distances: tuple[float, ...]
    beta: Fraction
    norms: tuple[Norm, ...] = SCALAR

    @property
    def degenerate(self) -> str:
        """The case of a single key, where h² is exactly ``2n/β + D``."""
        return "the row has one key" if len(self.distances) == 1 else ""

    @property
    def logits(self) -> list[Fraction]:
        """``−βD/2``."""
        return [-self.beta * Fraction(d) / 2 for d in self.distances]

    @property
    def expansion(self) -> SoftmaxExpansion:
        """The expansion of the logits."""
        return SoftmaxExpansion.of(self.logits)

    def series(self, eps: arb) -> list[Series]:
        """``−2λ/β`` as a series."""
        return [-2 * RowSeries.adaptive(self.logits, eps, 3).level / ball(self.beta)]

    def value(self, order: Fraction, bits: int) -> list[arb]:
        """``h² = −2nτ/β`` from the certified threshold."""
        scores = [-d / 2 for d in self.distances]
        tau = weights(scores, Kernel(order), Adaptive(self.beta), precision=bits).threshold.values().item()
        return [-2 * ball(order) * (ball(tau) + 1) / ball(self.beta)]

    def limit(self) -> list[arb]:
        """``−2·LSE/β``."""
        return [-2 * self.expansion.lse / ball(self.beta)]

    def first(self) -> list[arb]:
        """``E/β``."""
        return [self.expansion.mean / ball(self.beta)]


@dataclass(frozen=True, eq=False)
class Output(VectorQuantity):
    """The output of one query: regression ``−‖q − k‖²/2`` under `Adaptive(β)`, or attention ``q·k/√d``.

    Attributes:
        q: (d,).
        k: (m, d).
        v: (m, e).
        op: which of the two.
        beta: β of regression.
    """

    q: Floats
    k: Floats
    v: Floats
    op: Literal["regression", "attention"]
    beta: Fraction = Fraction(1)

    @cached_property
    def logits(self) -> list[Fraction]:
        """The exact logits."""
        if self.op == "attention":
            return exact_scores(self.q[None], self.k, default_scale(len(self.q)), distance=False)[0]
        return exact_scores(self.q[None], self.k, self.beta, distance=True)[0]

    @property
    def degenerate(self) -> str:
        """The case of equal logits or equal values."""
        same = all((column == column[0]).all() for column in self.v.T)
        return "all values are equal" if same else tied(self.logits)

    def value(self, order: Fraction, bits: int) -> list[arb]:
        """The certified output."""
        kernel = Kernel(order)
        if self.op == "attention":
            heads = (self.q[None, None], self.k[None], self.v[None])
            return balls(attention(*heads, kernel, Adaptive(), precision=bits).y.values().ravel())
        found = regression(self.q[None], self.k, self.v, kernel, Adaptive(self.beta), precision=bits)
        return balls(found.y.values().ravel())

    def series(self, eps: arb) -> list[Series]:
        """``Σ w_i v_i`` as series."""
        found = RowSeries.adaptive(self.logits, eps, 3).weights
        return [dot(found, balls(column.tolist())) for column in self.v.T]

    def limit(self) -> list[arb]:
        """``Σ p_i v_i``."""
        return self._mixed(SoftmaxExpansion.of(self.logits).p)

    def first(self) -> list[arb]:
        """``Σ p_i a_i v_i``."""
        return self._mixed(SoftmaxExpansion.of(self.logits).first)

    def _mixed(self, by: Sequence[arb]) -> list[arb]:
        return [dot(by, balls(column.tolist())) for column in self.v.T]


@dataclass(frozen=True)
class Gradient(VectorQuantity):
    """The vector-Jacobian product of entmax on one row, in the logits or in α, for one cotangent."""

    logits: tuple[float, ...]
    cotangent: tuple[float, ...]
    by: Literal["z", "alpha"]
    norms: tuple[Norm, ...] = VECTOR

    @property
    def degenerate(self) -> str:
        """The case of a constant cotangent, which every Jacobian maps to 0; in α also equal logits, which stay 1/m."""
        if len(set(self.cotangent)) == 1:
            return "the cotangent is constant"
        return tied(self.logits) if self.by == "alpha" else ""

    def value(self, order: Fraction, bits: int) -> list[arb]:
        """The certified product."""
        found = entmax_vjp(list(self.logits), list(self.cotangent), alpha=1 + 1 / order, precision=bits)
        return balls(np.atleast_1d(found[self.by].values()).ravel())

    @property
    def expansion(self) -> SoftmaxExpansion:
        """The expansion of the row."""
        return SoftmaxExpansion.of(self.logits)

    def series(self, eps: arb) -> list[Series]:
        """The product as series; in α it is ``d/dε Σ g_i w_i``, because α = 1 + ε."""
        g = balls(self.cotangent)
        row = RowSeries.adaptive([Fraction(z) for z in self.logits], eps, 3 if self.by == "z" else 4)
        return row.vjp(g) if self.by == "z" else [dot(row.weights, g).derivative()]

    def limit(self) -> list[arb]:
        """``Jᵀg`` of softmax; ``Σ g_i p_i a_i`` in α."""
        limit, g = self.expansion, balls(self.cotangent)
        return limit.vjp(g) if self.by == "z" else [dot(g, limit.first)]

    def first(self) -> list[arb]:
        """The gradient of ``Σ g_i p_i a_i``; in α twice the second-order term, by ``d/dε of ε²``."""
        limit, g = self.expansion, balls(self.cotangent)
        return limit.first_vjp(g) if self.by == "z" else [2 * dot(g, limit.second)]


def tied(logits: Sequence[Any]) -> str:
    """The reason why the first coefficient is 0, if all exact logits are equal; else ""."""
    return "all logits are equal" if len(set(logits)) == 1 else ""
