"""From a quantity to its curves: enclosures at every order, refined until each keeps 30 bits."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from flint import arb, ctx

from kernelproof.reference.errors import UndecidedError
from kernelproof.theory.convergence.fits import FEWEST, line, local_slopes
from kernelproof.theory.convergence.norms import Norm
from kernelproof.theory.convergence.orders import order_text
from kernelproof.theory.convergence.quantities import Quantity
from kernelproof.theory.convergence.records import CurveState, ErrorCurve, LineFit, Point, StudyRecord, ends
from kernelproof.theory.convergence.studies import STUDIES, Datum
from kernelproof.theory.convergence.window import Bound, bounds, judge
from kernelproof.theory.series import ball

ACCURACY = 30
"""Correct bits of every error and remainder."""
MOST_BITS = 1 << 14

Pair = tuple[arb, arb]


def study(slug: str, orders: Sequence[Fraction], seed: int, at: Sequence[int] | None = None) -> StudyRecord:
    """The study called `slug`, or its data at the positions `at`."""
    found = STUDIES[slug]
    data = found.data(seed)
    chosen = data if at is None else [data[i] for i in at]
    curves = [curve for datum in chosen for curve in trace(datum, orders)]
    return StudyRecord(slug=slug, title=found.title, says=found.says, norms=list(found.norms), curves=curves)


def first_bits(order: Fraction) -> int:
    """Bits that are likely to suffice: for the third power of 1/n, and 64 spare bits beyond `ACCURACY`."""
    return 3 * max(int(order).bit_length(), 4) + ACCURACY + 64


def trace(datum: Datum, orders: Sequence[Fraction]) -> list[ErrorCurve]:
    """The curves of one datum, one per norm.

    Raises:
        UndecidedError: an error, or a first coefficient, is not separated from 0.
    """
    quantity = datum.quantity
    pairs: dict[Fraction, dict[Norm, Pair]] = {}
    absent = []
    for order in orders:
        found = _at(quantity, order)
        if found is None:
            absent.append(order_text(order))
        else:
            pairs[order] = found
    with ctx.workprec(max(map(first_bits, orders))):
        stated = quantity.coefficients()
        for norm, value in stated.items():
            positive = bool(value > 0)
            if not quantity.degenerate and not positive:
                msg = f"the first coefficient of {datum.name} in {norm.says} is not separated from 0: {value.str(5)}"
                raise UndecidedError(msg)
        proved = {} if quantity.degenerate else bounds(quantity, stated)
        return [_curve(datum, norm, pairs, stated[norm], proved.get(norm), absent) for norm in quantity.norms]


def _at(quantity: Quantity, order: Fraction) -> dict[Norm, Pair] | None:
    bits = first_bits(order)
    while True:
        with ctx.workprec(bits):
            found = quantity.errors(order, bits)
        known = found is None or quantity.degenerate or all(map(_known, found.values()))
        if known:
            return found
        bits *= 2
        if bits > MOST_BITS:
            msg = f"an error at order {order_text(order)} is not known to {ACCURACY} bits with {bits // 2} bits"
            raise UndecidedError(msg)


def _known(pair: Pair) -> bool:
    return all(value.rel_accuracy_bits() >= ACCURACY for value in pair)


def _curve(
    datum: Datum,
    norm: Norm,
    pairs: dict[Fraction, dict[Norm, Pair]],
    coefficient: arb,
    bound: Bound | None,
    absent: list[str],
) -> ErrorCurve:
    orders = list(pairs)
    errors, rests = ([abs(pairs[order][norm][part]) for order in orders] for part in (0, 1))
    degenerate = datum.quantity.degenerate
    slopes, falls = local_slopes(orders, errors), local_slopes(orders, rests)
    window, state = None, CurveState.DEGENERATE if degenerate else CurveState.UNPROVED
    found: LineFit | None = None
    rest: LineFit | None = None
    if bound is not None:
        window, state = judge(bound, orders, errors, rests)
        inside = [at for at, order in enumerate(orders) if order >= bound.first]
        if len(inside) >= FEWEST:
            chosen = [orders[at] for at in inside]
            found = line(chosen, [errors[at] for at in inside], norm.slope, coefficient)
            rest = line(chosen, [rests[at] for at in inside], norm.slope - 1, None)

    def point(at: int) -> Point:
        order = orders[at]
        return Point(
            order=order_text(order),
            error=ends(errors[at]),
            prediction=0.0 if degenerate else float(coefficient * ball(order) ** norm.slope),
            remainder=ends(rests[at]),
            slope=ends(slopes[at - 1], 12) if at and not degenerate else None,
            remainder_slope=ends(falls[at - 1], 12) if at and not degenerate else None,
        )

    return ErrorCurve(
        datum=datum.name,
        source=datum.source,
        norm=norm,
        coefficient=None if degenerate else ends(coefficient),
        degenerate=degenerate,
        absent=absent,
        points=[point(at) for at in range(len(orders))],
        window=window,
        fit=found,
        remainder_fit=rest,
        state=state,
    )
