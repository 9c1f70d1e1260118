"""What one check found, and the rules for its verdict: which evidence may call which kind of statement PROVED.

Four kinds of evidence are kept distinct. An equality is PROVED by a symbolic identity or in exact rationals, never by
overlapping enclosures; sampling can prove only that something exists. A finding that breaks these rules cannot be made.
Only the functions of `kernelproof.theory.evidence` issue findings: one that was made or changed by hand counts as
nothing.

Source: the separation of formula, assumptions and verdict follows the Fungrim project, https://fungrim.org.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from math import isfinite
from typing import Any

from pydantic import Field, model_validator

from kernelproof.reference.errors import ClaimError
from kernelproof.reference.record import Record
from kernelproof.theory.domain import Domain

Cell = float | int | str


class Evidence(StrEnum):
    """The evidence for a finding."""

    SYMBOLIC = "symbolic"
    EXACT = "exact"
    CERTIFIED = "certified"
    SAMPLED = "sampled"


class Relation(StrEnum):
    """The kind of statement: two things are equal, one is greater, or something exists."""

    EQUALITY = "equality"
    INEQUALITY = "inequality"
    EXISTENCE = "existence"


class Verdict(StrEnum):
    """What is known about a statement; of a finding, DERIVED is never said."""

    PROVED = "PROVED"
    DERIVED = "DERIVED"
    """Every step is PROVED; that they make up the statement is an argument in words."""
    CONSISTENT = "CONSISTENT"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"

    @property
    def passes(self) -> bool:
        """Whether the verdict is PROVED, DERIVED or CONSISTENT."""
        return self in {Verdict.PROVED, Verdict.DERIVED, Verdict.CONSISTENT}


class Grid(Record):
    """A table that belongs to a finding, such as the best value per m and α."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]


class Finding(Record):
    """What one check found.

    Attributes:
        evidence: the kind of evidence.
        relation: the kind of statement.
        verdict: what is known now.
        domain: where it is known, in words for a reader: "all n > 0", "z in the 4-cube of …".
        on: the domain on which the evidence was obtained, as the program saw it; None if it saw words only.
        subject: what was decided, in canonical text; empty if it was a function or cases of the author's.
        assumed: what the evidence used beside the ranges of the variables.
        decided: how many identities, boxes, points or examples were decided.
        undecided: how many were not.
        detail: how it was shown, in a sentence.
        witness: where it fails (REFUTED), or what exists (PROVED existence); enough to repeat it by hand.
        width: the largest relative width of the enclosures compared (CONSISTENT equalities of balls).
        volume: the product of the sides of the boxes covered by an interval proof.
        numbers: numbers of interest to a reader, by name.
        grids: tables.

    Raises:
        ValueError: the verdict is stronger than the evidence allows.
    """

    evidence: Evidence
    relation: Relation
    verdict: Verdict
    domain: str
    on: Domain | None = None
    subject: list[str] = Field(default_factory=list)
    assumed: list[str] = Field(default_factory=list)
    decided: int = Field(ge=0)
    undecided: int = Field(default=0, ge=0)
    detail: str = ""
    witness: str | None = None
    width: float | None = None
    volume: float | None = None
    numbers: dict[str, Cell] = Field(default_factory=dict)
    grids: list[Grid] = Field(default_factory=list)

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Finding:
        reason = _overclaim(self)
        if reason is not None:
            raise ValueError(reason)
        return self

    def with_tables(self, *grids: Grid, numbers: Mapping[str, Cell] | None = None) -> Finding:
        """The same finding with these tables and numbers for a reader."""
        return self.model_copy(update={"grids": [*self.grids, *grids], "numbers": {**self.numbers, **(numbers or {})}})


_ISSUED: set[str] = set()
"""The facts of every finding that an evidence function issued in this process."""
_EVIDENCE = "kernelproof.theory.evidence"


def issue(**given: Any) -> Finding:
    """A finding by an evidence function, which is the only kind of caller.

    Raises:
        ClaimError: the caller is not in `kernelproof.theory.evidence`.
    """
    caller = str(sys._getframe(1).f_globals.get("__name__"))  # noqa: SLF001 (who asks is what matters here)
    if not caller.startswith(f"{_EVIDENCE}."):
        msg = f"only an evidence function issues a finding; {caller} is none"
        raise ClaimError(msg)
    finding = Finding(**given)
    _ISSUED.add(_facts(finding))
    return finding


def is_issued(finding: Finding) -> bool:
    """Whether an evidence function issued a finding with these facts; tables and numbers for a reader are none."""
    return _facts(finding) in _ISSUED


def _facts(finding: Finding) -> str:
    # Not as JSON, which has no form for text that is not Unicode.
    return repr(finding.model_dump(exclude={"grids", "numbers"}))


def _overclaim(finding: Finding) -> str | None:
    """Why the verdict of `finding` is stronger than its evidence allows, or None."""
    verdict, relation, evidence = finding.verdict, finding.relation, finding.evidence
    if verdict is Verdict.DERIVED:
        return "a finding is PROVED or not; DERIVED is said of a claim"
    if verdict.passes and finding.decided == 0:
        return f"{verdict} needs something decided"
    if verdict.passes and finding.undecided:
        return f"{verdict} leaves nothing undecided; {finding.undecided} are"
    witness = (finding.witness or "").strip()
    if verdict is Verdict.REFUTED and not witness:
        return "REFUTED needs its witness"
    if verdict is Verdict.CONSISTENT and relation is Relation.EQUALITY and not _is_size(finding.width, zero=True):
        return "that enclosures overlap says nothing without their width"
    if verdict is not Verdict.PROVED:
        return None
    if relation is Relation.EXISTENCE:
        return None if witness else "that something exists is PROVED by a witness"
    if evidence is Evidence.SAMPLED:
        return "samples prove nothing but existence"
    if relation is Relation.EQUALITY and evidence is Evidence.CERTIFIED:
        return "enclosures that overlap are CONSISTENT with an equality, and do not prove it"
    if evidence is Evidence.CERTIFIED and not _is_size(finding.volume):
        return "an interval proof covers a box of positive volume"
    return None


def _is_size(value: float | None, *, zero: bool = False) -> bool:
    """True for a finite positive number, and for 0 if `zero`."""
    return value is not None and isfinite(value) and (value > 0 or (zero and value == 0))
