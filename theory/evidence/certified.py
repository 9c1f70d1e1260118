"""Certified evidence: interval proofs over whole boxes of the parameter space, and comparisons of enclosures.

`positive` splits a box until arb proves the sign on every part; the sign then holds at every real point of the box, not
only at those that were tried. `agree` compares enclosures: overlapping ones are consistent with an equality, disjoint
ones refute it. `exists` proves existence by an enclosure at one point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from heapq import heappop, heappush
from itertools import count
from math import prod
from typing import Any

from flint import arb, ctx, fmpq

from kernelproof.theory.finding import Cell, Evidence, Finding, Relation, Verdict

Box = Mapping[str, tuple[Any, Any]]
"""The ends of the interval of every variable: ints, Fractions, or strings such as "1/3"."""
Sides = tuple[tuple[Fraction, Fraction], ...]


def rational(value: Fraction | int) -> arb:
    """The ball of the working precision around a rational number."""
    exact = Fraction(value)
    return arb(fmpq(exact.numerator, exact.denominator))


def interval(low: Fraction, high: Fraction) -> arb:
    """The smallest ball of the working precision that contains [low, high]."""
    return rational(low).union(rational(high))


def positive(
    function: Callable[..., arb],
    box: Box,
    *,
    domain: str,
    precision: int,
    detail: str = "",
    parts: int = 200_000,
) -> Finding:
    """PROVED if ``function > 0`` for every point of the box: an interval proof, by bisection.

    Args:
        function: takes one ball per variable of `box` by name, and encloses its values at all points of these balls.
        box: the intervals of the variables, each of positive length; a degenerate box is UNDECIDED.
        domain: the box in words, and what it leaves out.
        precision: working precision in bits.
        detail: what the inequality means for the claim.
        parts: how many parts of the box are tried before the result is UNDECIDED.

    Source: Moore, Kearfott & Cloud, Introduction to Interval Analysis, SIAM 2009.
    """
    sides: Sides = tuple((Fraction(low), Fraction(high)) for low, high in box.values())
    names = tuple(box)
    total = prod((high - low for low, high in sides), start=Fraction(1))
    if not sides or any(high <= low for low, high in sides):
        return _inequality(Verdict.UNDECIDED, domain, 0, 1, "the box is degenerate", None, None)
    number = count()
    queue: list[tuple[Fraction, int, Sides]] = [(-total, next(number), sides)]
    looked = proved = 0
    with ctx.workprec(precision):
        while queue and looked < parts:
            _, _, part = heappop(queue)
            looked += 1
            if function(**{name: interval(*side) for name, side in zip(names, part, strict=True)}) > 0:
                proved += 1
                continue
            middle = {name: (low + high) / 2 for name, (low, high) in zip(names, part, strict=True)}
            at_middle = function(**{name: rational(value) for name, value in middle.items()})
            if at_middle <= 0:
                witness = ", ".join(f"{name} = {value}" for name, value in middle.items())
                witness = f"{witness}: the value is {at_middle.str(8)}, not above 0"
                return _inequality(Verdict.REFUTED, domain, looked, 0, detail, witness, None)
            for half in _halves(part, sides):
                volume = prod((high - low for low, high in half), start=Fraction(1))
                heappush(queue, (-volume, next(number), half))
    if queue:
        left = sum(float(-volume) for volume, _, _ in queue)
        text = f"{looked} parts looked at; {left / float(total):.2%} of the volume is left"
        return _inequality(Verdict.UNDECIDED, domain, proved, len(queue), text, None, None)
    return _inequality(Verdict.PROVED, domain, proved, 0, detail, None, float(total))


def _halves(part: Sides, whole: Sides) -> tuple[Sides, Sides]:
    """Cut the part across its longest side, relative to the side of the whole box."""

    def share(at: int) -> Fraction:
        return (part[at][1] - part[at][0]) / (whole[at][1] - whole[at][0])

    widest = max(range(len(part)), key=share)
    low, high = part[widest]
    middle = (low + high) / 2
    lower = (*part[:widest], (low, middle), *part[widest + 1 :])
    upper = (*part[:widest], (middle, high), *part[widest + 1 :])
    return lower, upper


def agree(
    pairs: Iterable[tuple[str, Any, Any]],
    *,
    domain: str,
    width: float,
    detail: str = "",
    evidence: Evidence = Evidence.CERTIFIED,
) -> Finding:
    """CONSISTENT if the enclosures of both sides overlap for every pair and none is wider than `width`.

    Args:
        pairs: (name, left, right); balls, computed at the precision they need.
        domain: where the pairs come from, in words.
        width: the largest relative width of ``left − right`` that decides a pair; wider ones are undecided.
        detail: what agrees with what.
        evidence: CERTIFIED, or SAMPLED if the pairs were drawn and one side is not an enclosure.
    """
    decided = undecided = 0
    widest = 0.0
    for name, left, right in pairs:
        difference = left - right
        if not difference.contains(0):
            return Finding(
                evidence=evidence,
                relation=Relation.EQUALITY,
                verdict=Verdict.REFUTED,
                domain=domain,
                decided=decided + 1,
                detail=detail,
                witness=f"{name}: {arb(left).str(12)} and {arb(right).str(12)} differ",
            )
        relative = relative_width(difference, left)
        if relative <= width:
            decided += 1
            widest = max(widest, relative)
        else:
            undecided += 1
    return Finding(
        evidence=evidence,
        relation=Relation.EQUALITY,
        verdict=Verdict.CONSISTENT if decided and not undecided else Verdict.UNDECIDED,
        domain=domain,
        decided=decided,
        undecided=undecided,
        detail=detail,
        width=widest,
    )


def relative_width(difference: arb, value: Any) -> float:
    """The radius of `difference` relative to the size of `value`; absolute if the value may be 0."""
    size = abs(arb(value)).lower()
    radius = difference.rad()
    return float(radius / size) if size > 0 else float(radius)


def exists(
    witness: str,
    value: arb,
    *,
    domain: str,
    detail: str = "",
    numbers: Mapping[str, Cell] | None = None,
) -> Finding:
    """PROVED existence if ``value > 0``: the witness has the property that the value measures; else UNDECIDED.

    Args:
        witness: the point, exactly, in words.
        value: an enclosure of a quantity that is positive only where the property holds.
        domain: where the witness was searched for.
        detail: what the quantity is.
        numbers: its size elsewhere.
    """
    there = value > 0
    return Finding(
        evidence=Evidence.CERTIFIED,
        relation=Relation.EXISTENCE,
        verdict=Verdict.PROVED if there else Verdict.UNDECIDED,
        domain=domain,
        decided=1 if there else 0,
        undecided=0 if there else 1,
        detail=detail,
        witness=f"{witness}: {value.str(12)}",
        numbers=dict(numbers or {}),
    )


def _inequality(
    verdict: Verdict, domain: str, decided: int, undecided: int, detail: str, witness: str | None, volume: float | None
) -> Finding:
    return Finding(
        evidence=Evidence.CERTIFIED,
        relation=Relation.INEQUALITY,
        verdict=verdict,
        domain=domain,
        decided=decided,
        undecided=undecided,
        detail=detail,
        witness=witness,
        volume=volume,
    )
