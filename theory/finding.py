"""What one check found, and the rules for its verdict: which evidence may call which kind of statement PROVED.

Four kinds of evidence are kept distinct. An equality is PROVED by a symbolic identity or in exact rationals, never by
overlapping enclosures; sampling can prove only that something exists. A finding that breaks these rules cannot be made.

Source: the separation of formula, assumptions and verdict follows the Fungrim project, https://fungrim.org.
"""

from __future__ import annotations

from enum import StrEnum
from math import isfinite

from pydantic import Field, model_validator

from kernelproof.reference.record import Record

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
    """What is known about a statement; the first two pass."""

    PROVED = "PROVED"
    CONSISTENT = "CONSISTENT"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"

    @property
    def passes(self) -> bool:
        """Whether the verdict is PROVED or CONSISTENT."""
        return self in {Verdict.PROVED, Verdict.CONSISTENT}


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
        domain: where it is known, in words: "all n > 0", "z in the 4-cube of …".
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


def _overclaim(finding: Finding) -> str | None:
    """Why the verdict of `finding` is stronger than its evidence allows, or None."""
    verdict, relation, evidence = finding.verdict, finding.relation, finding.evidence
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
