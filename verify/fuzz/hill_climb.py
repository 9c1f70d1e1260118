"""Search for the worst error at one op, order, rule and dtype: exhaustive if feasible, otherwise a hill climb on bits.

Witnesses are measured in blocks; each is a row of all its numbers, see `kernelproof.verify.fuzz.forms`. The rows with
the largest errors, in ulp and in κ, are kept. Some blocks are derived from these by small changes: steps of a few
ulps, ties, other exponents, bits of the mantissa. The other blocks come from the case families, so that the climb
starts from many points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.coverage import pointless
from kernelproof.verify.cases.families import families, keys_of
from kernelproof.verify.cases.numbers import cast, integers, step, uniforms, words
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.fuzz.answers import OPEN, Question, RowErrors
from kernelproof.verify.fuzz.arena import Judge
from kernelproof.verify.fuzz.forms import Form, Options, forms_of, kept_options
from kernelproof.verify.fuzz.recipes import features
from kernelproof.verify.fuzz.subject import Answer
from kernelproof.verify.fuzz.worst_case_record import ExactArray, Extreme, WorstCaseRow
from kernelproof.verify.records import ACCURACY, Array, Floats, Inputs

ELITE = 16
"""Rows to keep for each form and each measure of error."""
_LEFT_OUT = frozenset({"special", "masks", "tensors", "layouts"})
"""Families whose rows are not finite at every key, or have too many keys for a climb."""
Block = tuple[Form, Options, Floats]
"""A form, the options of the call, and (R, L) rows."""


@dataclass
class _Best:
    """The worst row so far in one measure of error."""

    error: float = OPEN
    inputs: Inputs | None = None
    got: float | None = None
    exact: float | None = None
    message: str = ""

    def shown(self) -> Extreme | None:
        """The record of the row; None if there is no row yet."""
        if self.inputs is None:
            return None
        return Extreme(
            error=self.error,
            inputs={name: ExactArray.of(array) for name, array in self.inputs.arrays.items()},
            # A mask is an array, which JSON represents as lists.
            options={
                name: value.tolist() if hasattr(value, "dtype") else value
                for name, value in self.inputs.options.items()
            },
            got=self.got,
            exact=self.exact,
            message=self.message,
        )


@dataclass
class _Elite:
    rows: list[Floats] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def take(self, rows: Floats, errors: Floats) -> None:
        """Keep the `ELITE` rows with the largest errors among those held and `rows`."""
        for at in np.argsort(-errors, kind="stable")[:ELITE]:
            if np.isfinite(errors[at]) and errors[at] > 0:
                self.rows.append(rows[at])
                self.errors.append(float(errors[at]))
        order = np.argsort(-np.array(self.errors), kind="stable")[:ELITE]
        self.rows, self.errors = [self.rows[at] for at in order], [self.errors[at] for at in order]


class Climber:
    """The search at one place; it can be interrupted and continued.

    Args:
        judge: measures the errors.
        case: gives op, order, rule and dtype; the search chooses shape and family.
        seed: seeds everything that is drawn.
    """

    def __init__(self, judge: Judge, case: Case, seed: int) -> None:
        self.judge, self.case = judge, replace(case, family="random", feature="1", seed=seed)
        scope = judge.target.scope(case.op)
        assert scope is not None  # a place names an op that its target has
        self.scope, self.forms = scope, forms_of(case, scope)
        self.draw = self.case.generator("worst")
        self.rows = self.blocks = 0
        self.note = self.every = ""
        self.ulp, self.kappa = _Best(), _Best()
        self.elites: dict[tuple[Form, Options], tuple[_Elite, _Elite]] = {}
        names = [
            name for name in families() if name not in _LEFT_OUT and features(name, case.op)[0] and keys_of(name)[0] < 3
        ]
        self.sources = [name for name in names if not pointless(case.op, name, case.order, case.dtype)]
        dtype, first = FORMATS[case.dtype].dtype, self.forms[0]
        feasible = 2 ** (8 * dtype.itemsize) <= first.feasible and first.keys == 2
        self.values = _finite(self.case.dtype) if feasible else np.empty(0)
        self.source = self._drawn()

    @property
    def due(self) -> int:
        """The least number of blocks of a search: all of a small format and its sample of pairs, otherwise one."""
        return 1 + -(-len(self.values) // self.forms[0].chunk)

    def run(self, over: Callable[[], bool], blocks: int | None = None) -> None:
        """Continue the search until `over` returns True or `blocks` blocks have been measured in all."""
        while not self.note and not over() and (blocks is None or self.blocks < blocks):
            self.measure(*next(self.source))
            self.blocks += 1

    def row(self) -> WorstCaseRow:
        """The line of the tables for this place."""
        nothing = "nothing was tried: the time was up" if not self.rows and not self.note else ""
        return WorstCaseRow(
            op=self.case.op,
            rule="" if self.case.op == "entmax" else self.case.rule,
            order=self.case.order_label,
            dtype=self.case.dtype,
            rows=self.rows,
            every=self.every,
            ulp=self.ulp.shown(),
            kappa=self.kappa.shown(),
            note=self.note or nothing,
        )

    def _drawn(self) -> Iterator[Block]:
        """Yield all of a small format first, then alternate between families and changed rows."""
        if len(self.values):
            yield from self._exhaustive(self.forms[0])
        turn = 0
        while True:
            form = self.forms[turn % len(self.forms)]
            known = [(options, held) for (each, options), held in self.elites.items() if each == form]
            filled = [(options, held) for options, held in known if held[0].rows or held[1].rows]
            if turn % 4 == 0 or not filled:
                yield self._family(turn, form)
            else:
                options, (ulp, kappa) = filled[turn % len(filled)]
                yield form, options, self._changed([*ulp.rows, *kappa.rows], form)
            turn += 1

    def _exhaustive(self, form: Form) -> Iterator[Block]:
        """Yield every finite number against 0, and a seeded sample of pairs."""
        values = self.values
        for start in range(0, len(values), form.chunk):
            part = values[start : start + form.chunk]
            yield form, (), form.pairs(np.stack([part, np.zeros_like(part)], axis=1))
        self.every = f"every {'z' if form.scored else 'k'} against 0: {len(values)} rows"
        pick = integers(self.draw, len(values), (form.chunk, 2))
        yield form, (), form.pairs(values[pick])

    def _family(self, turn: int, form: Form) -> Block:
        name = self.sources[turn // 4 % len(self.sources)]
        choices = features(name, self.case.op)[0]
        feature = choices[int(integers(self.draw, len(choices), (1,))[0])]
        case = replace(self.case, family=name, feature=feature, shape=form.shape(form.block), seed=turn)
        inputs = families()[name].build(case, case.generator())
        return form, kept_options(inputs.options, self.scope), form.rows(inputs.arrays)

    def _changed(self, held: list[Floats], form: Form) -> Floats:
        """Rows derived from the worst ones by one or two small changes each."""
        pick = integers(self.draw, len(held), (form.block,))
        rows = np.array([held[at] for at in pick])
        for _ in range(2):
            rows = self._change(rows, form)
        return rows

    def _change(self, rows: Floats, form: Form) -> Floats:
        """Change one number of each row; if another number takes part in the change, it is of the same array."""
        count, size = rows.shape
        dtype = self.case.dtype
        starts, sizes, arrays = form.spans
        octaves = form.octaves(FORMATS[dtype].precision)
        key = integers(self.draw, size, (count,))
        other = starts[key] + (words(self.draw, count) % sizes[key].astype(np.uint64)).astype(np.int64)
        way = integers(self.draw, 6, (count,))
        place = np.arange(count)
        old = rows[place, key]
        near = np.array(
            [step(np.array([value]), int(by), dtype)[0] for value, by in zip(old, self._ulps(count), strict=True)]
        )
        largest = np.maximum.reduceat(np.abs(rows), np.unique(starts), axis=1)[place, arrays[key]]
        with np.errstate(over="ignore", invalid="ignore"):
            candidates = np.stack(
                [
                    near,
                    near,
                    rows[place, other],
                    old * 2.0 ** (integers(self.draw, 2 * octaves + 1, (count,)) - octaves),
                    old + (uniforms(self.draw, (count,)) - 0.5) * largest,
                    np.zeros(count),
                ]
            )
        changed = rows.copy()
        changed[place, key] = cast(candidates[way, place], dtype).astype(np.float64)
        return np.where(np.isfinite(changed), changed, rows)

    def _ulps(self, count: int) -> Array:
        """Steps of ±2^k ulps; small steps are more frequent."""
        size = 2 ** integers(self.draw, min(FORMATS[self.case.dtype].precision, 12), (count,))
        return np.asarray(np.where(integers(self.draw, 2, (count,)) == 1, size, -size))

    def measure(self, form: Form, options: Options, rows: Floats) -> None:
        """Measure the errors of a block, and keep the worst rows."""
        errors = self.judge.ask(Question(form.subject(self.case, rows, options), wants="errors"))
        if not isinstance(errors, RowErrors):
            self.note = str(errors)
            return
        if errors.raised:
            # The target may raise on empty rows; the others are measured without them.
            rows = rows[~errors.empty.reshape(len(rows), -1).any(axis=1)]
            if len(rows):
                self.measure(form, options, rows)
            return
        self.rows += len(rows)
        # A witness may have several rows of output.
        each = errors.ulp.reshape(len(rows), -1)
        ulp, kappa = each.max(axis=1), errors.kappa.reshape(len(rows), -1).max(axis=1)
        held = self.elites.setdefault((form, options), (_Elite(), _Elite()))
        held[0].take(rows, ulp)
        held[1].take(rows, kappa)
        at = int(np.argmax(ulp))
        if ulp[at] > self.ulp.error:
            flat = at * each.shape[1] + int(each[at].argmax())
            inputs = form.subject(self.case, rows[at : at + 1], options).inputs
            self.ulp = _Best(float(ulp[at]), inputs, float(errors.got[flat]), float(errors.exact[flat]))
        for place in np.argsort(-kappa, kind="stable")[:2]:
            if kappa[place] > self.kappa.error:
                self._decide(form.subject(self.case, rows[place : place + 1], options))

    def _decide(self, subject: Subject) -> None:
        """Compute κ of one witness as the accuracy check does, because the first-order κ is too large near a kink."""
        answer: Answer = self.judge.ask(Question(subject, frozenset({ACCURACY})))
        failure = answer.failures.get(ACCURACY)
        kappa = answer.kappa if failure is None or failure.kappa is None else max(answer.kappa, failure.kappa)
        if answer.decided and (kappa > self.kappa.error or math.isnan(kappa)):
            self.kappa = _Best(kappa, subject.inputs, message="" if failure is None else failure.message)


@cache
def _finite(name: str) -> Floats:
    """Every finite number of a format."""
    dtype = FORMATS[name].dtype
    bits = np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
    with np.errstate(invalid="ignore"):
        # Some of the bit patterns are signalling NaN.
        values: Floats = bits.view(dtype).astype(np.float64)
    return values[np.isfinite(values)]
