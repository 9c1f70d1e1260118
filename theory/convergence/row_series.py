"""A row of weights near the limit as power series in ε = 1/n, from the definition of its rule alone.

``w_i = exp(log(1 − εx_i)/ε)``: under the adaptive rule x_i = λ − z_i with the λ(ε) of ``Σ w = 1``, and under the others
x_i is a distance and the weights are divided by their sum. If ε is the ball [0, 1/N], the coefficients enclose those at
every n ≥ N, so that they bound the remainder of a Taylor expansion there. Neither the closed forms of the limit
(`expansion`) nor the certified reference takes part.

Source: ours; docs/theory.md §1 for the rules, with τ = λ/n − 1 under the adaptive one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from flint import arb

from kernelproof.theory.rows import dot
from kernelproof.theory.series import Series, ball, constant, exponent, implicit, variable


@dataclass(frozen=True)
class RowSeries:
    """The weights of a row as series at a ball of ε.

    Attributes:
        eps: the series ε.
        log: the logarithms of the weights.
        scaled: the x_i of the adaptive rule; None for the others.
        level: the λ of the adaptive rule; None for the others.
    """

    eps: Series
    log: list[Series]
    scaled: list[Series] | None = None
    level: Series = None

    @classmethod
    def adaptive(cls, logits: Sequence[Fraction], eps: arb, length: int) -> RowSeries:
        """The row of entmax.

        Args:
            logits: z, exact and finite.
            eps: a ball [0, 1/N], or 0.
            length: coefficients of every series.

        Raises:
            UndecidedError: some weight is not proved positive, or λ is not enclosed, for every ε of the ball.
        """
        z = [ball(each) for each in logits]

        def excess(step: Series, level: Series) -> Series:
            terms = [exponent(level - each, step).exp() for each in z]
            return sum(terms[1:], terms[0]) - 1

        top = max(logits)
        start = ball(top) + sum((ball(each - top).exp() for each in logits), arb(0)).log()
        level, step = implicit(excess, start, eps, length), variable(eps, length)
        scaled = [level - each for each in z]
        return cls(step, [exponent(x, step) for x in scaled], scaled, level)

    @classmethod
    def compact(cls, distances: Sequence[Fraction], eps: arb, length: int) -> RowSeries:
        """The row ``w_i ∝ [1 − x_i/n]₊^n``; arguments and errors as in `adaptive`, with x_i ≥ 0 for the logits."""
        step, least = variable(eps, length), min(distances)
        # Every weight divided by the largest one: (1 − εx)/(1 − εa) = 1 − ε(x − a)/(1 − εa).
        shrunk = 1 - step * ball(least)
        log = [exponent(constant(x - least, length) / shrunk, step) for x in distances]
        terms = [each.exp() for each in log]
        total = sum(terms[1:], terms[0]).log()
        return cls(step, [each - total for each in log])

    @property
    def weights(self) -> list[Series]:
        """The weights."""
        return [each.exp() for each in self.log]

    def divergence(self, limit: Sequence[arb]) -> Series:
        """``KL(w ‖ p)`` in nats, for `limit` = log p."""
        return dot(self.weights, [each - at for each, at in zip(self.log, limit, strict=True)])

    def vjp(self, cotangent: Sequence[arb]) -> list[Series]:
        """``Jᵀg`` of entmax, with ``∂w_i/∂z_j = s_i(δ_ij − s_j/Σs)`` and ``s = w/(1 − εx) = w^(1 − ε)``."""
        assert self.scaled is not None  # the adaptive rule
        slopes = [w / (1 - self.eps * x) for w, x in zip(self.weights, self.scaled, strict=True)]
        centre = dot(slopes, cotangent) / sum(slopes[1:], slopes[0])
        return [slope * (g - centre) for slope, g in zip(slopes, cotangent, strict=True)]
