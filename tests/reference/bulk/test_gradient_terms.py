"""The parts of a gradient cover all that their inputs leave open: each fails if an error is not passed on."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import pytest
from flint import arb, ctx, fmpq

from kernelproof.reference.bulk import gradient_terms
from kernelproof.reference.bulk.batches import order_of
from kernelproof.reference.bulk.double_word import OPERATION, div
from kernelproof.reference.bulk.mass_terms import Order
from kernelproof.reference.bulk.row_certificate import (
    ANCHOR,
    DECIDED,
    DELTA,
    FOUND,
    HEAD,
    KEYS,
    POINT,
    POINT_TAIL,
    RADIUS,
    RELATIVE,
    ROOT,
    TAIL,
    TOP,
)

KEY_ROW = np.array([0.0, -0.25, -0.3, -0.625])
ADAPTIVE = gradient_terms.Rate(gradient_terms.ADAPTIVE, -1.0, 0.0)


def form_of(order: F) -> Order:
    found = order_of(order)
    assert found is not None
    return found


def root_of(point: float, delta: float, radius: float) -> np.ndarray:
    """γ counted from the smallest key, and not known better than `radius`."""
    root = np.zeros(ROOT)
    root[TOP], root[ANCHOR] = KEY_ROW[0], KEY_ROW[-1]
    root[POINT], root[POINT_TAIL], root[DELTA], root[RADIUS] = point, 0.0, delta, radius
    return root


def exact(h: float, g: float) -> arb:
    return arb(h) + arb(g)


@pytest.mark.parametrize("order", [F(1, 16), F(1, 2), F(3, 2), F(2), F(64)])
@pytest.mark.parametrize("radius", [0.0, 2.0**-70])
def test_slopes_hold_wherever_the_root_may_be(order: F, radius: float) -> None:
    form, count = form_of(order), len(KEY_ROW)
    found, held = np.zeros((FOUND, count)), np.zeros((gradient_terms.HELD, count))
    found[KEYS], found[HEAD] = KEY_ROW, [0.5, 0.25, 0.2, 0.05]
    found[TAIL] = found[HEAD] * 2.0**-54
    found[RELATIVE] = 2.0**-90
    point, delta = 0.04, 2.0**-45
    root = root_of(point, delta, radius)
    assert gradient_terms.slopes(form, ADAPTIVE, (point, 0.0), count, found, root, held) == DECIDED
    with ctx.workprec(300):
        n = arb(fmpq(order.numerator, order.denominator))
        for i, key in enumerate(KEY_ROW.tolist()):
            for side in (-1, 0, 1):
                for tilt in (-1, 1):
                    b = arb(key) - arb(KEY_ROW[-1]) + arb(point) + arb(delta) + side * arb(radius)
                    w = exact(found[HEAD, i], found[TAIL, i]) * (1 + tilt * arb(found[RELATIVE, i]))
                    a = exact(held[gradient_terms.SLOPE, i], held[gradient_terms.SLOPE_TAIL, i])
                    assert abs(a / (n * w / b) - 1) <= held[gradient_terms.SLOPE_ERROR, i]
                    reach = exact(held[gradient_terms.REACH, i], held[gradient_terms.REACH_TAIL, i])
                    assert abs(reach / b - 1) <= held[gradient_terms.REACH_ERROR, i]


@pytest.mark.parametrize("order", [F(1, 16), F(1, 2), F(3, 2), F(2), F(64), F(10**4)])
@pytest.mark.parametrize("off", [2.0**-96, 2.0**-75, 2.0**-60])
def test_phi_holds_wherever_its_argument_may_be(order: F, off: float) -> None:
    form, root = form_of(order), root_of(0.1, 0.0, 0.0)
    with ctx.workprec(400):
        n = arb(fmpq(order.numerator, order.denominator))
        for u in (1e-6, 0.01, 0.5, 0.9, 1 - 2.0**-9, 1 - 2.0**-12, 1 - 2.0**-30):
            b = float(order) * u
            vh, vl = div(form.head, form.tail, b, 0.0)
            for spoiled in (-1.5, 0.0, 1.5):
                h, g, error = gradient_terms.phi_of(form, root, 0.0, b, 0.0, off, (vh, vl + spoiled * OPERATION * vh))
                for side in (-1, 0, 1):
                    v = arb(b) * (1 + side * arb(off)) / n
                    truth = v.log() + 1 / v - 1
                    assert abs(exact(h, g) - truth) <= error


@pytest.mark.parametrize("order", [F(2**20), F(10**8), F(2**40)])
@pytest.mark.parametrize("off", [0.0, 2.0**-70])
def test_phi_of_large_orders_holds_wherever_the_root_may_be(order: F, off: float) -> None:
    form, root = form_of(order), root_of(1.75, 2.0**-40, off)
    root[ANCHOR] = root[TOP]
    with ctx.workprec(600):
        n = arb(order.numerator)
        for key in (0.0, -0.5, -30.0, -600.0):
            # These u are so near 1 that the series, which needs no 1/u, gives φ.
            h, g, error = gradient_terms.phi_of(form, root, key, float(order), 0.0, 0.0, (np.nan, np.nan))
            for side in (-1, 0, 1):
                u = 1 - (arb(1.75) - arb(2.0**-40) - arb(key) + side * arb(off)) / n
                truth = u.log() + 1 / u - 1
                assert abs(exact(h, g) - truth) <= error
                assert error <= 2.0**-60 * abs(truth) or off


def test_the_centre_holds_whatever_the_weights_may_be() -> None:
    count = len(KEY_ROW)
    found, held = np.zeros((FOUND, count)), np.zeros((gradient_terms.HELD, count))
    weights = np.array([0.5, 0.25, 0.2, 0.05])
    found[HEAD], found[RELATIVE] = weights, 2.0**-80
    held[gradient_terms.SLOPE], held[gradient_terms.SLOPE_ERROR] = weights * 3, 2.0**-80
    g = np.array([1.0, -1.0, 2.0, -0.75])
    for kind in (gradient_terms.ADAPTIVE, gradient_terms.FIXED):
        h, low, error, size = gradient_terms.centre(
            gradient_terms.Rate(kind, 1.0, 0.0), count, np.arange(count), found, held, g
        )
        # Up where the cotangent is above the mean and down where it is below: the worst that the radii allow.
        used = held[gradient_terms.SLOPE] if kind == gradient_terms.ADAPTIVE else weights
        for side in (-1, 1):
            moved = [F(w) * (1 + side * F(2.0**-80) * (1 if x > 0 else -1)) for w, x in zip(used, g, strict=True)]
            total = sum(moved, F(0)) if kind == gradient_terms.ADAPTIVE else F(1)
            truth = sum((w * F(x) for w, x in zip(moved, g, strict=True)), F(0)) / total
            assert abs(F(h) + F(low) - truth) <= F(error)
        assert size == pytest.approx(float(weights @ np.abs(g)))
