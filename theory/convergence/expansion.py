"""The limit of a row and its expansion in 1/n, in closed form, from softmax alone without weights of finite order.

Let y_i = ℓ_i = log p_i under the adaptive rule, and let y_i be the scaled distance if the ball is given. The weights
are ``p_i(1 + a_i/n + O(n⁻²))`` with ``a_i = (Σ p_j y_j² − y_i²)/2``.

Squares are written as products because a power of a ball around 0 is NaN in python-flint.

Source: ours, by the implicit function theorem; the claims entmax_limit and bandwidth_limit prove it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from flint import arb

from kernelproof.theory.rows import dot
from kernelproof.theory.series import ball


@dataclass(frozen=True)
class SoftmaxExpansion:
    """The softmax of a row of exact logits and the ingredients of the next terms, as balls of the working precision.

    Attributes:
        p: the weights.
        log: ℓ = log p.
        lse: log Σ exp of the logits.
        y: the quantity squared in the first-order term; ℓ for the adaptive rule.
    """

    p: list[arb]
    log: list[arb]
    lse: arb
    y: list[arb]

    @classmethod
    def of(cls, logits: Sequence[Fraction | float], scaled: Sequence[Fraction] | None = None) -> SoftmaxExpansion:
        """The limit of a row.

        Args:
            logits: z, exact and finite.
            scaled: distances in the unit where the Gaussian is ``exp(−x)``, for rules that are not adaptive.
        """
        top = max(logits)
        gaps = [ball(Fraction(z) - Fraction(top)) for z in logits]
        shift = sum((gap.exp() for gap in gaps), arb(0)).log()
        log = [gap - shift for gap in gaps]
        y = log if scaled is None else [ball(x) for x in scaled]
        return cls([each.exp() for each in log], log, shift + ball(Fraction(top)), y)

    @cached_property
    def mean(self) -> arb:
        """``Σ p y²``, called E under the adaptive rule."""
        return sum((p * y * y for p, y in zip(self.p, self.y, strict=True)), arb(0))

    @cached_property
    def shifts(self) -> list[arb]:
        """``a_i = (Σ p y² − y_i²)/2``."""
        return [(self.mean - y * y) / 2 for y in self.y]

    @cached_property
    def first(self) -> list[arb]:
        """``p_i a_i``, the coefficient of 1/n in weight i."""
        return [p * a for p, a in zip(self.p, self.shifts, strict=True)]

    @cached_property
    def divergence(self) -> arb:
        """``Var_p(y²)/8``, the coefficient of 1/n² in ``KL(w ‖ p)``."""
        return sum((p * a * a for p, a in zip(self.p, self.shifts, strict=True)), arb(0)) / 2

    @cached_property
    def second(self) -> list[arb]:
        """``p_i b_i``, the coefficient of 1/n² in weight i under the adaptive rule.

        ``b = a²/2 + ℓ³/3 − Eℓ/2 − λ₂``, with the λ₂ that makes the coefficients sum to 0.
        """
        bent = [a * a / 2 + y * y * y / 3 - self.mean * y / 2 for a, y in zip(self.shifts, self.y, strict=True)]
        centre = dot(self.p, bent)
        return [p * (b - centre) for p, b in zip(self.p, bent, strict=True)]

    def vjp(self, cotangent: Sequence[Any]) -> list[arb]:
        """``Jᵀg`` of softmax: the gradient of ``Σ g_i p_i`` in the logits."""
        centre = dot(self.p, cotangent)
        return [p * (g - centre) for p, g in zip(self.p, cotangent, strict=True)]

    def first_vjp(self, cotangent: Sequence[Any]) -> list[arb]:
        """The gradient of ``Σ g_i p_i a_i`` in the logits, under the adaptive rule: the 1/n term of ``Jᵀg``."""
        centre, moved = dot(self.p, cotangent), dot(self.first, cotangent)
        entropy, skew = dot(self.p, self.log), dot(cotangent, [p * y for p, y in zip(self.p, self.log, strict=True)])
        found = []
        for p, y, a, g in zip(self.p, self.log, self.shifts, cotangent, strict=True):
            by_weight = g * a - moved
            by_mean = centre * (-a + y - entropy)
            by_log = skew - g * y
            found.append(p * (by_weight + by_mean + by_log))
        return found
