"""The judge of a curve: bounds that hold and are not loose, and errors, remainders and slopes that leave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx

from kernelproof.reference import entmax
from kernelproof.reference.errors import UndecidedError
from kernelproof.theory.convergence import profile
from kernelproof.theory.convergence.curves import trace
from kernelproof.theory.convergence.data import Source
from kernelproof.theory.convergence.norms import Norm
from kernelproof.theory.convergence.quantities import Bandwidth, Gradient, Output, Weights
from kernelproof.theory.convergence.records import CurveState
from kernelproof.theory.convergence.row_series import RowSeries
from kernelproof.theory.convergence.studies import Datum
from kernelproof.theory.convergence.window import FROM, Bound, at_most, bounds, judge
from kernelproof.theory.series import ball, balls

FEW = tuple(F(2) ** k for k in range(-1, 41, 3))
ROW = (0.0, 1.0, -2.0, 0.5)


def planted(errors: Sequence[arb], orders: Sequence[F] = FEW) -> CurveState:
    """The state of a curve of these errors, of which c = 1 and B = 1 are proved, whose remainders are in order."""
    return judge(Bound(-1, arb(1), arb(1), arb(1)), orders, errors, [arb(0)] * len(orders))[1]


def test_a_wrong_coefficient_is_refused_by_the_errors_alone() -> None:
    """Not only because the definition has another coefficient: n·error leaves its bounds at the larger orders."""
    with ctx.workprec(200):
        errors = [(1 + 1 / ball(n)) / ball(n) for n in FEW]

        def state(c: F) -> CurveState:
            bound = Bound(-1, ball(c), ball(c), arb(1))
            return judge(bound, FEW, errors, [abs(e - ball(c) / ball(n)) for e, n in zip(errors, FEW, strict=True)])[1]

        assert state(F(1)) is CurveState.HOLDS
        # At n = 2^38 the bound is 2^−38 times the coefficient.
        assert state(1 + F(1, 2**30)) is CurveState.FAILS


def test_one_error_beyond_its_bound_fails() -> None:
    with ctx.workprec(200):
        errors = [1 / ball(n) for n in FEW]
        assert planted(errors) is CurveState.HOLDS
        for at, n in enumerate(FEW):
            wrong = [*errors[:at], errors[at] + 2 / ball(n) ** 2, *errors[at + 1 :]]
            assert planted(wrong) is (CurveState.FAILS if n >= FROM else CurveState.HOLDS)
        # A straight line through errors that turn upward in the end would hardly notice one of them.
        assert planted([*errors[:-1], errors[-2]]) is CurveState.FAILS
        # With |slope| divergence would be called convergence.
        assert planted([ball(n) for n in FEW]) is CurveState.FAILS


def test_a_remainder_beyond_its_bound_fails() -> None:
    with ctx.workprec(200):
        errors, bound = [1 / ball(n) for n in FEW], Bound(-1, arb(1), arb(1), arb(1))
        assert judge(bound, FEW, errors, [2 / ball(n) ** 2 for n in FEW])[1] is CurveState.FAILS


def test_an_error_that_is_not_known_well_enough_is_undecided() -> None:
    with ctx.workprec(200):
        errors = [1 / ball(n) for n in FEW]
        vague = errors[-1].union(errors[-1] + 2 / ball(FEW[-1]) ** 2)
        assert planted([*errors[:-1], vague]) is CurveState.UNDECIDED
        assert [at_most(arb(1), arb(2)), at_most(arb(2), arb(1)), at_most(vague, errors[-1])] == [True, False, None]


def test_a_slope_beyond_its_band_is_refused_and_one_inside_is_not() -> None:
    bound = Bound(-1, arb(1), arb(1), arb(1))
    with ctx.workprec(100):
        low, high = bound.band(F(FROM), F(2 * FROM))
        # The extreme curves that the bound allows.
        ends_ = [(1 + s / arb(FROM), 1 - s / arb(2 * FROM)) for s in (1, -1)]
        slopes = [(b / 2 / a).log() / arb(2).log() for a, b in ends_]
    assert low.overlaps(slopes[0])
    assert high.overlaps(slopes[1])
    assert float(low) < -1 < float(high)


def test_the_window_starts_where_the_remainder_is_at_most_half_of_the_first_term() -> None:
    with ctx.workprec(64):
        firsts = [Bound(-1, arb(1), arb(1), arb(size)).first for size in (1, FROM // 2, FROM // 2 + 1, 3 * FROM)]
    assert firsts == [FROM, FROM, 2 * FROM, 8 * FROM]


@dataclass(frozen=True)
class Unbounded(Weights):
    """Weights of which no bound is proved."""

    def near_limit(self, eps: arb) -> dict[Norm, tuple[arb, arb]]:
        if eps.is_zero():
            return super().near_limit(eps)
        raise UndecidedError("planted")  # noqa: EM101 (a planted fault)


def test_a_curve_without_a_bound_does_not_hold() -> None:
    [curve] = trace(Datum("one", Source.PLANTED, Unbounded(ROW, norms=(Norm.L1,))), FEW)
    assert (curve.state, curve.window, curve.fit) == (CurveState.UNPROVED, None, None)


def test_a_row_too_spread_out_for_the_window_has_no_bound() -> None:
    assert bounds(Weights((0.0, -2.0 * FROM)), {}) == {}


QUANTITIES: dict[str, Any] = {
    "adaptive": Weights(ROW),
    "anchored": Weights(ROW, "anchored", F(1, 2)),
    "fixed": Weights((-0.5, -1.0, -3.0), "fixed"),
    "bandwidth": Bandwidth((1.0, 2.5, 4.0), F(2)),
    "output": Output(np.zeros(1), np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]]), "regression"),
    "by z": Gradient(ROW, (1.0, 0.5, -2.0, 0.25), "z"),
    "by alpha": Gradient(ROW, (1.0, 0.5, -2.0, 0.25), "alpha", (Norm.SIZE,)),
    "profile": profile.Profile(),
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_coefficients_are_those_of_the_definition(name: str) -> None:
    """In the limit, power series of the definition give the closed forms, which share nothing with them."""
    quantity = QUANTITIES[name]
    with ctx.workprec(120):
        found, stated = quantity.near_limit(arb(0)), quantity.coefficients()
        for norm in quantity.norms:
            assert found[norm][0].overlaps(stated[norm])
            assert found[norm][0].rel_accuracy_bits() > 80


@pytest.mark.parametrize("name", QUANTITIES)
def test_bounds_hold_between_the_orders_of_a_study_too_and_are_not_loose(name: str) -> None:
    quantity = QUANTITIES[name]
    with ctx.workprec(200):
        near = quantity.near_limit(arb(0).union(1 / arb(FROM)))
        ratios: dict[Norm, list[float]] = {norm: [] for norm in quantity.norms}
        for order in (F(FROM), F(FROM) + F(1, 3), F(5000), F(2) ** 20 + F(1, 7)):
            errors = quantity.errors(order, 200)
            for norm in quantity.norms:
                most = near[norm][1].upper() * ball(order) ** (norm.slope - 1)
                assert abs(errors[norm][1]) <= most
                ratios[norm].append(float(abs(errors[norm][1]) / most))
        # A bound that is too large would still be true, and refuse less; the least of these is 0.79.
        assert min(map(max, ratios.values())) > 0.75


def test_series_of_a_row_enclose_the_certified_weights() -> None:
    """At a ball of ε that is one order, the first coefficient is the row at that order."""
    n = 8192
    with ctx.workprec(200):
        wanted = balls(entmax(list(ROW), order=n, precision=200).weights.values())
        found = RowSeries.adaptive([F(z) for z in ROW], arb(0).union(1 / arb(n)), 2).weights
        assert all(a[0].contains(b) for a, b in zip(found, wanted, strict=True))
        assert all(a[0].rel_accuracy_bits() > 5 for a in found)
