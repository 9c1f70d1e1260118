"""Exact evidence: both sides in rational numbers, compared without rounding, on a named finite domain."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from kernelproof.reference.errors import ClaimError
from kernelproof.theory.finding import Evidence, Finding, Relation, Verdict


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
    return Finding(
        evidence=Evidence.EXACT,
        relation=relation,
        verdict=verdict,
        domain=domain,
        decided=count,
        undecided=0,
        detail=detail,
        witness=witness,
    )
