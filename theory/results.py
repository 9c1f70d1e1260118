"""The record of `kernelproof theory`: what theory.json holds and what every report of it is a pure function of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kernelproof.theory.claim import Kind, Role
from kernelproof.theory.finding import Evidence, Finding, Verdict


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", populate_by_name=True)


class Named(_Record):
    """A symbol or an assumption, and what it stands for."""

    name: str
    text: str


class ClaimCheckResult(_Record):
    """One check of a claim: what it found, or why it could not run here."""

    id: str
    says: str
    role: Role
    drops: str | None = None
    finding: Finding | None = None
    unavailable: str | None = None


class ClaimResult(_Record):
    """A claim with the findings of its checks and its verdict."""

    id: str
    label: str
    title: str
    statement: str
    source: str
    kind: Kind
    variables: list[Named]
    assumptions: list[Named]
    why_not_more: str
    verdict: Verdict
    checks: list[ClaimCheckResult]

    @property
    def evidence(self) -> list[Evidence]:
        """The kinds of evidence that its checks gave, strongest first."""
        given = {check.finding.evidence for check in self.checks if check.finding is not None}
        return [kind for kind in Evidence if kind in given]


class TheoryResults(_Record):
    """Everything one run of `kernelproof theory` found."""

    format: Literal["kernelproof-theory/1"] = Field(default="kernelproof-theory/1", alias="schema")
    passed: bool
    command: str
    precision: int
    seed: int
    started: str
    seconds: float
    environment: dict[str, Any]
    claims: list[ClaimResult]
