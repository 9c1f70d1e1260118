"""Exact evidence: both sides in rational numbers, compared without rounding, on a named finite domain."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import product
from math import prod
from typing import Any

import numpy as np
import sympy

from kernelproof.reference.errors import ClaimError
from kernelproof.theory.domain import Domain, Range
from kernelproof.theory.domain import cases as single
from kernelproof.theory.evidence.points import built
from kernelproof.theory.finding import Evidence, Finding, Relation, Verdict, issue
from kernelproof.theory.statement import Statement

MOST = 100_000
"""Up to how many points are looked at one by one."""


def equal(cases: Iterable[tuple[str, Any, Any]], *, domain: str, detail: str = "") -> Finding:
    """PROVED on `domain` if both sides of every case are the same rational numbers.

    Args:
        cases: (name, left, right); Fractions, ints, booleans, or sequences of these. At least one.
        domain: the finite set that the cases exhaust, or how they were drawn, in words.
        detail: why these cases suffice, if they do.
    """
    count = 0
    for name, left, right in cases:
        count += 1
        _exactly(name, left)
        _exactly(name, right)
        if left != right:
            return _finding(Relation.EQUALITY, Verdict.REFUTED, domain, count, detail, f"{name}: {left} ≠ {right}")
    return _finding(Relation.EQUALITY, Verdict.PROVED if count else Verdict.UNDECIDED, domain, count, detail, None)


def holds(cases: Iterable[tuple[str, bool]], *, domain: str, detail: str = "") -> Finding:
    """PROVED on `domain` if every case, decided in exact arithmetic, is True."""
    count = 0
    for name, true in cases:
        count += 1
        if not isinstance(true, bool | np.bool_):
            msg = f"{name}: what holds must be True or False; got {true!r}"
            raise ClaimError(msg)
        if not true:
            return _finding(Relation.INEQUALITY, Verdict.REFUTED, domain, count, detail, name)
    return _finding(Relation.INEQUALITY, Verdict.PROVED if count else Verdict.UNDECIDED, domain, count, detail, None)


def proves(statement: Statement, *, within: Domain | None = None, detail: str = "") -> Finding:
    """PROVED if every predicate holds at every point of the statement's domain, or of `within`: finitely many integers.

    That is evidence for those points alone. Sides that are not rational at one of them are UNDECIDED, as is a domain
    with more than `MOST` points.
    """
    on = within or statement.domain
    sizes = [each.size for each in on.ranges.values()]
    symbols = statement.symbols

    def found(verdict: Verdict, count: int, left: int, text: str, witness: str | None = None) -> Finding:
        return issue(
            evidence=Evidence.EXACT, relation=Relation.EQUALITY, verdict=verdict, domain=str(on), on=on,
            subject=list(statement.subject), decided=count, undecided=left, detail=text, witness=witness,
        )  # fmt: skip

    if on.cases is not None or None in sizes or prod(size or 0 for size in sizes) > MOST or statement.domain.conditions:
        return found(Verdict.UNDECIDED, 0, 1, f"it has not at most {MOST} points")
    count = 0
    for point in product(*(_whole(each) for each in on.ranges.values())):
        values = {symbols[name]: sympy.Integer(each) for name, each in zip(on.ranges, point, strict=True)}
        where = ", ".join(f"{name} = {each}" for name, each in zip(on.ranges, point, strict=True))
        for predicate in statement.parsed:
            left, right = (built(side, values).doit() for side in predicate.sides)
            if not (left.is_Rational and right.is_Rational):
                return found(Verdict.UNDECIDED, count, 1, f"{where}: {left} and {right} are not both rational")
            if not {"=": left == right, ">": left > right, ">=": left >= right}[predicate.operator]:
                return found(Verdict.REFUTED, count + 1, 0, detail, f"{where}: {predicate.text}: {left} and {right}")
            count += 1
    return found(Verdict.PROVED if count else Verdict.UNDECIDED, count, 0, detail)


def _whole(values: Range) -> range:
    first, size = values.ends[0] or Fraction(0), values.size or 0
    start = first.__floor__() + 1 if values.open_low else first.__ceil__()
    return range(start, start + size)


def _exactly(name: str, value: Any) -> None:
    """Check that `value` compares exactly; between balls, ``!=`` is False where nothing is known.

    Raises:
        ClaimError: `value` contains a float, a ball or anything else that is not exact.
    """
    if isinstance(value, list | tuple):
        for each in value:
            _exactly(name, each)
    elif not (value is None or isinstance(value, int | Fraction | str | np.integer | np.bool_)):
        msg = f"{name}: exact evidence compares ints, Fractions, booleans and text; got {value!r}"
        raise ClaimError(msg)


def _finding(
    relation: Relation, verdict: Verdict, domain: str, count: int, detail: str, witness: str | None
) -> Finding:
    return issue(
        evidence=Evidence.EXACT,
        relation=relation,
        verdict=verdict,
        domain=domain,
        on=single(count),
        decided=count,
        undecided=0,
        detail=detail,
        witness=witness,
    )
