"""The record of a fuzzing run: the content of `fuzz.json`, from which alone the report is made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from kernelproof.reference.brief import Brief, HasBrief
from kernelproof.reference.record import Record


class AlsoSeen(Record):
    """An order and dtype at which the same check failed: how often, and the first case."""

    order: str
    dtype: str
    count: int
    case: str


class FuzzFinding(Record):
    """One fault: the check that found it, the smallest witness, and a script that shows it.

    Attributes:
        kind: "value", "not finite", "exception", or how the process ended: "death", "hang" or "memory".
        recipe: the case that first showed it.
        small_recipe: the smallest recipe that shows it.
        witness: the arrays of the smallest witness as nested lists, by argument; None if it remained a recipe.
        script: runs as pasted, and exits nonzero on the fault; "" if the fault needs the history of the process.
        also: every order and dtype at which the check failed.
        examples: how many examples had been judged when it was found.
        seconds: seconds from the start until it was found.
        judged: how many subjects were judged to shrink it.
        shrunk: whether shrinking finished, instead of running out of its budget.
        confirmed: whether it occurred again in a fresh process.
        replayed: whether it came from the example database.
    """

    op: str
    check: str
    kind: str
    order: str
    dtype: str
    message: str
    kappa: float | None
    recipe: str
    small_recipe: str
    witness: dict[str, Any] | None
    script: str
    also: list[AlsoSeen] = Field(default_factory=list)
    examples: int
    seconds: float
    judged: int
    shrunk: bool
    confirmed: bool
    replayed: bool = False


class CoverageCell(Record):
    """What was tried at one op, order, dtype and family."""

    op: str
    order: str
    dtype: str
    family: str
    examples: int
    rows: int
    decided: int
    undecided: int
    kappa: float


class FuzzResults(HasBrief, Record):
    """Everything one fuzzing run found.

    Attributes:
        passed: nothing was found, and at least one number was compared with the truth.
        examples: recipes judged, except while shrinking.
        rows: rows in these recipes.
        cpu_seconds: processor time of the search and of truth, target and checks, without shrinking.
        rows_per_second: `rows` over `cpu_seconds`: the rate of one core.
        deaths: processes that the target ended.
        replayed: entries of the database that were tried first.
        mended: replayed entries that no longer fail.
        notes: what the search gave up, and why.
    """

    format: Literal["kernelproof-fuzz/1"] = Field(default="kernelproof-fuzz/1", alias="schema")
    passed: bool
    interrupted: bool = False
    target: str
    device: str
    seed: int
    command: str
    started: str
    seconds: float
    examples: int
    rows: int
    cpu_seconds: float
    rows_per_second: float
    deaths: int
    replayed: int
    mended: int
    environment: dict[str, Any]
    notes: list[str] = Field(default_factory=list)
    findings: list[FuzzFinding] = Field(default_factory=list)
    coverage: list[CoverageCell] = Field(default_factory=list)

    def brief(self) -> Brief:
        """The number of faults, and the smallest witness of each."""
        count = len(self.findings)
        found = f"{count} found" if count else "nothing found" if self.passed else "nothing decided"
        title = f"kernelproof fuzz: {self.target} on {self.device}: {found} in {self.seconds:.0f} s, {self.rows:,} rows"
        lines = [(each.op, each.check, each.message, each.small_recipe) for each in self.findings]
        return Brief(title, ("op", "check", "message", "worst case"), lines)
