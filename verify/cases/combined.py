"""The combinations of levels that a target can be asked for, the cases that cover them, and how many a run covered.

Targets refuse levels: options that they have no parameter for, dtypes, shapes. What a target refuses can not occur for
it, so it is out of the count, with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.axes import (
    ADDITIVE,
    AXES,
    BOOLEAN,
    EXCLUSIONS,
    OPTIONS,
    PAIRS,
    SIZES,
    levels_of,
    words_of,
)
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.covering import Axis, Combination, Covering, Exclusion, Row, Space, cover
from kernelproof.verify.cases.sizes import Shape, differentiable, shape_of

_KINDS = {"boolean": BOOLEAN, "additive": ADDITIVE}


class Fits(Protocol):
    """Whether a target takes the shape of a case; equal targets have equal ones."""

    def __call__(self, op: str, shape: Shape) -> bool:
        """Whether it takes `shape`."""

    def __hash__(self) -> int:
        """Plans are remembered by what a target takes."""

    def bars(self, op: str) -> frozenset[tuple[str, str]]:
        """(axis, level) that no shape has which it takes; others may only be impossible together."""


@dataclass(frozen=True)
class AnyShape:
    """Every shape fits."""

    def __call__(self, op: str, shape: Shape) -> bool:
        """Return True."""
        return True

    def bars(self, op: str) -> frozenset[tuple[str, str]]:
        """Return nothing."""
        return frozenset()


@dataclass(frozen=True)
class Taken:
    """What a target takes of the axes; by default everything.

    Attributes:
        dtypes: names of dtypes.
        options: the options of attention; None means all.
        requires: the options that every call has.
        masks: the kinds of masks, boolean and additive; empty means both.
        exclusive: options of which a call has at most one.
        fits: which shapes it takes.
        gradients: whether it gives any.
    """

    dtypes: tuple[str, ...] = tuple(FORMATS)
    options: tuple[str, ...] | None = None
    requires: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    exclusive: tuple[str, ...] = ()
    fits: Fits = AnyShape()
    gradients: bool = True


EVERYTHING = Taken()
SLOW = "combinations whose sizes would need much time for the truth of gradients"


def space_of(op: str, taken: Taken = EVERYTHING, *, gradients: bool = False) -> tuple[Space, tuple[str, ...]]:
    """The combinations of levels of `op` that can occur for a target, and why levels of `op` are not among them.

    Args:
        op: the op.
        taken: what the target takes.
        gradients: whether only cases with gradients count.
    """
    barred = _barred(op, taken)
    if gradients:
        barred = dict.fromkeys((("keys", "keys≤4096"), ("keys", "keys>4096")), "no gradients of so many keys") | barred
    axes = tuple(
        replace(axis, levels=tuple(level for level in axis.levels if (axis.name, level) not in barred))
        for axis in AXES[op]
    )
    exclusions = [*EXCLUSIONS[op]]
    if op == "attention":
        exclusions += _exclusive(taken)
    reasons: dict[str, list[str]] = {}
    for (_, level), reason in barred.items():
        reasons.setdefault(reason, []).append(level)
    said = [f"{', '.join(levels)}: {reason}" for reason, levels in reasons.items()]
    said += [each.reason for each in exclusions[len(EXCLUSIONS[op]) :]]
    if taken.fits == AnyShape() and not gradients:
        return Space(axes, tuple(exclusions)), tuple(said)

    @cache
    def fits(levels: tuple[tuple[str, str], ...]) -> bool:
        return _shape(op, dict(levels), taken, gradients=gradients) is not None

    def allows(row: Row) -> bool:
        return fits(tuple(sorted(row.items())))

    if taken.fits != AnyShape():
        said.append("shapes that the target does not take")
    if gradients:
        said.append(SLOW)
    return Space(axes, tuple(exclusions), SIZES[op], allows), tuple(said)


def _barred(op: str, taken: Taken) -> dict[tuple[str, str], str]:
    """(axis, level) -> why a target is never called with this level."""
    found = {
        ("dtype", dtype): "the run and the target do not both take the dtype"
        for dtype in FORMATS
        if dtype not in taken.dtypes
    }
    found |= dict.fromkeys(taken.fits.bars(op), "the target does not take the shape")
    if op != "attention":
        return found
    for option, levels in OPTIONS.items():
        if taken.options is not None and option not in taken.options:
            found |= dict.fromkeys(((option, level) for level in levels), f"the target has no parameter for {option}")
        elif option in taken.requires:
            plain = next(axis.levels[0] for axis in AXES[op] if axis.name == option)
            found[option, plain] = f"the target is called with {option} only"
    for kind, levels in _KINDS.items():
        if taken.masks and kind not in taken.masks:
            found |= {
                ("mask", level): f"the target takes no {kind} masks" for level in levels if ("mask", level) not in found
            }
    return found


def _exclusive(taken: Taken) -> Iterator[Exclusion]:
    for at, one in enumerate(taken.exclusive):
        for other in taken.exclusive[at + 1 :]:
            if one in OPTIONS and other in OPTIONS:
                reason = f"the target does not take {one} and {other} together"
                yield Exclusion({one: OPTIONS[one], other: OPTIONS[other]}, reason)


def _empty(axes: Iterable[Axis]) -> bool:
    return any(not axis.levels for axis in axes)


def _shape(op: str, sizes: Row, taken: Taken, *, gradients: bool) -> Shape | None:
    def allows(shape: Shape) -> bool:
        return (not gradients or differentiable(op, shape)) and taken.fits(op, shape)

    return shape_of(op, sizes, allows)


@cache
def covering(
    op: str, taken: Taken, strength: int, seed: int = 0, start: tuple[Case, ...] = (), *, gradients: bool = False
) -> Covering:
    """Rows that cover every combination of `strength` levels that can occur; the cases `start` are there already.

    Args:
        op: the op.
        taken: what the target takes.
        strength: 2 for pairs, 3 for triples.
        seed: decides between rows that cover equally many.
        start: other cases of the run.
        gradients: whether every case must have gradients.
    """
    space, _ = space_of(op, taken, gradients=gradients)
    if _empty(space.axes):
        return Covering((), frozenset())
    there = (case for case in start if case.op == op and (not gradients or differentiable(op, case.shape)))
    held = (levels_of(case) for case in there)
    return cover(space, strength, seed, (row for row in held if row is not None))


def case_with(row: Row, place: Case, taken: Taken = EVERYTHING, *, gradients: bool = False) -> Case:
    """The case with the levels of `row`, at the order, the rule and the seed of `place`."""
    sizes = {name: row[name] for name in SIZES[place.op]}
    shape = _shape(place.op, sizes, taken, gradients=gradients)
    assert shape is not None  # the space of `taken` has only rows with a shape that fits
    return replace(place, dtype=row["dtype"], family=PAIRS, shape=shape, feature=words_of(place.op, row))


@dataclass(frozen=True)
class Count:
    """How many combinations a run covered.

    Attributes:
        covered: those that occur in a case that was tried.
        possible: those that can occur for the target.
        missing: levels that occur together in no case, such as ``causal with scale``, a few of them.
        left_out: levels that the target refuses, with the reason.
    """

    covered: int
    possible: int
    missing: tuple[str, ...]
    left_out: tuple[str, ...]


SHOWN = 8
"""Missing combinations that are named."""


def counted(op: str, taken: Taken, tried: Iterable[Case], strength: int = 2, *, gradients: bool = False) -> Count:
    """Count the combinations of `op` that the cases `tried` cover, of those that can occur for a target."""
    space, left_out = space_of(op, taken, gradients=gradients)
    possible = covering(op, taken, strength, gradients=gradients).possible
    covered: set[Combination] = set()
    for case in tried:
        row = levels_of(case) if case.op == op else None
        if row is not None and space.holds(row):
            covered.update(space.covered(row, strength))
    covered &= possible
    names: Mapping[str, int] = {axis.name: at for at, axis in enumerate(space.axes)}
    missing = sorted(
        (sorted(each, key=lambda pair: names[pair[0]]) for each in possible - covered),
        key=lambda pairs: [(names[axis], level) for axis, level in pairs],
    )
    step = max(1, len(missing) // SHOWN)
    told = tuple(" with ".join(level for _, level in pairs) for pairs in missing[::step][:SHOWN])
    return Count(len(covered), len(possible), told, left_out)
