"""The picture of one axis for all orders: both sides meet at softmax, at the rate that the caption states."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from flint import arb, ctx

from kernelproof.reference.errors import UndecidedError
from kernelproof.theory.convergence import axis
from kernelproof.theory.convergence.pictures import PICTURES
from kernelproof.theory.convergence.quantities import Weights
from kernelproof.theory.series import balls

SAYS = PICTURES["axis"].says
RECORD = PICTURES["axis"].record(0)


def values(what: str, z: str = "") -> dict[float, float]:
    return {float(row[2]): float(row[3]) for row in RECORD.rows if row[0] == what and row[1] == z}


def test_the_caption_states_the_proved_rate_of_both_sides() -> None:
    found = re.search(r"n\|\\ge (\d+)\$.*proved to be \$([\d.]+)/\|n\|\$ up to \$([\d.]+)/n\^\{2\}\$", SAYS)
    assert found is not None
    least, coefficient, size = int(found[1]), float(found[2]), float(found[3])
    assert least == axis.FROM
    with ctx.workprec(axis.BITS):
        for side in (1, -1):
            c, most = axis.proved(side)
            assert abs(float(c) - coefficient) < 5e-5
            assert most < size
            assert float(most) > 0.9 * size, "and no more than it must"


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("order", [64, 100, 4096, 2**40])
def test_certified_distances_are_within_the_bound(side: int, order: int) -> None:
    with ctx.workprec(axis.BITS):
        c, most = axis.proved(side)
        rest = axis.distance(Fraction(side, order)) - c / order
        assert abs(rest) <= most / order**2
        assert not abs(axis.distance(Fraction(side, order)) - c / (2 * order)) <= most / order**2


def test_the_series_of_the_weights_at_a_negative_ball_holds_the_certified_ones() -> None:
    row = Weights(axis.ROW)
    with ctx.workprec(axis.BITS):
        order, limit = Fraction(-256), axis.weights_at(Fraction(0))
        found = row.series(arb(0).union(1 / arb(-256)))
        for weight, p, each in zip(axis.weights_at(1 / order), limit, found, strict=True):
            # At 0 the series is the softmax weight, and its slope there the first-order term.
            assert (p - each[1] / 256).overlaps(weight)
        for weight, each in zip(axis.weights_at(1 / order), row.series(-1 / arb(256)), strict=True):
            assert each[0].overlaps(weight), "away from 0, on its negative side"
            assert each[0].rad() < arb(2) ** -6
    with pytest.raises(UndecidedError), ctx.workprec(axis.BITS):
        row.series(arb(0).union(arb(2)))


def test_weights_are_monotone_where_the_theory_says_so_and_sum_to_1() -> None:
    first, last = values("weight", "1"), values("weight", "-1")
    grid = sorted(first)
    assert (min(grid), max(grid), len(grid)) == (-63 / 64, 1.0, 128)
    assert [first[x] for x in grid] == sorted(first.values()), "the largest weight rises with 1/n"
    assert all(last[x] > 0 for x in grid if x <= 0), "no key loses its weight below 0"
    assert last[0.5] == 0
    for x in grid:
        assert abs(sum(values("weight", f"{z:g}")[x] for z in axis.ROW) - 1) < 1e-15


def test_tangents_are_the_first_order_terms_of_both_sides() -> None:
    row = balls(axis.weights_at(Fraction(0)))
    for key, z in enumerate(axis.ROW):
        ends = values("tangent", f"{z:g}")
        assert abs((ends[-0.375] + ends[0.375]) / 2 - float(row[key])) < 1e-15
    line = values("first order")
    assert line[0.0] == 0
    assert line[-0.75] == line[0.75]
