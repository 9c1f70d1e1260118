"""One axis for all orders, 1/n: the weights of one row from a heavy tail over softmax to sparsemax, and their distance.

Below 0 the tails are heavy, at 0 is softmax, above 0 the support shrinks. By the claim entmax_limit the weights pass
softmax with one slope, so that on both sides the distance from it is ``c/|n|`` with the same c.
"""

from __future__ import annotations

from fractions import Fraction
from math import inf

from flint import arb, ctx

from kernelproof.reference import entmax
from kernelproof.theory.convergence.norms import Norm, norm_of
from kernelproof.theory.convergence.quantities import Weights
from kernelproof.theory.series import ball, balls

ROW = (1.0, 0.625, 0.25, -0.25, -1.0)
STEPS = 64
"""The axis is divided into steps of 1/STEPS; its lower end, α = 0, belongs to no order."""
TANGENT = Fraction(3, 8)
"""How far from softmax the first-order terms are drawn."""
FROM = 64
"""From which |n| on the bound on the distance is stated."""
BITS = 192


def weights_at(inverse: Fraction) -> list[arb]:
    """The certified weights of `ROW` at 1/n, 0 for softmax."""
    order = 1 / inverse if inverse else inf
    return balls(entmax(list(ROW), order=order, precision=BITS).weights.values())


def distance(inverse: Fraction) -> arb:
    """The total variation between the weights at 1/n and softmax."""
    pairs = zip(weights_at(inverse), weights_at(Fraction(0)), strict=True)
    return norm_of(Norm.VARIATION, [a - b for a, b in pairs])


def proved(side: int, least: int = FROM) -> tuple[arb, arb]:
    """(c, B): for every real n of the sign `side` with |n| ≥ `least`, ``|TV − c/|n|| ≤ B/n²``.

    c comes from softmax alone, and B from power series in 1/n at the ball from 0 to ±1/`least`.
    """
    quantity = Weights(ROW)
    near = quantity.near_limit(arb(0).union(side / arb(least)))
    return quantity.coefficients()[Norm.VARIATION], arb(near[Norm.VARIATION][1].upper())


def rows(_: int) -> list[list[float | str]]:
    """The table of the picture: what, the logit, 1/n and the value."""
    found: list[list[float | str]] = []
    grid = [Fraction(k, STEPS) for k in range(1 - STEPS, STEPS + 1)]
    with ctx.workprec(BITS):
        limit, first = weights_at(Fraction(0)), Weights(ROW).first()
        coefficient = proved(1)[0]
        solved = {inverse: weights_at(inverse) for inverse in grid}
        for key, logit in enumerate(ROW):
            name = f"{logit:g}"
            found += [["weight", name, float(inverse), float(solved[inverse][key])] for inverse in grid]
            for end in (-TANGENT, TANGENT):
                found.append(["tangent", name, float(end), float(limit[key] + first[key] * ball(end))])
        for inverse in grid:
            gaps = [a - b for a, b in zip(solved[inverse], limit, strict=True)]
            found.append(["variation", "", float(inverse), float(norm_of(Norm.VARIATION, gaps))])
        for end in (-2 * TANGENT, Fraction(0), 2 * TANGENT):
            found.append(["first order", "", float(end), float(coefficient * ball(abs(end)))])
    return found
