"""The record of `kernelproof theory`: the contents of theory.json, from which every report is computed."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from pydantic import Field

from kernelproof.reference.brief import Brief, HasBrief
from kernelproof.reference.record import Record
from kernelproof.theory.claim import Kind, Role
from kernelproof.theory.finding import Evidence, Finding, Verdict


class Named(Record):
    """A symbol or an assumption, and its meaning."""

    name: str
    text: str


class ClaimCheckResult(Record):
    """One check of a claim: what it found, or why it could not run here.

    Attributes:
        lacking: why the claim does not rest on the finding, such as a domain smaller than that of the statement.
    """

    id: str
    says: str
    role: Role
    drops: str | None = None
    finding: Finding | None = None
    lacking: str = ""
    unavailable: str | None = None


class ClaimResult(Record):
    """A claim with the findings of its checks and its verdict.

    Attributes:
        domain: the domain of the statement, as the program compares it; empty where only words say it.
        predicates: what the statement says of every value of its variables, as the program compares it.
        argument: how the steps make up the statement, in words that no machine checks.
        reason: why the verdict is not stronger.
    """

    id: str
    label: str
    title: str
    statement: str
    source: str
    kind: Kind
    variables: list[Named]
    assumptions: list[Named]
    why_not_more: str
    domain: str = ""
    predicates: list[str] = Field(default_factory=list)
    argument: str = ""
    reason: str = ""
    verdict: Verdict
    checks: list[ClaimCheckResult]

    @property
    def passes(self) -> bool:
        """Whether the verdict is one that a claim of this kind may have: a theorem is PROVED or DERIVED."""
        return self.verdict.passes and (self.kind is not Kind.THEOREM or self.verdict is not Verdict.CONSISTENT)

    @property
    def evidence(self) -> list[Evidence]:
        """The kinds of evidence that its checks gave, strongest first."""
        given = {check.finding.evidence for check in self.checks if check.finding is not None}
        return [kind for kind in Evidence if kind in given]


class TheoryResults(HasBrief, Record):
    """Everything one run of `kernelproof theory` found."""

    format: Literal["kernelproof-theory/1"] = Field(default="kernelproof-theory/1", alias="schema")
    passed: bool
    interrupted: bool = False
    command: str
    precision: int
    seed: int
    started: str
    seconds: float
    environment: dict[str, Any]
    claims: list[ClaimResult]

    def brief(self) -> Brief:
        """How many claims have each verdict, and the claims, those first that do not pass."""
        counts = Counter(each.verdict.value for each in self.claims)
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        ranked = sorted(self.claims, key=lambda each: each.passes)
        title = f"kernelproof theory: {'passed' if self.passed else 'FAILED'} in {self.seconds:.0f} s: {said}"
        return Brief(
            title, ("claim", "verdict", "title"), [(each.id, each.verdict.value, each.title) for each in ranked]
        )
