"""Covering arrays: few rows in which every pair, or every triple, of levels that can occur together does occur.

The construction is greedy: each row starts from a combination that is not covered yet and takes, axis by axis, the
level that covers most. It backtracks where an exclusion forbids a level, so a combination that no row can hold is
proved to be one, and the number of combinations that can occur is exact. A library would give rows alone: that number,
and rows that do not change with the version of a library, have to be made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np

from kernelproof.verify.cases.numbers import shuffled

Row = Mapping[str, str]
"""Name of an axis -> its level."""
Combination = frozenset[tuple[str, str]]
"""(axis, level) pairs of different axes."""
TRIES = {2: 8, 3: 1}
"""Rows from which the one that covers most is taken, by strength: more rows make a shorter array and take longer."""


STEPS = 300
"""Steps of the quick search for a row: some three for each level; a row that exists nearly always needs fewer."""


@dataclass(frozen=True)
class Axis:
    """What may vary in an input.

    Attributes:
        name: its name.
        levels: its levels; the first is the plain one.
        weak: levels that hide faults of other kinds, such as one visible key, which has weight 1 whatever the scores
            are: a row with such levels covers only the combinations that contain all of them.
    """

    name: str
    levels: tuple[str, ...]
    weak: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Exclusion:
    """Levels that do not occur together: on each of these axes one of the levels named.

    Attributes:
        levels: name of an axis -> its levels.
        reason: why they do not occur together.
    """

    levels: Mapping[str, tuple[str, ...]]
    reason: str

    def holds(self, row: Row) -> bool:
        """Whether `row`, which may lack axes, has the excluded levels."""
        for axis, levels in self.levels.items():  # noqa: SIM110 (asked millions of times; `all` takes three times as long)
            if row.get(axis) not in levels:
                return False
        return True


@dataclass(frozen=True)
class Space:
    """All rows: one level of each axis, without those that are excluded.

    Attributes:
        axes: the axes.
        exclusions: which levels do not occur together.
        judged: the axes by which `allows` judges.
        allows: whether these levels of the axes `judged` can occur together.
    """

    axes: tuple[Axis, ...]
    exclusions: tuple[Exclusion, ...] = ()
    judged: tuple[str, ...] = ()
    allows: Callable[[Row], bool] = field(default=lambda _: True)

    def holds(self, row: Row) -> bool:
        """Whether `row` is one of this space."""
        known = {axis.name: axis.levels for axis in self.axes}
        whole = row.keys() == known.keys() and all(level in known[axis] for axis, level in row.items())
        return whole and self.fits(row)

    @cached_property
    def exclusions_of(self) -> Mapping[str, tuple[Exclusion, ...]]:
        """Name of an axis -> the exclusions that name it."""
        return {axis.name: tuple(each for each in self.exclusions if axis.name in each.levels) for axis in self.axes}

    def fits(self, row: Row, new: str | None = None) -> bool:
        """Whether no exclusion forbids `row`, which may lack axes.

        Args:
            row: the levels.
            new: an axis without which `row` is known to fit; None: nothing is known.
        """
        for each in self.exclusions if new is None else self.exclusions_of[new]:
            if each.holds(row):
                return False
        if new is not None and new not in self.judged:
            return True
        return not all(name in row for name in self.judged) or self.allows({name: row[name] for name in self.judged})

    def covered(self, row: Row, strength: int) -> Iterator[Combination]:
        """Yield the combinations of `strength` levels that `row` covers."""
        weak = {(axis.name, row[axis.name]) for axis in self.axes if row[axis.name] in axis.weak}
        for each in combinations(sorted(row.items()), strength):
            if weak <= set(each):
                yield frozenset(each)

    def combinations(self, strength: int) -> Iterator[Combination]:
        """Yield all combinations of `strength` levels, those that cannot occur included."""
        for axes in combinations(self.axes, strength):
            stack: list[tuple[tuple[str, str], ...]] = [()]
            for axis in axes:
                stack = [(*held, (axis.name, level)) for held in stack for level in axis.levels]
            yield from map(frozenset, stack)


@dataclass(frozen=True)
class Covering:
    """A covering array.

    Attributes:
        rows: the rows; the first ones cover most.
        possible: the combinations that can occur, all of which the rows cover, unless their number was limited.
    """

    rows: tuple[Row, ...]
    possible: frozenset[Combination]


def cover(space: Space, strength: int, seed: int = 0, start: Iterable[Row] = ()) -> Covering:
    """Find rows of `space` that cover every combination of `strength` levels that can occur.

    Args:
        space: the axes and exclusions.
        strength: 2 for pairs, 3 for triples.
        seed: decides between levels that cover equally many.
        start: rows that are there already; they are not repeated in the result.

    >>> space = Space((Axis("a", ("0", "1")), Axis("b", ("0", "1")), Axis("c", ("0", "1"))))
    >>> found = cover(space, 2)
    >>> len(found.possible), 4 <= len(found.rows) <= 5
    (12, True)
    """
    generator = np.random.Generator(np.random.Philox(key=seed))
    everything = list(space.combinations(strength))
    order = [everything[at] for at in shuffled(generator, len(everything))]
    search = _Search(space, strength, generator, dict.fromkeys(order))
    for held in start:
        if space.holds(held):
            search.cover(held)
    impossible: set[Combination] = set()
    rows: list[Row] = []
    while search.open:
        found: list[Row] = []
        for first in list(search.open)[: TRIES[strength]]:
            row = search.row(first)
            if row is None:
                impossible.add(first)
                del search.open[first]
            else:
                found.append(row)
        if found:
            best = max(found, key=search.gain)
            search.cover(best)
            rows.append(best)
    return Covering(tuple(rows), frozenset(everything) - impossible)


class _TooLongError(Exception):
    """A search took more than its steps."""


class _Search:
    """The search for rows, with the combinations that are not covered yet in `open`."""

    def __init__(
        self, space: Space, strength: int, generator: np.random.Generator, wanted: dict[Combination, None]
    ) -> None:
        self.space, self.strength, self.generator, self.open = space, strength, generator, wanted
        self.weak = {(axis.name, level) for axis in space.axes for level in axis.weak}

    def gain(self, row: Row) -> int:
        """How many open combinations `row` covers."""
        return sum(each in self.open for each in self.space.covered(row, self.strength))

    def cover(self, row: Row) -> None:
        """Close the combinations that `row` covers."""
        for each in self.space.covered(row, self.strength):
            self.open.pop(each, None)

    def row(self, first: Combination) -> Row | None:
        """A row that covers `first`; None if no row of the space does."""
        held = dict(first)
        if not self.space.fits(held):
            return None
        free = [axis for axis in self.space.axes if axis.name not in held]
        order = [free[at] for at in shuffled(self.generator, len(free))]
        # The axes that a function judges come first: it can only say no once it knows all of them.
        order.sort(key=lambda axis: axis.name not in self.space.judged)
        weak = {each for each in first if each in self.weak}
        try:
            return self._filled(dict(held), order, weak, [STEPS])
        except _TooLongError:
            return self._proved(held, order, weak)

    def _filled(
        self, held: dict[str, str], order: list[Axis], weak: set[tuple[str, str]], left: list[int]
    ) -> Row | None:
        """`held` with a level for each axis of `order`, no weak level among them; None if there is no such row.

        Raises:
            _TooLongError: the steps that are `left` did not suffice.
        """
        if not order:
            return dict(held)
        axis, rest = order[0], order[1:]
        for level in self._levels(axis, held, weak):
            left[0] -= 1
            if left[0] < 0:
                raise _TooLongError
            held[axis.name] = level
            if self.space.fits(held, axis.name) and (found := self._filled(held, rest, weak, left)) is not None:
                return found
        held.pop(axis.name, None)
        return None

    def _proved(self, held: dict[str, str], free: list[Axis], weak: set[tuple[str, str]]) -> Row | None:
        """The same without a limit: the axis with the fewest levels left is next, so that a conflict shows at once."""
        if not free:
            return dict(held)
        domains = {
            axis: [
                level
                for level in self._levels(axis, held, weak)
                if self.space.fits({**held, axis.name: level}, axis.name)
            ]
            for axis in free
        }
        axis = min(
            free, key=lambda each: (bool(domains[each]) and each.name not in self.space.judged, len(domains[each]))
        )
        rest = [each for each in free if each is not axis]
        tried = ((self._proved({**held, axis.name: level}, rest, weak)) for level in domains[axis])
        return next((found for found in tried if found is not None), None)

    def _levels(self, axis: Axis, held: dict[str, str], weak: set[tuple[str, str]]) -> list[str]:
        """The levels of `axis` that are not weak, the one that covers most first."""
        turned = [axis.levels[at] for at in shuffled(self.generator, len(axis.levels))]
        levels = [level for level in turned if level not in axis.weak]
        return sorted(levels, key=lambda level: -self._new((axis.name, level), held, weak))

    def _new(self, level: tuple[str, str], held: dict[str, str], weak: set[tuple[str, str]]) -> int:
        """How many open combinations `level` closes together with the levels of `held`."""
        size = self.strength - 1 - len(weak)
        if size < 0:
            return 0
        others = [each for each in held.items() if each not in weak]
        return sum(frozenset((level, *weak, *each)) in self.open for each in combinations(others, size))
