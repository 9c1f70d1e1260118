"""What a family of figures declares: claims with a goal, figures under them, pictures of how cost grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kernelproof.reference.errors import KernelproofError
from kernelproof.verify.bench.bench_record import Agreement, Goal

Call = Callable[[], Any]


class Missing(KernelproofError):
    """What a figure measures is not here; the message says what, and where there is one, the line that installs it."""


@dataclass(frozen=True)
class Sizes:
    """How large inputs are.

    Attributes:
        quick: a sixteenth of the rows and an eighth of the tokens: to try the benchmarks, not to judge by them.
    """

    quick: bool = False

    def rows(self, count: int) -> int:
        """As many rows of a matrix."""
        return max(1, count // 16) if self.quick else count

    def tokens(self, count: int) -> int:
        """As many tokens of a sequence."""
        return max(1, count // 8) if self.quick else count


@dataclass(frozen=True)
class Contest:
    """A figure made ready, in the process that measures it.

    Attributes:
        ours: a call; what it returns is what `check` gets.
        rival: the same.
        check: holds both outputs against the truth.
        ours_work: elements that one call of ours gives.
        rival_work: elements that one call of the rival gives; the two are compared by element.
        done: called at the end, to put right what was changed.
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
        id: unique in its family; the family's id, a slash and this name it.
        setting: what it is measured at, for tables.
        ours: what is measured.
        rival: what it is held against.
        prepare: makes it ready; raises `Missing` where it cannot be measured.
        memory: also measure the most memory that a call of each needs, in processes of their own.
        guarded: seconds and bytes that a first call of ours may take, in a process of its own; None: it is trusted.
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
        title: what is claimed, without the number.
        goal: None: it is only shown.
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
        label: of the line.
        prepare: x -> the call to time; raises `Missing`.
    """

    label: str
    prepare: Callable[[float, Sizes], Call]


@dataclass(frozen=True)
class CostPicture:
    """How cost grows with x.

    Attributes:
        id: unique in its family.
        title: of the picture.
        x: what grows.
        xs: its values, ascending.
        curves: the lines.
        fit_from: x from which on the exponent is fitted: below it the cost of a call hides that of the work.
        caption: what else to know.
        done: called at the end, to put right what was changed.
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
    """What a module of `kernelproof.verify.bench.figures` holds as FAMILY.

    Attributes:
        id: of its module.
        title: of its section.
        claims: in their order.
        pictures: in their order.
        rank: families are shown by rank, then by id.
    """

    id: str
    title: str
    claims: tuple[FigureGroup, ...] = ()
    pictures: tuple[CostPicture, ...] = field(default=())
    rank: int = 0
