"""Condition units against the oracle itself on perturbed inputs: what they call one unit is what rounding can do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference.model import INFINITY, Adaptive, Anchored, Fixed, Kernel
from kernelproof.verify.truth.units import RowUnits

SCORES = np.array([-0.25, -0.5, -0.75, -1.5])
ORDERS = ["1/2", "1", "3/2", "2", "8", "64", "inf"]
RULES = [Adaptive(1.0), Fixed(2.5), Anchored(2.0)]
STEP = 2.0**-24


def units_of(order: str, rule: Any) -> tuple[RowUnits, Any]:
    found = reference.weights(SCORES, Kernel(order), rule)
    keys = np.flatnonzero(found.support)
    gaps = SCORES.max() - SCORES
    by_distance = isinstance(rule, Fixed)
    rate = 1 / rule.h**2 if by_distance and Kernel(order).order == INFINITY else 1.0
    return RowUnits(
        weights=found.weights.split()[0][keys],
        margins=found.margin[keys],
        order=float(Kernel(order).order),
        rule=rule,
        rate=rate,
        shift=(SCORES if by_distance else gaps)[keys],
        moved=(np.abs(SCORES) if by_distance else gaps)[keys],
    ), keys


def weights_at(scores: Any, order: str, rule: Any) -> Any:
    return reference.weights(scores, Kernel(order), rule).weights.split()[0]


def skip_argmax(order: str, rule: Any) -> None:
    if order == "inf" and isinstance(rule, Anchored):
        pytest.skip("argmax is flat")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_unit_of_a_weight_is_what_the_corners_of_the_box_do(order: str, rule: Any) -> None:
    skip_argmax(order, rule)
    units, keys = units_of(order, rule)
    moved = np.zeros(len(SCORES))
    moved[keys] = units.moved
    doubled = 1.0 if isinstance(rule, Adaptive) else 2.0
    for place, key in enumerate(keys):
        sign = np.where(np.arange(len(SCORES)) == key, 1.0, -1.0)
        up = weights_at(SCORES + STEP * sign * moved, order, rule)[key]
        down = weights_at(SCORES - STEP * sign * moved, order, rule)[key]
        swing = doubled * (up - down) / (2 * STEP)
        assert units.weight[place] - units.weights[place] == pytest.approx(swing, rel=STEP * 64)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_second_derivatives_are_those_of_the_certified_jacobian(order: str, rule: Any) -> None:
    skip_argmax(order, rule)
    units, keys = units_of(order, rule)
    size = len(keys)

    def pulled(scores: Any) -> Any:
        """Rows: the pullback of each unit cotangent, without the anchor's share of the maximum."""
        rows = []
        for j in keys:
            g = np.zeros(len(SCORES))
            g[j] = 1.0
            c = reference.weights_vjp(scores, g, Kernel(order), rule)["scores"].split()[0]
            if isinstance(rule, Anchored):
                c = c - np.where(np.arange(len(SCORES)) == 0, c.sum() - 0.0, 0.0)
            rows.append(c[keys])
        return np.array(rows).T

    if isinstance(rule, Anchored):
        pytest.skip("the anchored Jacobian moves with its maximum; its units are covered by the parameter test")
    for place, key in enumerate(keys):
        step = np.where(np.arange(len(SCORES)) == key, 2.0**-20, 0.0)
        slope = (pulled(SCORES + step) - pulled(SCORES - step)) / 2.0**-19
        # Truncation of the central difference: 2^-40 times a third derivative, at most order^3 on this row.
        bound = 2.0**-40 * max(float(units.order if units.order < 1e3 else 1) ** 3, 64.0) * 64
        assert np.abs(units.second[:, :, place] - slope).max() <= bound
    assert units.second.shape == (size, size, size)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_parameter_units_dominate_the_gradient_and_what_rounding_moves_it_by(order: str, rule: Any) -> None:
    skip_argmax(order, rule)
    units, keys = units_of(order, rule)
    g = np.array([0.3, -1.0, 0.5, 2.0])
    name = {Adaptive: "beta", Fixed: "h", Anchored: "gamma"}[type(rule)]
    coefficient = {Adaptive: -1.0, Fixed: -2.0, Anchored: 1.0}[type(rule)] / float(getattr(rule, name))
    exact = float(reference.weights_vjp(SCORES, g, Kernel(order), rule)[name].split()[0])
    assert units.parameter_gradient(g[keys], coefficient) >= abs(exact)
    moved = np.zeros(len(SCORES))
    moved[keys] = units.moved
    sensitivity = 0.0
    for key in keys:
        step = np.where(np.arange(len(SCORES)) == key, STEP * moved[key], 0.0)
        ends = [
            float(reference.weights_vjp(SCORES + s * step, g, Kernel(order), rule)[name].split()[0]) for s in (1, -1)
        ]
        sensitivity += abs(ends[0] - ends[1]) / (2 * STEP)
    assert units.parameter_gradient(g[keys], coefficient) >= sensitivity * (1 - 2.0**-20)
    by_order = "alpha" if order == "inf" else "order"
    if by_order == "alpha" and not isinstance(rule, Adaptive):
        return
    exact = float(reference.weights_vjp(SCORES, g, Kernel(order), rule)[by_order].split()[0])
    assert units.order_gradient(g[keys]) >= abs(exact) * (1 - 2.0**-40)


def test_the_products_of_a_gradient_count_before_they_cancel() -> None:
    units = RowUnits(
        weights=np.array([1 - 2.0**-40, 2.0**-40]),
        margins=np.array([np.inf, np.inf]),
        order=np.inf,
        rule=Fixed(1.0),
        rate=1.0,
        shift=np.array([-0.5, -28.0]),
        moved=np.zeros(2),
    )
    g = np.array([1.0, 0.0])
    # w·g and w²·g of the first key, which leave 2^-40 of each other.
    assert units.score_gradient(g)[0] == pytest.approx(2.0, abs=2.0**-38)
    assert units.score_gradient(g, np.array([0.0, 1.0]))[1] == pytest.approx(2.0**-39, rel=2.0**-30)
    assert units.parameter_gradient(g, -2.0) == pytest.approx(2.0, abs=2.0**-30)
