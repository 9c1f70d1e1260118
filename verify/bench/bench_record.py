"""The record of a benchmark run: what `bench.json` holds and what its page, table and pictures are made from."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from kernelproof.reference.brief import Brief, HasBrief
from kernelproof.reference.record import Record


class FigureState(StrEnum):
    """What became of a figure."""

    MET = "MET"
    MISSED = "MISSED"
    SHOWN = "SHOWN"
    """Measured, and there is no goal."""
    WRONG = "WRONG"
    """The outputs do not agree with the truth, so that their speed says nothing."""
    UNAVAILABLE = "UNAVAILABLE"
    """What it measures is not here."""


class Spread(Record):
    """Quantiles of what was measured, one value a round."""

    least: float
    lower: float
    median: float
    upper: float
    most: float


class Goal(Record):
    """What a figure is held against.

    Attributes:
        kind: "times": the time of ours over the rival's, at most; "faster": the rival's over ours, at least;
            "rate": elements a second, at least.
        value: the bound.
    """

    kind: Literal["times", "faster", "rate"]
    value: float

    def holds(self, measured: float) -> bool:
        """Whether `measured`, in the unit of `kind`, meets it; NaN never does.

        >>> Goal(kind="times", value=1.5).holds(1.4), Goal(kind="faster", value=30).holds(1.4)
        (True, False)
        """
        return measured <= self.value if self.kind == "times" else measured >= self.value

    def distance(self, measured: float) -> float:
        """How many times as good as it is `measured` would have to be; at most 1 where it is met.

        >>> Goal(kind="rate", value=3e6).distance(1e6)
        3.0
        """
        return measured / self.value if self.kind == "times" else self.value / measured


class Agreement(Record):
    """How the outputs that were timed compare with the truth.

    Attributes:
        passed: whether ours are what they should be.
        compared: how many numbers of ours were held against the truth.
        what: what was compared with what, and how far off each was.
    """

    passed: bool
    compared: int
    what: str


class Memory(Record):
    """The most memory that one call needed beyond what was there before it, in bytes; None: not measured."""

    ours: float | None
    rival: float | None


class Note(Record):
    """Why a goal is not met."""

    tried: str
    in_the_way: str


class FigureRecord(Record):
    """One figure, as measured.

    Attributes:
        measured: of every round, in the unit of the goal ("times" where there is none).
        best: the same of the shortest time of each side.
        ours_seconds: of every round.
        rival_seconds: of every round.
    """

    id: str
    state: FigureState
    setting: dict[str, str]
    ours: str
    rival: str
    reason: str = ""
    rounds: int = 0
    measured: Spread | None = None
    best: float | None = None
    ratio: Spread | None = None
    ours_seconds: Spread | None = None
    rival_seconds: Spread | None = None
    agreement: Agreement | None = None
    memory: Memory | None = None


class ClaimRecord(Record):
    """Figures that share a goal, and why it is not met where it is not."""

    id: str
    title: str
    goal: Goal | None
    note: Note | None
    figures: list[FigureRecord]


class FamilyRecord(Record):
    """A family of figures."""

    id: str
    title: str
    claims: list[ClaimRecord]


class PowerLawFit(Record):
    """Cost ~ x^exponent by least squares on logarithms; the interval is Student's, of 95 %, None for two points."""

    exponent: float
    interval: tuple[float, float] | None
    first: float
    last: float
    points: int


class CostCurveRecord(Record):
    """One line of a picture: seconds at every x, and their fit; or why there is none."""

    label: str
    reason: str = ""
    xs: list[float] = Field(default_factory=list)
    seconds: list[Spread] = Field(default_factory=list)
    fit: PowerLawFit | None = None


class CostPictureRecord(Record):
    """How cost grows with one thing."""

    id: str
    title: str
    x: str
    caption: str
    curves: list[CostCurveRecord]


class BenchResults(HasBrief, Record):
    """Everything one run of the benchmarks found."""

    format: Literal["kernelproof-bench/1"] = Field(default="kernelproof-bench/1", alias="schema")
    command: str
    started: str
    seconds: float
    quick: bool
    environment: dict[str, Any]
    families: list[FamilyRecord]
    pictures: list[CostPictureRecord]

    def brief(self) -> Brief:
        """The families of figures, and how many figures each has."""
        title = f"kernelproof bench: {'a quick run' if self.quick else 'a whole run'} of {self.seconds:.0f} s"
        counts = [(each.title, sum(len(claim.figures) for claim in each.claims)) for each in self.families]
        return Brief(title, ("family", "figures"), [(name, str(count)) for name, count in counts])
