"""Curves of convergence: enclosures that hold, coefficients that are those of the curves, and faults that show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction as F
from typing import Any

import mpmath
import numpy as np
import pytest
from flint import arb, ctx

from kernelproof.reference import Adaptive, Fixed, Kernel, entmax, weights
from kernelproof.reference.errors import DomainError, UndecidedError
from kernelproof.theory.convergence import data, profile
from kernelproof.theory.convergence.curves import ACCURACY, study, trace
from kernelproof.theory.convergence.expansion import SoftmaxExpansion
from kernelproof.theory.convergence.fits import FEWEST, line, local_slopes, regime
from kernelproof.theory.convergence.norms import Norm, divergence, norm_of
from kernelproof.theory.convergence.orders import ORDERS, checked_orders, half_power, order_text
from kernelproof.theory.convergence.quantities import PROBABILITY, Gradient, Weights
from kernelproof.theory.convergence.records import CurveState, ErrorCurve, ends
from kernelproof.theory.convergence.studies import STUDIES, Datum
from kernelproof.theory.series import ball, balls

FEW = tuple(F(2) ** k for k in range(-1, 41, 3))
ROW = (0.0, 1.0, -2.0, 0.5)


def traced(quantity: Any, orders: Sequence[F] = FEW) -> dict[Norm, ErrorCurve]:
    return {curve.norm: curve for curve in trace(Datum("one", data.Source.PLANTED, quantity), orders)}


def test_default_orders_run_from_a_half_to_two_to_the_40th_and_hold_reals() -> None:
    assert (ORDERS[0], ORDERS[-1], len(ORDERS)) == (F(1, 2), F(2) ** 40, 83)
    assert all(order == F(float(order)) for order in ORDERS)
    assert sum(order.denominator != 1 for order in ORDERS) > 35
    assert half_power(3) == 2 * F(2**0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "at least one order"),
        (["0"], "got '0'"),
        ([-1], "got -1"),
        (["inf"], "the limit itself"),
        (["two"], "order must be a number"),
    ],
)
def test_orders_that_are_none_are_told(values: list[Any], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        checked_orders(values)


def test_orders_are_exact_and_ascending() -> None:
    assert checked_orders(["4/3", 0.5, 8, "8"]) == (F(1, 2), F(4, 3), F(8))
    assert [order_text(order) for order in (F(4, 3), F(1, 2), F(8))] == ["4/3", "0.5", "8"]


@pytest.mark.parametrize("slug", STUDIES)
def test_every_study_holds_on_every_datum(slug: str) -> None:
    found = study(slug, FEW, seed=1)
    assert {curve.state for curve in found.curves} <= {CurveState.HOLDS, CurveState.DEGENERATE}
    sources = {curve.source for curve in found.curves if curve.state is CurveState.HOLDS}
    assert sources == ({data.Source.PLANTED} if slug == "profile" else set(data.Source))
    for curve in found.curves:
        if curve.state is CurveState.HOLDS:
            assert curve.window is not None
            assert curve.window.count == sum(order >= int(curve.window.first) for order in FEW)
            assert curve.window.slopes is not None
            assert curve.window.ratio is not None
            assert curve.fit is not None
            assert curve.remainder_fit is not None
            # From n = N on the error is c·n^s(1 + r) with |r| at most C/N, and orders are a factor of 8 apart.
            share = float(curve.window.relative) / int(curve.window.first)
            off = np.log((1 + share) / (1 - share)) / np.log(8)
            limit = curve.norm.slope
            assert limit - off < float(curve.window.slopes.lo) <= float(curve.window.slopes.hi) < limit + off
            assert abs(curve.fit.slope.middle - limit) < off
            assert abs(curve.window.ratio.middle - 1) <= float(curve.window.relative) / float(FEW[-1])
            # Of the remainder only an upper bound is proved; where its own first term does not vanish, it falls by n.
            assert abs(curve.remainder_fit.slope.middle - limit + 1) < 0.005


@pytest.mark.parametrize("slug", STUDIES)
def test_enclosures_are_as_narrow_as_promised(slug: str) -> None:
    found = study(slug, (F(1, 2), half_power(21), F(2) ** 40), seed=0)
    for curve in found.curves:
        for point in curve.points if curve.state is not CurveState.DEGENERATE else []:
            low, high = F(point.error.lo), F(point.error.hi)
            # Two ends, each rounded outward to 18 digits, around a ball of ACCURACY bits.
            assert 0 < low <= high <= low * (1 + F(1, 2 ** (ACCURACY - 2)))


def test_errors_are_those_of_the_definition() -> None:
    """By mpmath, from the definition: p = [z/n − τ]₊^n with τ by bisection, which no code of ours takes part in."""
    order, z = 8, [mpmath.mpf(x) for x in ROW]
    with mpmath.workprec(200):
        low, high = max(z) / order - 1, max(z) / order
        for _ in range(190):
            middle = (low + high) / 2
            mass = sum(max(x / order - middle, 0) ** order for x in z)
            low, high = (middle, high) if mass > 1 else (low, middle)
        p = [max(x / order - low, 0) ** order for x in z]
        total = sum(mpmath.exp(x) for x in z)
        q = [mpmath.exp(x) / total for x in z]
        stated = {
            Norm.L1: sum(abs(a - b) for a, b in zip(p, q, strict=True)),
            Norm.VARIATION: sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2,
            Norm.MAX: max(abs(a - b) for a, b in zip(p, q, strict=True)),
            Norm.DIVERGENCE: sum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True) if a),
        }
        for norm, curve in traced(Weights(ROW), (F(order),)).items():
            [point] = curve.points
            slack = mpmath.mpf(2) ** -180
            assert mpmath.mpf(point.error.lo) - slack <= stated[norm] <= mpmath.mpf(point.error.hi) + slack


def test_fixed_is_the_rule_of_that_name() -> None:
    """At n = 2^(2k + 1), h = √(2nσ²) is rational, so `Fixed` itself can be asked."""
    distances = (1.0, 2.5, 4.0, 9.0)
    quantity = Weights(tuple(-d / 2 for d in distances), "fixed", F(1))
    with ctx.workprec(200):
        found = quantity.value(F(8), 200)
        wanted = weights([-d / 2 for d in distances], Kernel(8), Fixed(4), precision=200).weights.values()
        assert found is not None
        assert all(a.overlaps(ball(b)) and a.rel_accuracy_bits() > 100 for a, b in zip(found, wanted, strict=True) if b)
    assert Weights((-4.5, -8.0), "fixed", F(1)).value(F(4), 100) is None


def test_an_empty_ball_is_absent_and_not_an_error_of_zero() -> None:
    curve = traced(Weights((-4.5, -8.0), "fixed", F(1)), (F(4), F(8)))[Norm.L1]
    assert curve.absent == ["4"]
    assert [point.order for point in curve.points] == ["8"]


def test_ties_have_first_coefficient_0_and_are_not_fitted() -> None:
    for curve in traced(Weights((0.1,) * 3)).values():
        assert (curve.state, curve.degenerate) == (CurveState.DEGENERATE, "all logits are equal")
        assert curve.fit is None
        assert curve.coefficient is None
        assert all(float(point.error.hi) < 1e-30 for point in curve.points)
    degenerate = {
        curve.datum
        for slug in STUDIES
        for curve in study(slug, (F(1), F(2)), 0).curves
        if curve.state is CurveState.DEGENERATE
    }
    assert degenerate == {"ties"}


def test_a_tie_up_to_one_bit_is_no_tie() -> None:
    row = (1.0, float(np.nextafter(1.0, 2.0)))
    for curve in traced(Weights(row)).values():
        assert curve.degenerate == ""
        assert curve.coefficient is not None
        assert F(curve.coefficient.lo) > 0
        # Its bound does not see that the remainder is as small as the coefficient, and says nothing at these orders.
        assert curve.state is CurveState.SHORT
        assert curve.window is not None
        assert int(curve.window.first) > FEW[-1]


def test_the_gradient_of_a_tied_row_moves_and_is_fitted() -> None:
    found = traced(Gradient((0.5,) * 4, (1.0, 0.0, -2.0, 0.25), "z"))
    assert {curve.state for curve in found.values()} == {CurveState.HOLDS}


@dataclass(frozen=True)
class Wrong(Weights):
    """Weights whose first coefficient is off by a factor."""

    factor: F = F(101, 100)

    def first(self) -> list[arb]:
        return [ball(self.factor) * each for each in super().first()]

    def coefficients(self) -> dict[Norm, arb]:
        found = super().coefficients()
        return {**found, Norm.DIVERGENCE: ball(self.factor) * found[Norm.DIVERGENCE]}


@pytest.mark.parametrize("factor", [F(102, 100), F(98, 100), F(2), 1 + F(1, 2**24), F(-1)])
def test_a_wrong_coefficient_is_refused(factor: F) -> None:
    if factor < 0:
        with pytest.raises(UndecidedError, match="not separated from 0"):
            traced(Wrong(ROW, norms=(Norm.DIVERGENCE,), factor=factor))
        return
    for curve in traced(Wrong(ROW, norms=PROBABILITY, factor=factor)).values():
        assert curve.state is CurveState.FAILS
        assert curve.window is not None
        assert curve.window.ratio is not None
        assert curve.window.ratio.middle == pytest.approx(1 / factor, rel=2.0**-30)


def test_a_first_term_of_the_wrong_sign_leaves_a_remainder_beyond_its_bound() -> None:
    @dataclass(frozen=True)
    class Flipped(Weights):
        def first(self) -> list[arb]:
            return [-each for each in super().first()]

    assert traced(Flipped(ROW))[Norm.L1].state is CurveState.FAILS


def test_a_slope_has_its_sign() -> None:
    orders = [F(2) ** k for k in range(12, 20)]
    with ctx.workprec(100):
        rising = line(orders, [ball(n) for n in orders], -1, None)
        assert rising.slope.middle == pytest.approx(1)


def test_a_line_is_that_of_the_textbook() -> None:
    """Against SciPy's own regression."""
    from scipy import stats

    orders = [F(2) ** k for k in range(8)]
    noise = (0.02, -0.01, 0.015, -0.03, 0.0, 0.01, -0.02, 0.015)
    with ctx.workprec(100):
        errors = [3 / ball(n) * arb(e).exp() for n, e in zip(orders, noise, strict=True)]
        found = line(orders, errors, -1, arb(3))
    x, y = np.log([float(n) for n in orders]), np.log([float(error) for error in errors])
    expected = stats.linregress(x, y)
    # SciPy works in float64, on residuals a hundredth of the values: some tens of roundings of them.
    digits = 2.0**-53 * 1e2 * 64
    assert found.slope.middle == pytest.approx(expected.slope, rel=digits)
    assert found.intercept.middle == pytest.approx(np.exp(expected.intercept), rel=digits)


def test_a_line_has_an_order_in_its_middle() -> None:
    """There log n less its mean is a ball around 0, whose power is NaN in python-flint."""
    orders = [F(2) ** (4 * k + 16) for k in range(7)]
    with ctx.workprec(217):
        found = line(orders, [1 / ball(n) for n in orders], -1, arb(1))
    assert found.slope.middle == pytest.approx(-1)


def test_the_regime_starts_where_every_later_slope_is_near() -> None:
    with ctx.workprec(64):
        slopes = [arb(s) for s in (-1, -0.5, -1.002, -1.02, -1.009, -1.001)]
        assert regime(slopes, -1, F(1, 100)) == 5
        assert regime([arb(-1), arb(-1).union(arb(-2))], -1, F(1, 100)) == 3


def test_a_coarse_grid_does_not_start_before_the_regime() -> None:
    coarse = [F(2) ** k for k in range(4, 41, 4)]
    assert {curve.state for curve in traced(profile.Profile(), coarse).values()} == {CurveState.HOLDS}


def test_too_few_orders_are_not_judged() -> None:
    few = [F(2) ** k for k in (4, 8, 20)]
    assert traced(Weights(ROW), few)[Norm.L1].state is CurveState.SHORT
    two = traced(Weights(ROW), [*few, F(2) ** 21])[Norm.L1]
    assert (two.state, two.fit) == (CurveState.HOLDS, None)
    orders = [F(2) ** k for k in range(20, 20 + FEWEST)]
    assert traced(Weights(ROW), orders)[Norm.L1].fit is not None


def test_local_slopes_are_enclosures() -> None:
    with ctx.workprec(64):
        [slope] = local_slopes([F(1), F(2)], [arb(1), arb(0.5).union(arb(0.25))])
        assert slope.contains(-1)
        assert slope.contains(-2)


def difference(function: Callable[[arb], list[arb]], at: arb) -> list[arb]:
    """A symmetric difference quotient with step 2^−100 at 400 bits: off by 2^−200 times a third derivative."""
    step = arb((1, -100))
    ahead, behind = function(at + step), function(at - step)
    return [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]


def test_the_first_term_of_a_gradient_is_the_gradient_of_the_first_term() -> None:
    g = balls([1.0, -0.5, 0.25, 2.0])
    z = [F(x) for x in ROW]
    with ctx.workprec(400):
        stated = SoftmaxExpansion.of(z).first_vjp(g)
        for at in range(len(z)):
            step = F(1, 2**100)

            def moved(by: F, at: int = at) -> arb:
                row = [x + by * (i == at) for i, x in enumerate(z)]
                return sum((a * b for a, b in zip(g, SoftmaxExpansion.of(row).first, strict=True)), arb(0))

            quotient = (moved(step) - moved(-step)) / (2 * ball(step))
            assert abs(quotient - stated[at]) < arb((1, -150))


def test_the_second_term_is_that_of_the_weights() -> None:
    n = F(2) ** 60
    with ctx.workprec(400):
        limit = SoftmaxExpansion.of(ROW)
        found = balls(entmax(list(ROW), order=n, precision=400).weights.values())
        for w, p, a, b in zip(found, limit.p, limit.first, limit.second, strict=True):
            rest = (w - p - a / ball(n)) * ball(n) ** 2
            assert abs(rest - b) < arb((1, -50))


def test_the_profile_has_the_digits_of_the_table() -> None:
    half = 10.0**-5 / 2  # of the last of the five decimals printed
    with ctx.workprec(200):
        found = {n: float(n * profile.largest(F(n))) for n in (1, 2, 3, 10, 100)}
        assert found == pytest.approx({1: 0.36788, 2: 0.32381, 3: 0.30431, 10: 0.28000, 100: 0.27158}, abs=half)
        assert float(profile.largest(F(1, 2))) == pytest.approx(np.exp(-0.5))


@pytest.mark.parametrize("n", [0.5, 1.0, 1.5, 3.0, 64.0])
def test_the_profile_is_that_of_a_grid(n: float) -> None:
    step = 1e-4
    t = np.arange(600_001) * step
    kernel = np.maximum(1 - t / n, 0) ** n
    found = profile.Profile().errors(F(n), 200)
    # Next to the maximum the grid is off by half a step, and the second derivative there is at most 2; a kink is on it.
    assert float(found[Norm.MAX][0]) == pytest.approx(np.abs(kernel - np.exp(-t)).max(), abs=step**2)
    density = (1 + 1 / n) * kernel
    # Both functions fall by at most 1 a unit of t, and a kink costs the trapezoidal rule no more than a step.
    assert float(found[Norm.L1][0]) == pytest.approx(np.trapezoid(np.exp(-t) - kernel, t), abs=step)
    expected = np.trapezoid(np.abs(density - np.exp(-t)), t) / 2
    assert float(found[Norm.VARIATION][0]) == pytest.approx(expected, abs=2 * step)
    inside = density > 0
    term = np.where(inside, density * (np.log(np.where(inside, density, 1.0)) + t), 0.0)
    # The trapezoidal rule is off by at most a step times the variation.
    assert float(found[Norm.DIVERGENCE][0]) == pytest.approx(
        np.trapezoid(term, t), abs=step * np.abs(np.diff(term)).sum()
    )


def test_ends_are_rounded_outward() -> None:
    with ctx.workprec(100):
        third = arb(1) / 3
        found = ends(third, 5)
    assert (found.lo, found.hi) == ("0.33333", "0.33334")
    assert ends(arb("nan")).lo == "-Infinity"


def test_the_divergence_is_no_norm() -> None:
    with pytest.raises(ValueError, match="two distributions"):
        norm_of(Norm.DIVERGENCE, [arb(1)])
    assert divergence([arb(0), arb(1)], [arb(0.5), arb(0.5)]).overlaps(arb(2).log())


def test_a_part_of_a_study_is_that_part() -> None:
    whole, part = study("bandwidth", FEW, 0), study("bandwidth", FEW, 0, at=(1,))
    assert part.curves == [curve for curve in whole.curves if curve.datum == "regular design"]
    assert replace(STUDIES["bandwidth"], slug="x").norms == (Norm.SIZE,)
    assert isinstance(Adaptive(1).exact, F)
