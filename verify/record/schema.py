"""The record of a run: the content of `results.json`, from which alone every report is made.

The JSON Schema is `Results.model_json_schema()`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from kernelproof.reference.brief import Brief, HasBrief
from kernelproof.reference.record import Record


class Verdict(StrEnum):
    """The verdict of a check or a target; PASS passes, and so does XFAIL, a failure that was expected."""

    PASS = "PASS"
    XFAIL = "XFAIL"
    XPASS = "XPASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"
    UNSUPPORTED = "UNSUPPORTED"
    UNAVAILABLE = "UNAVAILABLE"
    CRASH = "CRASH"


class Worst(Record):
    """One comparison of a check on a target, with the command that reproduces it."""

    case: str
    reproduce: str
    message: str
    index: list[int] | None = None
    got: str | None = None
    expected: str | None = None
    ulp: float | None = None
    absolute: float | None = None
    kappa: float | None = None


class Check(Record):
    """One check on one target: its verdict, and how many comparisons it made.

    Those that passed but would have passed for 0 as well are `vacuous`, and not among the decided ones. Of its `failed`
    comparisons, `expected` were expected. `reasons` says why they were expected, or which expected failures did not
    occur. `script` shows the smallest witness found of a failure; it runs as pasted, and exits nonzero on the fault.
    """

    id: str
    title: str
    verdict: Verdict
    decided: int = 0
    undecided: int = 0
    vacuous: int = 0
    failed: int = 0
    expected: int = 0
    reasons: list[str] = Field(default_factory=list)
    worst: Worst | None = None
    failures: list[Worst] = Field(default_factory=list)
    statistics: dict[str, float] = Field(default_factory=dict)
    script: str | None = None


class Accuracy(Record):
    """A row of the accuracy table: the errors of one op at one order and dtype.

    `resolution_half` is the relative error that half of the comparisons would have seen at the promised grade,
    `resolution_most` the one that 95 % of them would have seen; `forced_half` and `forced_most` are the parts of these
    that half an ulp and the storage roundings alone force. The `vacuous` comparisons decided nothing,
    `zeros` of them because their whole row is 0.
    """

    op: str
    rule: str
    order: str
    dtype: str
    output: str
    compared: int
    ulp_max: float
    ulp_mean: float
    ulp_signed_mean: float
    ulp_p999: float
    absolute_max: float
    kappa_max: float
    grade: str
    vacuous: int = 0
    zeros: int = 0
    resolution_half: float | None = None
    resolution_most: float | None = None
    forced_half: float | None = None
    forced_most: float | None = None


class Coverage(Record):
    """A cell of the coverage table; a cell in which nothing was decided is not verified."""

    op: str
    order: str
    dtype: str
    family: str
    cases: int
    decided: int
    undecided: int
    not_tried: str | None = None


class Recipes(Record):
    """The recipes of a family: how many a target was tried on, over all orders and dtypes, and how many exist."""

    op: str
    family: str
    tried: int
    known: int


class Pairs(Record):
    """How many pairs of levels of an op's axes (options, sizes, layout, dtype, ...) the cases of a run have together.

    `of` is what was compared there: "outputs" or "gradients". `possible` counts the pairs that can occur for the
    target; `left_out` says which levels it refuses. `missing` names some pairs that were not covered.
    """

    op: str
    of: str
    covered: int
    possible: int
    missing: list[str] = Field(default_factory=list)
    left_out: list[str] = Field(default_factory=list)


class Target(HasBrief, Record):
    """The results of one implementation: its grade, its checks, and what was tried on it.

    `by_default` says that it promises no grade itself, so that the default grade was required of it. `rests_on` names
    the compute dtype and the storage roundings that the grade rests on; where the target declares them, `usual_grade`
    is its grade under the usual ones.
    """

    name: str
    device: str
    grade: str
    promised: str
    passed: bool
    verdict: Verdict
    by_default: bool = False
    rests_on: list[str] = Field(default_factory=list)
    usual_grade: str | None = None
    note: str = ""
    checks: list[Check] = Field(default_factory=list)
    accuracy: list[Accuracy] = Field(default_factory=list)
    coverage: list[Coverage] = Field(default_factory=list)
    recipes: list[Recipes] = Field(default_factory=list)
    pairs: list[Pairs] = Field(default_factory=list)

    def brief(self) -> Brief:
        """The grade and the verdict, and of each check its verdict, its comparisons and its worst case."""
        title = f"{self.name} on {self.device}: {self.verdict.value}, grade {self.grade}, promised {self.promised}"
        # What does not pass comes first.
        ranked = sorted(self.checks, key=lambda check: (check.verdict is Verdict.PASS, check.id))
        lines = [
            (check.id, check.verdict.value, str(check.decided), "-" if check.worst is None else check.worst.case)
            for check in ranked
        ]
        return Brief(title, ("check", "verdict", "decided", "worst case"), lines)


class Table(Record):
    """A named table of plain cells, such as a study of the real tensors."""

    id: str
    title: str
    caption: str
    columns: list[str]
    rows: list[list[float | int | str]]


class Results(HasBrief, Record):
    """All results of one run."""

    format: Literal["kernelproof-results/1"] = Field(default="kernelproof-results/1", alias="schema")
    passed: bool
    interrupted: bool = False
    suite: str
    seed: int
    command: str
    started: str
    seconds: float
    environment: dict[str, Any]
    skipped: list[str] = Field(default_factory=list)
    targets: list[Target]
    studies: list[Table] = Field(default_factory=list)

    def brief(self) -> Brief:
        """The grade, the verdict and the worst case of each target."""
        verdict = "passed" if self.passed else "FAILED"
        lines = [(each.name, each.device, each.grade, each.verdict.value, _worst_case(each)) for each in self.targets]
        title = f"kernelproof verify: {verdict} in {self.seconds:.0f} s, suite {self.suite}, seed {self.seed}"
        return Brief(title, ("target", "device", "grade", "verdict", "worst case"), lines)


def _worst_case(target: Target) -> str:
    """The worst case of a failed check, or otherwise the one with the largest κ; without any, the target's note."""
    compared = [(check, check.worst) for check in target.checks if check.worst is not None]
    if not compared:
        return target.note or "-"
    check, worst = max(compared, key=lambda pair: (pair[0].failed > pair[0].expected, pair[1].kappa or 0.0))
    kappa = "" if worst.kappa is None else f" κ {worst.kappa:.3g},"
    return f"{check.id}:{kappa} {worst.case}"
