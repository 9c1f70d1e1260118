"""Certified evidence: interval proofs over whole boxes of the parameter space, and comparisons of enclosures.

`positive` splits a box until arb proves the sign on every part; the sign then holds at every real point of the box, not
only at those that were tried. The function gets guarded balls, which refuse whatever leaves interval arithmetic, and
its values on random parts of the parts must lie inside those of the parts. `supported` does the same for functions of
arb itself, whose values are tested but not guarded, and therefore proves nothing. `agree` compares enclosures:
overlapping ones are consistent with an equality, disjoint ones refute it. `exists` proves existence by an enclosure at
one point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from itertools import count
from math import prod
from random import Random
from typing import Any

from flint import arb, ctx, fmpq

from kernelproof.reference.errors import ClaimError
from kernelproof.theory.domain import Domain, Range, cases
from kernelproof.theory.evidence.ball import Ball, guard, unguard, watched
from kernelproof.theory.evidence.interpreter import ball_of
from kernelproof.theory.finding import Cell, Evidence, Finding, Relation, Verdict, is_issued, issue
from kernelproof.theory.statement import Statement

Box = Mapping[str, tuple[Any, Any]]
"""The ends of the interval of every variable: ints, Fractions, or strings such as "1/3"."""
Sides = tuple[tuple[Fraction, Fraction], ...]
TESTED = 48
"""How many parts of a proof are tested for inclusion, besides the whole box."""
SLACK = 20
"""A value may stick out of the one that contains it by 2^−SLACK of its radius: arb rounds a radius up to 30 bits."""


def rational(value: Fraction | int) -> arb:
    """The ball of the working precision around a rational number."""
    exact = Fraction(value)
    return arb(fmpq(exact.numerator, exact.denominator))


def interval(low: Fraction, high: Fraction) -> arb:
    """The smallest ball of the working precision that contains [low, high]."""
    return rational(low).union(rational(high))


def positive(
    function: Callable[..., Ball],
    box: Box,
    *,
    domain: str,
    precision: int,
    detail: str = "",
    parts: int = 200_000,
) -> Finding:
    """PROVED if ``function > 0`` for every point of the box: an interval proof, by bisection.

    Args:
        function: takes one `Ball` per variable of `box` by name, and returns a `Ball` made of these. What a `Ball`
            refuses makes the result UNDECIDED.
        box: the intervals of the variables, each of positive length; a degenerate box is UNDECIDED.
        domain: the box in words, and what it leaves out.
        precision: working precision in bits.
        detail: what the inequality means for the claim.
        parts: how many parts of the box are tried before the result is UNDECIDED.

    Source: Moore, Kearfott & Cloud, Introduction to Interval Analysis, SIAM 2009.
    """
    return _bisected(_Evaluation(function, tuple(box), guarded=True), box, domain, precision, detail, parts)


def supported(
    function: Callable[..., arb],
    box: Box,
    *,
    domain: str,
    precision: int,
    detail: str = "",
    parts: int = 200_000,
) -> Finding:
    """CONSISTENT if ``function > 0`` on every part of the box: as `positive`, for a function of `flint.arb` itself.

    It is for functions that need more than a `Ball` has, such as power series. That they enclose their values is tested
    and not ensured, so this proves nothing.
    """
    return _bisected(_Evaluation(function, tuple(box), guarded=False), box, domain, precision, detail, parts)


def proves(
    statement: Statement, *, precision: int, within: Domain | None = None, detail: str = "", parts: int = 200_000
) -> Finding:
    """PROVED if the one predicate of the statement, a strict inequality, holds on its domain, a box, or on `within`.

    The function is made from the text of the predicate. A domain that is not a box, with both ends of every range in
    it, is UNDECIDED.
    """
    on = within or statement.domain
    predicate = statement.parsed[0] if len(statement.parsed) == 1 else None
    closed = all(
        None not in each.ends and not (each.open_low or each.open_high or each.integer or each.index or each.without)
        for each in on.ranges.values()
    )
    if predicate is None or predicate.operator != ">" or not closed or on.cases is not None:
        return issue(
            evidence=Evidence.CERTIFIED, relation=Relation.INEQUALITY, verdict=Verdict.UNDECIDED, domain=str(on), on=on,
            decided=0, undecided=1, detail="an interval proof is of one strict inequality, on a closed box",
        )  # fmt: skip
    left, right = predicate.sides
    evaluation = _Evaluation(
        lambda **values: ball_of(left, values) - ball_of(right, values), tuple(on.ranges), guarded=True
    )
    box = {name: (each.low, each.high) for name, each in on.ranges.items()}
    return _bisected(evaluation, box, str(on), precision, detail, parts, subject=list(statement.subject))


@dataclass(frozen=True)
class _Evaluation:
    """A function of a box, whose evaluation may be void."""

    function: Callable[..., Any]
    names: tuple[str, ...]
    guarded: bool

    def at(self, part: Sequence[arb]) -> tuple[arb | None, str]:
        """(the value, empty text); or None where a comparison is not decided; or None and why the proof is void."""
        arguments: list[Any] = [guard(each) for each in part] if self.guarded else list(part)
        with watched() as watch:
            try:
                value = self.function(**dict(zip(self.names, arguments, strict=True)))
                failure = ""
            except Exception as error:  # noqa: BLE001 (an author's function may raise anything)
                value, failure = None, f"the function raised {type(error).__name__}: {error}"
        if watch.refused:
            return None, f"the function asked a ball for {watch.refused[0]}, which leaves interval arithmetic"
        if watch.unsettled:
            return None, ""
        if failure:
            return None, failure
        plain = unguard(value) if self.guarded else value
        if not isinstance(plain, arb):
            return None, f"the function must return a ball made of its arguments; got a {type(value).__name__}"
        return plain, ""


def _bisected(
    evaluation: _Evaluation,
    box: Box,
    domain: str,
    precision: int,
    detail: str,
    parts: int,
    subject: Sequence[str] = (),
) -> Finding:
    sides: Sides = tuple((Fraction(low), Fraction(high)) for low, high in box.values())
    on = Domain(ranges={name: Range(low=str(a), high=str(b)) for name, (a, b) in zip(box, sides, strict=True)})
    total = prod((high - low for low, high in sides), start=Fraction(1))
    # An interval proof of guarded balls, or a test of the author's own.
    best = Verdict.PROVED if evaluation.guarded else Verdict.CONSISTENT

    def found(verdict: Verdict, decided: int, left: int, text: str, **more: Any) -> Finding:
        return issue(
            evidence=Evidence.CERTIFIED, relation=Relation.INEQUALITY, verdict=verdict, domain=domain, on=on,
            subject=list(subject), decided=decided, undecided=left, detail=text, **more,
        )  # fmt: skip

    if not sides or any(high <= low for low, high in sides):
        return found(Verdict.UNDECIDED, 0, 1, "the box is degenerate")
    number = count()
    queue: list[tuple[Fraction, int, Sides]] = [(-total, next(number), sides)]
    looked = proved = 0
    sample = _Sample(evaluation)
    with ctx.workprec(precision):
        while queue and looked < parts:
            _, _, part = heappop(queue)
            looked += 1
            value, void = evaluation.at([interval(*side) for side in part])
            if void:
                return found(Verdict.UNDECIDED, 0, 1, void)
            if value is not None:
                sample.add(part, value)
                if value > 0:
                    proved += 1
                    continue
            middle = [(low + high) / 2 for low, high in part]
            at_middle, void = evaluation.at([rational(each) for each in middle])
            if void:
                return found(Verdict.UNDECIDED, 0, 1, void)
            if at_middle is not None and at_middle <= 0:
                named = zip(evaluation.names, middle, strict=True)
                witness = ", ".join(f"{name} = {each}" for name, each in named)
                witness = f"{witness}: the value is {at_middle.str(8)}, not above 0"
                return found(Verdict.REFUTED, looked, 0, detail, witness=witness)
            for half in _halves(part, sides):
                volume = prod((high - low for low, high in half), start=Fraction(1))
                heappush(queue, (-volume, next(number), half))
        outside = sample.outside()
    if outside is not None:
        return found(Verdict.UNDECIDED, 0, 1, outside)
    if queue:
        rest = sum(float(-volume) for volume, _, _ in queue)
        text = f"{looked} parts looked at; {rest / float(total):.2%} of the volume is left"
        return found(Verdict.UNDECIDED, proved, len(queue), text)
    return found(best, proved, 0, detail, volume=float(total))


class _Sample:
    """Parts of a proof with their values, to be tested: the value of a part of a part must lie inside its value."""

    def __init__(self, evaluation: _Evaluation) -> None:
        self.evaluation = evaluation
        self.random = Random(0)  # noqa: S311 (parts to look at, no secret)
        self.kept: list[tuple[Sides, arb]] = []
        self.seen = 0

    def add(self, part: Sides, value: arb) -> None:
        """Keep each part that was added with the same probability, and the first, the whole box, always."""
        self.seen += 1
        if len(self.kept) <= TESTED:
            self.kept.append((part, value))
        elif (at := self.random.randrange(1, self.seen)) <= TESTED:
            self.kept[at] = (part, value)

    def outside(self) -> str | None:
        """Where the value of a smaller part is not inside that of the part; None if nowhere."""
        for part, value in self.kept:
            for at in range(4):
                smaller = self._part_of(part, degenerate=at == 3)
                inner, void = self.evaluation.at([interval(*side) for side in smaller])
                if void:
                    return void
                if inner is None or not self._fits(inner, value):
                    named = zip(self.evaluation.names, smaller, strict=True)
                    where = ", ".join(f"{name} in [{a}, {b}]" for name, (a, b) in named)
                    value_there = "undecided" if inner is None else inner.str(8)
                    return (
                        f"the function encloses nothing: its value is {value.str(8)} on a part of the box, and "
                        f"{value_there} on a part of that part, {where}"
                    )
        return None

    def _fits(self, inner: arb, outer: arb) -> bool:
        """Whether a value fits that of the part around it; a function of arb may be a lower bound and no enclosure."""
        if not outer.is_finite():
            return True
        # Rounding of radii and of midpoints explains so much.
        room = outer.rad() * arb((1, -SLACK)) + abs(outer).upper() * arb((1, SLACK - ctx.prec))
        wider = outer + arb(0, room.upper())
        return bool(wider.contains(inner) if self.evaluation.guarded else inner.lower() >= wider.lower())

    def _part_of(self, part: Sides, *, degenerate: bool) -> Sides:
        found = []
        for low, high in part:
            ends = sorted(self.random.sample(range(1, 1024), 2))
            a, b = (low + (high - low) * Fraction(end, 1024) for end in ends)
            found.append((a, a) if degenerate else (a, b))
        return tuple(found)


def united(findings: Sequence[Finding], *, domain: str, detail: str) -> Finding:
    """PROVED if each of these interval proofs is: the boxes together.

    Raises:
        ClaimError: one was not issued by `positive`.
    """
    for each in findings:
        if not is_issued(each) or each.evidence is not Evidence.CERTIFIED:
            msg = f"only interval proofs are united; got {each!r}"
            raise ClaimError(msg)
    proved = [each for each in findings if each.verdict is Verdict.PROVED]
    return issue(
        evidence=Evidence.CERTIFIED, relation=Relation.INEQUALITY,
        verdict=Verdict.PROVED if proved and len(proved) == len(findings) else Verdict.UNDECIDED,
        domain=domain, on=cases(len(findings)), decided=sum(each.decided for each in proved),
        undecided=len(findings) - len(proved), detail=detail, volume=sum(each.volume or 0 for each in proved),
    )  # fmt: skip


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
            return issue(
                evidence=evidence,
                relation=Relation.EQUALITY,
                verdict=Verdict.REFUTED,
                domain=domain,
                on=cases(decided + undecided + 1),
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
    return issue(
        evidence=evidence,
        relation=Relation.EQUALITY,
        verdict=Verdict.CONSISTENT if decided and not undecided else Verdict.UNDECIDED,
        domain=domain,
        on=cases(decided + undecided),
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
    return issue(
        evidence=Evidence.CERTIFIED,
        relation=Relation.EXISTENCE,
        verdict=Verdict.PROVED if there else Verdict.UNDECIDED,
        domain=domain,
        on=cases(1),
        decided=1 if there else 0,
        undecided=0 if there else 1,
        detail=detail,
        witness=f"{witness}: {value.str(12)}",
        numbers=dict(numbers or {}),
    )
