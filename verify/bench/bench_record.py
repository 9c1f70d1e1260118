"""The record of a benchmark run: the content of `bench.json`, from which its page, table and pictures are made."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from kernelproof.reference.brief import Brief, HasBrief
from kernelproof.reference.record import Record


class FigureState(StrEnum):
    """The outcome of a figure."""

    MET = "MET"
    MISSED = "MISSED"
    SHOWN = "SHOWN"
    """Measured; the figure has no goal."""
    WRONG = "WRONG"
    """The outputs do not agree with the truth, so their speed is meaningless."""
    UNAVAILABLE = "UNAVAILABLE"
    """What the figure measures is not available on this machine."""


class Spread(Record):
    """Minimum, quartiles and maximum of a measurement that has one value per round."""

    least: float
    lower: float
    median: float
    upper: float
    most: float


class Goal(Record):
    """The goal of a figure.

    Attributes:
        kind: "times": our time over the rival's, at most; "faster": the rival's time over ours, at least;
            "rate": elements per second, at least.
        value: the bound.
    """

    kind: Literal["times", "faster", "rate"]
    value: float

    def holds(self, measured: float) -> bool:
        """Whether `measured`, in the unit of `kind`, meets the goal; NaN never does.

        >>> Goal(kind="times", value=1.5).holds(1.4), Goal(kind="faster", value=30).holds(1.4)
        (True, False)
        """
        return measured <= self.value if self.kind == "times" else measured >= self.value

    def distance(self, measured: float) -> float:
        """The factor by which `measured` would have to improve to meet the goal; at most 1 if it is met.

        >>> Goal(kind="rate", value=3e6).distance(1e6)
        3.0
        """
        return measured / self.value if self.kind == "times" else self.value / measured


class Agreement(Record):
    """The comparison of the outputs that were timed with the truth.

    Attributes:
        passed: whether our outputs are correct.
        compared: how many numbers of our outputs were compared with the truth.
        what: what was compared with what, and how far off each was.
    """

    passed: bool
    compared: int
    what: str


class Memory(Record):
    """The peak memory of one call beyond the memory in use before it, in bytes; None: not measured."""

    ours: float | None
    rival: float | None


class Note(Record):
    """Why a goal is not met."""

    tried: str
    in_the_way: str


class FigureRecord(Record):
    """One measured figure.

    Attributes:
        measured: the measurements of all rounds, in the unit of the goal ("faster" if there is no goal).
        best: the same from the shortest time of each side.
        ours_seconds: the times of ours, over all rounds.
        rival_seconds: the times of the rival, over all rounds.
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
    """Figures that share a goal, and a note that explains why it is not met, if so."""

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
    """Cost ~ x^exponent by least squares on logarithms, with Student's 95 % interval, which is None for two points."""

    exponent: float
    interval: tuple[float, float] | None
    first: float
    last: float
    points: int


class CostCurveRecord(Record):
    """One line of a picture: seconds at every x, and their fit; or the reason why it is missing."""

    label: str
    reason: str = ""
    xs: list[float] = Field(default_factory=list)
    seconds: list[Spread] = Field(default_factory=list)
    fit: PowerLawFit | None = None


class CostPictureRecord(Record):
    """A picture of how cost grows with one quantity."""

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
    interrupted: bool = False
    environment: dict[str, Any]
    families: list[FamilyRecord]
    pictures: list[CostPictureRecord]

    def brief(self) -> Brief:
        """The families of figures, and the number of figures in each."""
        title = f"kernelproof bench: {'a quick run' if self.quick else 'a whole run'} of {self.seconds:.0f} s"
        counts = [(each.title, sum(len(claim.figures) for claim in each.claims)) for each in self.families]
        return Brief(title, ("family", "figures"), [(name, str(count)) for name, count in counts])
