"""The kernel itself: ``[1 − t/n]₊^n`` and ``e^{−t}``, t = ‖x‖²/(2σ²), by closed forms and one certified root.

As functions they are compared by the largest difference and the area between them; as densities of t in the plane,
``(1 + 1/n)[1 − t/n]₊^n`` and ``e^{−t}``, by total variation, from their only crossing, and by divergence.

Source: ours; arXiv:2601.22766, section 2, for the kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from flint import arb, ctx

from kernelproof.theory.convergence.norms import Norm
from kernelproof.theory.series import Series, ball, implicit, mean_reciprocal, variable


@dataclass(frozen=True)
class Profile:
    """The profile of the kernel of order n against the Gaussian's."""

    norms: tuple[Norm, ...] = (Norm.MAX, Norm.DIVERGENCE, Norm.L1, Norm.VARIATION)
    degenerate: str = ""

    def coefficients(self) -> dict[Norm, arb]:
        """``2e⁻²``, 1, ``(1 + √2)e^{−√2}`` and ``Var(t²)/8 = 5/2`` under ``e^{−t}``."""
        root = arb(2).sqrt()
        return {
            Norm.MAX: 2 * arb(-2).exp(),
            Norm.L1: arb(1),
            Norm.VARIATION: (1 + root) * (-root).exp(),
            Norm.DIVERGENCE: arb(5) / 2,
        }

    def errors(self, order: Fraction, bits: int) -> dict[Norm, tuple[arb, arb]]:
        """By norm: the difference at `order`, and the remainder after its first term."""
        n = ball(order)
        found = {
            Norm.MAX: largest(order),
            # ∫e^{−t} − [1 − t/n]₊^n dt, whose integrand is nowhere negative.
            Norm.L1: 1 / (n + 1),
            Norm.VARIATION: variation(order),
            # log(1 + 1/n) + n·E log u + E t with u = 1 − t/n of density (n + 1)u^n.
            Norm.DIVERGENCE: (1 / n).log1p() - n / ((n + 1) * (n + 2)),
        }
        stated = self.coefficients()
        return {norm: (value, abs(value - stated[norm] * n**norm.slope)) for norm, value in found.items()}

    def near_limit(self, eps: arb) -> dict[Norm, tuple[arb, arb]]:
        """By norm: Taylor coefficients in ε = 1/n of the first-order term, and of the remainder after it.

        The two differences that have a root in them are ε·f(ε); their remainder is at most ε² times the largest f′.
        """
        step = variable(eps, 4)
        area = step / (1 + step)
        kl = (1 + step).log() - step / ((1 + step) * (1 + 2 * step))
        top, tail = _largest_scaled(eps), _variation_scaled(eps)
        return {
            Norm.MAX: (top[0], abs(top[1])),
            Norm.L1: (area[1], abs(area[2])),
            Norm.VARIATION: (tail[0], abs(tail[1])),
            Norm.DIVERGENCE: (kl[2], abs(kl[3])),
        }


def _largest_scaled(eps: arb) -> Series:
    """``n·sup_t(e^{−t} − [1 − t/n]₊^n)`` as a series of length 2 at the ball `eps` of ε = 1/n.

    It is ``t·e^{−t}`` at the root of ``t + (n − 1)·log(1 − εt) = 0`` (see `largest`), which divided by −εt is
    ``∫(1 − ts)/(1 − εts) ds = 0``. The integrand decreases in t.
    """

    def equation(step: Series, t: Series) -> Series:
        return mean_reciprocal(step * t) - t * mean_reciprocal(step * t, 1)

    root = implicit(equation, arb(2), eps, 2)
    return root * (-root).exp()


def _variation_scaled(eps: arb) -> Series:
    """``n`` times `variation` as a series of length 2 at the ball `eps` of ε = 1/n.

    At the crossing ``log(1 + ε) + log(1 − εt)/ε + t = 0``, which divided by ε is ``∫ds/(1 + εs) − t²∫s/(1 − εts) ds =
    0``, and the difference of the tails is ``ε·e^{−t}(1 + t)/(1 + ε)``.
    """

    def equation(step: Series, t: Series) -> Series:
        return mean_reciprocal(-step) - t * t * mean_reciprocal(step * t, 1)

    root = implicit(equation, arb(2).sqrt(), eps, 2)
    return (-root).exp() * (1 + root) / (1 + variable(eps, 2))


def largest(order: Fraction) -> arb:
    """``sup_t e^{−t} − [1 − t/n]₊^n``.

    If the maximum is inside (0, n), then ``t + (n − 1)·log(1 − t/n) = 0``, and the difference is ``t·e^{−t}/n``. That
    function increases up to t = 1 and then decreases, so for n > 1 it has one root t > 1; for n ≤ 1 it has none, and
    the maximum is at t = n.
    """
    n = ball(order)
    if order <= 1:
        return (-n).exp()
    # As n grows the root tends to 2 from below, and as n → 1 to 1 from above, where t/n → 1.
    root = _root(lambda t: t + (n - 1) * (-t / n).log1p(), arb(1), ball(min(order, Fraction(2))))
    return root * (-root).exp() / n


def variation(order: Fraction) -> arb:
    """Half of ``∫|(1 + 1/n)[1 − t/n]₊^n − e^{−t}| dt``: the difference of the two tails at the only crossing t.

    The logarithm of the quotient is concave and starts above 0, so it has one root.
    """
    n = ball(order)
    head = (1 / n).log1p()
    root = _root(lambda t: head + n * (-t / n).log1p() + t, arb(0), ball(min(order, Fraction(2))))
    return (-root).exp() - ((n + 1) * (-root / n).log1p()).exp()


def _root(function: Callable[[arb], arb], low: arb, high: arb) -> arb:
    """The only root in (low, high) of a function that is positive below it and negative above, by bisection.

    Stops where the working precision does not decide the sign, or the bracket is as narrow as that precision.
    """
    for _ in range(2 * ctx.prec):
        middle = ((low + high) / 2).mid()
        value = function(middle)
        if value > 0:
            low = middle
        elif value < 0:
            high = middle
        else:
            break
        if high - low < arb((1, -ctx.prec)):
            break
    else:
        return low.union(high)
    return _widened(function, middle, low, high)


def _widened(function: Callable[[arb], arb], middle: arb, low: arb, high: arb) -> arb:
    """A bracket of the root around `middle`, doubled in width until its ends have proved signs."""
    step = arb((1, -ctx.prec))
    while True:
        left, right = (middle - step).max(low), (middle + step).min(high)
        if (left <= low or function(left) > 0) and (right >= high or function(right) < 0):
            return left.union(right)
        step *= 2
