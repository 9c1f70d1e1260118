"""A search for the worst error at one order and dtype: everything where that is feasible, else a hill climb on bits.

Blocks of rows are measured at once. The rows with the largest errors are kept, in ulp and in κ, and a part of
each block is made of them by small changes: steps of a few ulps, ties, other exponents, bits of the mantissa. The
other part comes from the case families, so that the climb starts from many places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.building import cast, integers, step, uniforms
from kernelproof.verify.case import Case
from kernelproof.verify.discovery import families
from kernelproof.verify.fuzz.answering import Question, RowErrors
from kernelproof.verify.fuzz.arena import Judge
from kernelproof.verify.fuzz.recipes import features, keys_of
from kernelproof.verify.fuzz.records import Extreme, WorstRow
from kernelproof.verify.fuzz.subject import Answer, Subject
from kernelproof.verify.seams import Array, Floats, Inputs
from kernelproof.verify.suites import pointless

BLOCK = 256
"""Rows measured at once."""
ELITE = 16
"""Rows kept of each length, for each kind of error."""
LENGTHS = (2, 3, 4, 2, 8, 3, 16, 33)
"""Lengths of rows, in turn; the worst witness of a short row says most."""
EVERY = 2**16
"""Formats of at most so many numbers are tried without exception: every finite one against 0."""
CHUNK = 4096
"""Rows of an exhaustive block."""
_LEFT_OUT = frozenset({"special", "masks", "tensors", "layouts"})
"""Families whose rows have no finite value at some key, or too many keys for a climb."""


@dataclass
class _Best:
    """The worst row yet in one measure."""

    error: float = -1.0
    row: Floats | None = None
    got: float | None = None
    exact: float | None = None
    message: str = ""

    def shown(self, dtype: str) -> Extreme | None:
        """The record of it."""
        if self.row is None:
            return None
        return Extreme(
            error=self.error,
            scores=[float(value).hex() for value in self.row],
            shown=[str(value) for value in cast(self.row, dtype)],
            got=self.got,
            exact=self.exact,
            message=self.message,
        )


@dataclass
class _Elite:
    rows: list[Floats] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def take(self, rows: Floats, errors: Floats) -> None:
        """Keep the best of what is held and of `rows`."""
        for at in np.argsort(-errors, kind="stable")[:ELITE]:
            if np.isfinite(errors[at]) and errors[at] > 0:
                self.rows.append(rows[at])
                self.errors.append(float(errors[at]))
        order = np.argsort(-np.array(self.errors), kind="stable")[:ELITE]
        self.rows, self.errors = [self.rows[at] for at in order], [self.errors[at] for at in order]


class Climber:
    """The search at one place.

    Args:
        judge: who measures.
        case: op, order, rule and dtype; shape and family are its own.
        seed: of everything drawn.
        over: whether the time is up.
    """

    def __init__(self, judge: Judge, case: Case, seed: int, over: Callable[[], bool]) -> None:
        self.judge, self.case, self.over = judge, replace(case, family="random", feature="1", seed=seed), over
        self.draw = self.case.generator("worst")
        self.rows = 0
        self.note = self.every = ""
        self.ulp, self.kappa = _Best(), _Best()
        self.elites: dict[int, tuple[_Elite, _Elite]] = {}
        names = [
            name for name in families() if name not in _LEFT_OUT and features(name, case.op)[0] and keys_of(name)[0] < 3
        ]
        self.sources = [name for name in names if not pointless(case.op, name, case.order, case.dtype)]

    def run(self, blocks: int | None = None) -> WorstRow:
        """Search until the time or the number of blocks is up."""
        for count, block in enumerate(self._blocks()):
            if (blocks is not None and count >= blocks) or self.over() or self.note:
                break
            self.measure(block)
        return WorstRow(
            op=self.case.op,
            order=self.case.order_label,
            dtype=self.case.dtype,
            rows=self.rows,
            every=self.every,
            ulp=self.ulp.shown(self.case.dtype),
            kappa=self.kappa.shown(self.case.dtype),
            note=self.note,
        )

    def _blocks(self) -> Iterator[Floats]:
        """(R, m) blocks of scores: all of a small format first, then families and changed rows by turns."""
        target = FORMATS[self.case.dtype]
        if target.dtype.itemsize <= 2:
            yield from self._exhaustive(target.dtype)
        turn = 0
        while True:
            size = LENGTHS[turn % len(LENGTHS)]
            held = self.elites.get(size)
            if turn % 4 == 0 or held is None or not (held[0].rows or held[1].rows):
                yield self._family(turn, size)
            else:
                yield self._changed([*held[0].rows, *held[1].rows])
            turn += 1

    def _exhaustive(self, dtype: Any) -> Iterator[Floats]:
        """Every finite number against 0, and a seeded sample of pairs."""
        bits = np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
        values = bits.view(dtype).astype(np.float64)
        values = values[np.isfinite(values)]
        for start in range(0, len(values), CHUNK):
            part = values[start : start + CHUNK]
            yield np.stack([part, np.zeros_like(part)], axis=1)
        self.every = f"every z against 0: {len(values)} rows"
        pick = integers(self.draw, len(values), (CHUNK, 2))
        yield values[pick]

    def _family(self, turn: int, size: int) -> Floats:
        name = self.sources[turn // 4 % len(self.sources)]
        words = features(name, self.case.op)[0]
        feature = words[int(integers(self.draw, len(words), (1,))[0])]
        case = replace(self.case, family=name, feature=feature, shape=(BLOCK, size), seed=turn)
        array = next(iter(case.inputs().arrays.values())).astype(np.float64)
        return np.asarray(array.reshape(-1, size))

    def _changed(self, held: list[Floats]) -> Floats:
        """Rows made of the worst ones by one or two small changes each."""
        pick = integers(self.draw, len(held), (BLOCK,))
        rows = np.array([held[at] for at in pick])
        for _ in range(2):
            rows = self._change(rows)
        return rows

    def _change(self, rows: Floats) -> Floats:
        count, size = rows.shape
        dtype = self.case.dtype
        key = integers(self.draw, size, (count,))
        other = integers(self.draw, size, (count,))
        way = integers(self.draw, 6, (count,))
        place = np.arange(count)
        old = rows[place, key]
        near = np.array(
            [step(np.array([value]), int(by), dtype)[0] for value, by in zip(old, self._ulps(count), strict=True)]
        )
        with np.errstate(over="ignore", invalid="ignore"):
            candidates = np.stack(
                [
                    near,
                    near,
                    rows[place, other],
                    old * 2.0 ** (integers(self.draw, 5, (count,)) - 2),
                    old + (uniforms(self.draw, (count,)) - 0.5) * np.abs(rows).max(axis=1),
                    np.zeros(count),
                ]
            )
        changed = rows.copy()
        changed[place, key] = cast(candidates[way, place], dtype).astype(np.float64)
        return np.where(np.isfinite(changed), changed, rows)

    def _ulps(self, count: int) -> Array:
        """Steps of ±2^k ulps, small ones more often."""
        size = 2 ** integers(self.draw, min(FORMATS[self.case.dtype].precision, 12), (count,))
        return np.asarray(np.where(integers(self.draw, 2, (count,)) == 1, size, -size))

    def measure(self, rows: Floats) -> None:
        """The errors of a block; keep what is worst."""
        errors = self.judge.ask(Question(self._subject(rows), wants="errors"))
        if not isinstance(errors, RowErrors):
            self.note = str(errors)
            return
        self.rows += len(rows)
        size = rows.shape[1]
        held = self.elites.setdefault(size, (_Elite(), _Elite()))
        held[0].take(rows, errors.ulp)
        held[1].take(rows, errors.kappa)
        at = int(np.argmax(errors.ulp))
        if errors.ulp[at] > self.ulp.error:
            self.ulp = _Best(float(errors.ulp[at]), rows[at], float(errors.got[at]), float(errors.exact[at]))
        for place in np.argsort(-errors.kappa, kind="stable")[:2]:
            if errors.kappa[place] > self.kappa.error:
                self._decide(rows[place])

    def _decide(self, row: Floats) -> None:
        """κ of one row as the check of accuracy has it: near a kink first order says too much."""
        answer: Answer = self.judge.ask(Question(self._subject(row[None]), frozenset({"accuracy"})))
        failure = answer.failures.get("accuracy")
        kappa = answer.kappa if failure is None or failure.kappa is None else max(answer.kappa, failure.kappa)
        if answer.decided and (kappa > self.kappa.error or math.isnan(kappa)):
            self.kappa = _Best(kappa, row, message="" if failure is None else failure.message)

    def _subject(self, rows: Floats) -> Subject:
        name = "z" if self.case.op == "entmax" else "scores"
        return Subject(replace(self.case, shape=rows.shape), Inputs({name: cast(rows, self.case.dtype)}))
