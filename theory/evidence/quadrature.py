"""Integrals enclosed by arb, for comparison with closed forms.

Source: F. Johansson, Numerical integration in arbitrary-precision ball arithmetic, ICMS 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flint import acb, arb

Integrand = Callable[[acb, bool], acb]
"""(z, analytic) -> the value on the complex ball z; not finite if `analytic` and it is not analytic on all of z."""


def integral(function: Integrand, low: Any, high: Any, bits: int) -> arb:
    """An enclosure of ``∫ function`` from `low` to `high`, with `bits` bits after the binary point as the goal.

    The caller sets the working precision.
    """
    goal = arb(2) ** -bits
    return acb.integral(function, acb(low), acb(high), rel_tol=goal, abs_tol=goal).real


def power(base: acb, exponent: arb, analytic: bool) -> acb:
    """``base^exponent`` for a real exponent ≥ 0, bounded even if the base may be 0."""
    value = base.pow(acb(exponent), analytic=analytic)
    if analytic or value.is_finite():
        return value
    # On the principal branch |s^n| = |s|^n for real n.
    size = abs(base).upper() ** exponent
    return acb(arb(0, size), arb(0, size))
