"""Certified weights of a variant on rows of scores and their vector-Jacobian product, and the cross-check by mpmath."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from kernelproof.reference.enclosure import NO_VALUE, Block, Enclosure
from kernelproof.reference.errors import DomainError, UndecidedError
from kernelproof.reference.rows import Row, float_array, float_row, score_array
from kernelproof.reference.solved_rows import Weighting
from kernelproof.reference.solver import PRECISION, checked_precision
from kernelproof.reference.variant.definition import Constant, Root, Variant
from kernelproof.reference.variant.jets import Plain
from kernelproof.reference.variant.membership import exponent_of, falls, misfit, reach_of_argument, rises
from kernelproof.reference.variant.row_solver import SolvedRow, VariantVjp, solve, threshold, vjp

Floats = NDArray[np.float64]
CLIPPED = 1e308
_falls = lru_cache(maxsize=256)(falls)


@dataclass(frozen=True, eq=False)
class RowOfVariant:
    """One row: its keys, and what is proved about it or why nothing is.

    Attributes:
        row: the keys, by descending score.
        gaps: their exact gaps.
        found: γ, support and weights; None for a row without keys, or one that is undecided.
        reason: why it is undecided, or "".
    """

    row: Row
    gaps: list[Fraction]
    found: SolvedRow | None
    reason: str = ""


def solve_rows(variant: Variant, scores: Floats, bits: int) -> list[RowOfVariant]:
    """Solve every row of (R, m) scores; a row outside the class, or with a key too close to the edge, has a reason."""
    return [_solved(variant, float_row(each), bits) for each in scores]


def _near(value: Fraction) -> float:
    """`value` to the nearest float64, infinite beyond the largest.

    >>> _near(Fraction(1, 2)), _near(-Fraction(10) ** 400)
    (0.5, -inf)
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _solved(variant: Variant, row: Row, bits: int) -> RowOfVariant:
    gaps = [Fraction(gap) for gap in row.gaps(len(row.keys))]
    if not gaps:
        return RowOfVariant(row, gaps, None)
    low, high = reach_of_argument(variant, gaps)
    if not _falls(variant, low, high):
        return RowOfVariant(row, gaps, None, f"the profile is not proved to fall on [{_near(low)}, {_near(high)}]")
    bandwidth = variant.bandwidth
    if isinstance(bandwidth, Root) and not bandwidth.rises and not rises(variant, bandwidth, gaps):
        return RowOfVariant(row, gaps, None, "the equation is not proved to rise with γ")
    try:
        found = solve(variant, gaps, bits)
    except UndecidedError as error:
        return RowOfVariant(row, gaps, None, str(error))
    if isinstance(bandwidth, Root):
        # K at the smallest possible t may be far above K at the t of this row, so the rise is compared with that as
        # well.
        if variant.geometry == "shift" and not _falls(variant, low, high, exponent_of(found.terms[0].value)):
            return RowOfVariant(row, gaps, None, "the profile is not proved to fall, next to the terms of the row")
        if (reason := misfit(variant, bandwidth, found)) is not None:
            return RowOfVariant(row, gaps, None, reason)
    return RowOfVariant(row, gaps, found)


def weights(scores: Any, variant: Variant, *, precision: int = PRECISION) -> Weighting:
    """The weights ``K(t_i)/Σ_j K(t_j)`` of every row of `scores`, enclosed.

    Args:
        scores: (..., m) floats, −∞ = masked; taken as the exact numbers they are.
        variant: the mechanism.
        precision: bits of the first solve.

    Returns:
        As `kernelproof.reference.weights`; `threshold` holds γ. `unsure` marks rows that are undecided, because they
        are not proved to be in the class or because a key lies too close to the edge; their weights are NaN.

    Raises:
        DomainError: NaN or +∞ in `scores`.

    >>> from kernelproof.reference.variant import Constant, Variant
    >>> epanechnikov = Variant("epanechnikov", lambda x, t: 1 - t, Constant(), parameters={"gamma": 4})
    >>> weights([0.0, 1.0, 3.0], epanechnikov).weights.round("float64").tolist()
    [0.14285714285714285, 0.2857142857142857, 0.5714285714285714]
    """
    bits = checked_precision(precision)
    array = score_array(scores, "scores")
    size = array.shape[-1]
    flat = array.reshape(-1, size) if array.size else np.empty((int(np.prod(array.shape[:-1])), size))
    return collect(variant, solve_rows(variant, flat, bits), array.shape)


def collect(variant: Variant, rows: list[RowOfVariant], shape: tuple[int, ...]) -> Weighting:
    """The weighting of solved rows, as an array of `shape`."""
    size, total = shape[-1], len(rows)
    support, boundary = np.zeros((total, size), dtype=bool), np.zeros((total, size), dtype=bool)
    flags = np.zeros((3, total), dtype=bool)
    margin = np.full((total, size), -np.inf)
    blocks, gammas = [], []
    for r, each in enumerate(rows):
        places = np.arange(r * size, (r + 1) * size, dtype=np.intp)
        found, keys = each.found, each.row.keys
        flags[:, r] = not each.gaps, bool(each.reason), bool(each.reason) or _kink(variant, each)
        if found is None:
            blocks.append(Block(places, [NO_VALUE] * size))
            gammas.append(Block(np.array([r], dtype=np.intp), [NO_VALUE]))
            continue
        support[r, keys[: found.size]] = True
        boundary[r, keys[found.size : found.size + found.boundary]] = True
        margin[r, keys] = margins(variant, each.gaps, found)

        def refine(more: int, gaps: list[Fraction] = each.gaps) -> Sequence[Any]:
            return solve(variant, gaps, more).weights

        def refine_gamma(more: int, gaps: list[Fraction] = each.gaps) -> Sequence[Any]:
            return [solve(variant, gaps, more).gamma]

        blocks.append(Block(places[keys[: found.size]], found.weights, refine))
        gammas.append(Block(np.array([r], dtype=np.intp), [found.gamma], refine_gamma))
    lead = shape[:-1]
    return Weighting(
        Enclosure(shape, tuple(blocks)),
        Enclosure(lead, tuple(gammas)),
        support.reshape(shape),
        boundary.reshape(shape),
        empty=flags[0].reshape(lead),
        unsure=flags[1].reshape(lead),
        kink=flags[2].reshape(lead),
        margin=margin.reshape(shape),
    )


def _kink(variant: Variant, each: RowOfVariant) -> bool:
    if each.found is None:
        return False
    edge = each.found.boundary > 0 and variant.order <= 1
    return edge or (variant.moves_with_anchor and each.row.tied > 1)


def margins(variant: Variant, gaps: list[Fraction], found: SolvedRow) -> Floats:
    """How far inside the edge each key lies, in the unit of scores; +∞ without an edge, exactly 0 on it."""
    limit = threshold(variant, found.gamma)
    if limit is None:
        return np.full(len(gaps), np.inf)
    with ctx.workprec(128):
        out = np.array([float(limit - arb(gap.numerator) / gap.denominator) for gap in gaps])
    out[found.size : found.size + found.boundary] = 0.0
    return np.asarray(np.clip(out, -CLIPPED, CLIPPED))


def scores_vjp(variant: Variant, row: Row, gradients: VariantVjp) -> list[arb]:
    """∂L/∂s over the support: minus ∂L/∂d, plus the sum of these on the largest score, from which gaps are counted."""
    out = [-each for each in gradients.by_gap]
    if variant.moves_with_anchor:
        moved = sum(gradients.by_gap, arb(0)) / row.tied
        out = [each + moved if i < row.tied else each for i, each in enumerate(out)]
    else:
        out[0] += sum(gradients.by_gap, arb(0))
    return out


def weights_vjp(scores: Any, cotangent: Any, variant: Variant, *, precision: int = PRECISION) -> dict[str, Enclosure]:
    """The vector-Jacobian product of `weights`: by "scores", and by every parameter, summed over the rows.

    Args:
        scores: (..., m), as in `weights`.
        cotangent: (..., m), finite.
        variant: the mechanism.
        precision: bits of the first solve.

    Undecided rows are NaN, and if there is one, so are the parameters. Keys off the support have gradient 0.

    Raises:
        DomainError: as in `weights`; shapes that differ.

    Source: docs/theory.md §3 (G3).

    >>> from kernelproof.reference.variant import Constant, Variant
    >>> epanechnikov = Variant("epanechnikov", lambda x, t: 1 - t, Constant(), parameters={"gamma": 4})
    >>> weights_vjp([0.0, 1.0], [1.0, 0.0], epanechnikov)["gamma"].round("float64").tolist()
    0.02040816326530612
    """
    bits = checked_precision(precision)
    array = score_array(scores, "scores")
    upstream = float_array(cotangent, "cotangent", finite=True)
    if upstream.shape != array.shape:
        msg = f"cotangent must have the shape of the weights {array.shape}; got {upstream.shape}"
        raise DomainError(msg)
    size = array.shape[-1]
    flat, g = (part.reshape(-1, size) if part.size else np.empty((0, size)) for part in (array, upstream))
    return rows_vjp(variant, solve_rows(variant, flat, bits), g, bits, array.shape)


def rows_vjp(
    variant: Variant, rows: list[RowOfVariant], g: Floats, bits: int, shape: tuple[int, ...]
) -> dict[str, Enclosure]:
    """The vector-Jacobian product on solved rows."""
    size = shape[-1]
    blocks = []
    sums: dict[str, arb] = {name: arb(0) for name in variant.parameters}
    with ctx.workprec(bits + 32):
        for r, each in enumerate(rows):
            if each.found is None:
                if each.reason:
                    blocks.append(Block(np.arange(r * size, (r + 1) * size, dtype=np.intp), [NO_VALUE] * size))
                    sums = dict.fromkeys(sums, NO_VALUE)
                continue
            keys = each.row.keys[: each.found.size]
            gradients = vjp(variant, each.found, [Fraction(value) for value in g[r, keys].tolist()])
            values = scores_vjp(variant, each.row, gradients)
            blocks.append(Block(np.asarray(keys + r * size, dtype=np.intp), values))
            sums = {name: total + gradients.by_parameter[name] for name, total in sums.items()}
    zero = np.zeros(1, dtype=np.intp)
    out = {name: Enclosure((), (Block(zero, [total]),)) for name, total in sums.items()}
    return {"scores": Enclosure(shape, tuple(blocks)), **out}


def cross_check(scores: Any, variant: Variant, *, bits: int = 160) -> list[Any]:
    """The weights of one row (m,) by mpmath: γ by bisection from the definition, without certificate.

    Source: docs/theory.md §1.
    """
    x = Plain()
    with mpmath.workprec(bits + 40):
        values = [mpmath.mpf(float(score)) for score in np.asarray(scores)]
        top = max(values)
        gaps = [top - value for value in values]
        parameters = {name: x.number(value) for name, value in variant.exact_parameters.items()}
        own = variant.of_profile(parameters)
        edge = None if variant.exact_edge is None else x.number(variant.exact_edge)

        def terms(gamma: Any) -> list[Any]:
            arguments = [d / gamma if variant.geometry == "ratio" else d - gamma for d in gaps]
            return [variant.profile(x, t, **own) if edge is None or t < edge else mpmath.mpf(0) for t in arguments]

        bandwidth = variant.bandwidth
        if isinstance(bandwidth, Constant):
            found = terms(x.number(variant.gamma))
        else:
            low, high = (x.number(Fraction(end)) for end in bandwidth.within)
            for _ in range(2 * bits + 200):
                middle = mpmath.sqrt(low * high) if low > 0 and high > 4 * low else (low + high) / 2
                held = [each for each in terms(middle) if each > 0]
                above = bool(held) and bandwidth.equation(x, held, **variant.of_equation(bandwidth, parameters)) >= 0
                low, high = (low, middle) if above else (middle, high)
            found = terms((low + high) / 2)
        total = mpmath.fsum(found)
        return [each / total for each in found]
