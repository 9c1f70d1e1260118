"""The declaration of a family of figures: groups of figures with a goal, and pictures of how cost grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kernelproof.reference.errors import KernelproofError
from kernelproof.verify.bench.bench_record import Agreement, Goal

Call = Callable[[], Any]


class Missing(KernelproofError):
    """Something that a figure needs is missing; the message says what, and if possible how to install it."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of inputs.

    Attributes:
        quick: use a sixteenth of the rows and an eighth of the tokens: to try the benchmarks, not to judge by them.
    """

    quick: bool = False

    def rows(self, count: int) -> int:
        """The number of rows of a matrix that has `count` in a full run."""
        return max(1, count // 16) if self.quick else count

    def tokens(self, count: int) -> int:
        """The number of tokens of a sequence that has `count` in a full run."""
        return max(1, count // 8) if self.quick else count


@dataclass(frozen=True)
class Contest:
    """The prepared calls of a figure, in the process that measures it.

    Attributes:
        ours: our call; its result is the first argument of `check`.
        rival: the rival's call; its result is the second argument of `check`.
        check: compares both outputs with the truth.
        ours_work: elements that one call of ours computes.
        rival_work: elements that one call of the rival computes; times are compared per element.
        done: called at the end, to undo changes.
    """

    ours: Call
    rival: Call
    check: Callable[[Any, Any], Agreement]
    ours_work: float = 1.0
    rival_work: float = 1.0
    done: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Figure:
    """One measurement.

    Attributes:
        id: unique in its group; names start with the ids of family and group, separated by slashes.
        setting: the conditions of the measurement, for tables.
        ours: the name of what is measured.
        rival: the name of what it is compared with.
        prepare: prepares the calls; raises `Missing` if the figure cannot be measured.
        memory: also measure the peak memory of a call of each side, in separate processes.
        guarded: limits, in seconds and bytes, of a first call of ours in a separate process; None: the limits of
            `runner.TRUSTED`.
    """

    id: str
    setting: Mapping[str, str]
    ours: str
    rival: str
    prepare: Callable[[Sizes], Contest]
    memory: bool = False
    guarded: tuple[float, int] | None = None


@dataclass(frozen=True)
class FigureGroup:
    """Figures that share a goal: one row of the short table.

    Attributes:
        id: unique in its family; the key of its note.
        title: the claim, without its number.
        goal: the goal of all figures; None: they are only shown.
        figures: at least one.
    """

    id: str
    title: str
    goal: Goal | None
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class CostCurve:
    """One line of a picture.

    Attributes:
        label: the label of the line.
        prepare: x -> the call to time; raises `Missing`.
    """

    label: str
    prepare: Callable[[float, Sizes], Call]


@dataclass(frozen=True)
class CostPicture:
    """A picture of how cost grows with x.

    Attributes:
        id: unique in its family.
        title: the title of the picture.
        x: the name of the quantity that grows.
        xs: its values, ascending.
        curves: the lines.
        fit_from: the least x of the fit of the exponent; below it the cost of a call hides that of the work.
        caption: further information.
        done: called at the end, to undo changes.
    """

    id: str
    title: str
    x: str
    xs: Callable[[Sizes], tuple[float, ...]]
    curves: tuple[CostCurve, ...]
    fit_from: float = 0.0
    caption: str = ""
    done: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class FigureFamily:
    """The object `FAMILY` of a module of `kernelproof.verify.bench.figures`.

    Attributes:
        id: the name of its module.
        title: the title of its section.
        claims: groups of figures, in the order to show them.
        pictures: pictures, in the order to show them.
        rank: families are shown by rank, then by id.
    """

    id: str
    title: str
    claims: tuple[FigureGroup, ...] = ()
    pictures: tuple[CostPicture, ...] = field(default=())
    rank: int = 0
