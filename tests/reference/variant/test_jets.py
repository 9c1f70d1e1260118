from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import mpmath
import pytest
from flint import arb, ctx

from kernelproof.reference.variant.jets import FUNCTIONS, Jet, Jets, Plain, ball

X = Jets()
POINT = Fraction(3, 7)


def _called(name: str, x: Any, t: Any) -> Any:
    return getattr(x, name)(t)


WRITTEN: dict[str, Callable[[Any, Any], Any]] = {
    **{name: partial(_called, name) for name in FUNCTIONS},
    "plus": lambda x, t: 2 + t + x.pi,
    "minus": lambda x, t: 1 - t - x.pi,
    "times": lambda x, t: t * x.exp(t) * 3,
    "over": lambda x, t: 1 / (1 + t) + t / x.sqrt(t),
    "square": lambda x, t: (1 - t) ** 2,
    "cube": lambda x, t: t**3,
    "float power": lambda x, t: t**0.1,
    "half power": lambda x, t: x.power(1 - t, Fraction(1, 2)),
    "inverse power": lambda x, t: t**-2,
    "nested": lambda x, t: x.log1p(x.exp(-(x.sin(t) ** 2))),
    "constant": lambda x, t: t**0,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_values_and_two_derivatives_hold_those_of_mpmath(name: str) -> None:
    function = WRITTEN[name]
    with ctx.workprec(160), mpmath.workprec(400):
        found = function(X, Jet(Jet(ball(POINT), {0: arb(1)}), {0: Jet(arb(1), {})}))
        slope = found.partials.get(0, Jet(arb(0), {}))
        value, first, second = found.value.value, slope.value, slope.partials.get(0, arb(0))
        wanted = mpmath.taylor(lambda t: function(Plain(), t), mpmath.mpf(3) / 7, 2)
        for got, want, factor in zip((value, first, second), wanted, (1, 1, 2), strict=True):
            exact = arb(mpmath.nstr(want * factor, 60))
            assert got.is_finite()
            # Differences of 400 bits leave the second derivative more than 100 of them; the balls are far narrower.
            assert abs(got - exact) < arb((1, -100)) * (1 + abs(exact))
            assert got.rad() < arb((1, -140)) * (1 + abs(exact))


def test_partials_of_several_variables_stay_apart() -> None:
    s, t = Jet(arb(3), {0: arb(1)}), Jet(arb(5), {1: arb(1)})
    found = s * s * t
    assert found.value == 45
    assert (found.partials[0], found.partials[1]) == (30, 9)


def test_a_profile_may_not_call_what_only_one_context_has() -> None:
    with pytest.raises(AttributeError, match="a profile may call exp"):
        Plain().gamma  # noqa: B018 (the access is what is tested)


def test_exact_numbers_stay_exact() -> None:
    with ctx.workprec(64):
        third = ball(Fraction(1, 3))
        assert third * 3 - 1 < arb((1, -60))
        assert ball(0.1) == arb(0.1)
