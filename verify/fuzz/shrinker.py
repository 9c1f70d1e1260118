"""A delta debugger: find the smallest arrays with the simplest numbers on which the same check still fails.

Each candidate is judged against its own truth, and is kept only if the same check fails again. Steps that save the
most come first: rows and keys, then the order and the rule, the cotangent, and finally single numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from kernelproof.reference.errors import DomainError
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.numbers import cast
from kernelproof.verify.cases.subject import Subject, explicit
from kernelproof.verify.fuzz.answers import Question
from kernelproof.verify.fuzz.arena import Judge
from kernelproof.verify.fuzz.cuts import chunks, cut, flattened, letters, shares
from kernelproof.verify.fuzz.subject import complexity, floats, kind, size_of
from kernelproof.verify.records import CRASH, Array, Failure, Inputs

SIMPLE_ORDERS = ("1", "2", "inf", "3", "1/2")
"""Orders to try instead of the one that failed, the simplest first."""
SIMPLE_RULES = ("adaptive:1", "fixed:1", "fixed:2", "fixed:3", "anchored:1", "nearest:1:adaptive:1")
ROUNDS = 8
"""The most passes over all steps; a pass that changes nothing is the last."""
WHOLE = 4096
"""In arrays of more numbers, numbers are simplified all together and not one by one."""


@dataclass(frozen=True)
class Shrunk:
    """The result of shrinking.

    Attributes:
        subject: the smallest subject on which the check fails.
        failure: the failure there.
        tried: how many subjects were judged.
        complete: False if the budget ended the search.
    """

    subject: Subject
    failure: Failure
    tried: int
    complete: bool


class _Spent(Exception):
    """The budget is spent."""


class Shrinker:
    """Shrinks the witness of one check on one target.

    Args:
        judge: judges the candidates.
        check: the check that fails.
        most: the most subjects to judge.
        seconds: seconds that the calls of one subject may take; None: the limit of the judge.
        within: whether a witness may have the op, order, rule and dtype of this case.
    """

    def __init__(
        self,
        judge: Judge,
        check: str,
        *,
        most: int = 400,
        seconds: float | None = None,
        within: Callable[[Case], bool] = lambda _: True,
    ) -> None:
        self.judge, self.check, self.most, self.seconds = judge, check, most, seconds
        self.within = within
        self.tried = 0
        self.kind = ""
        self.seen: set[tuple[object, ...]] = set()
        self.steps = (_parts, _options, _model, _cotangents, _numbers)

    def fails(self, subject: Subject) -> Failure | None:
        """The failure of the check on `subject`; None if it passes, decides nothing or does not apply."""
        if self.tried >= self.most:
            raise _Spent
        scope = self.judge.target.scope(subject.case.op)
        if scope is None or scope.refuses_made(subject.case, subject.inputs) is not None:
            return None
        if not self.within(subject.case):
            return None
        self.tried += 1
        only = None if self.check == CRASH else frozenset({self.check})
        answer = self.judge.ask(Question(subject, only), seconds=self.seconds)
        failure: Failure | None = answer.failures.get(self.check)
        # An exception and a wrong number are different faults, although the same check finds both.
        return failure if failure is None or not self.kind or kind(failure) == self.kind else None

    def shrink(self, subject: Subject, failure: Failure) -> Shrunk:
        """Shrink `subject`, on which the check failed with `failure`."""
        self.kind = kind(failure) if kind(failure) != "not finite" else ""
        try:
            return self._shrunk(subject, failure)
        except _Spent:
            return Shrunk(subject, failure, self.tried, complete=False)

    def _shrunk(self, subject: Subject, failure: Failure) -> Shrunk:
        written = explicit(subject)
        again = self.fails(written)
        if again is None:
            # The failure depends on the layout, the sampled rows or the history of the process: keep the recipe.
            return Shrunk(subject, failure, self.tried, complete=False)
        best = (written, again)
        try:
            for _ in range(ROUNDS):
                before = size_of(best[0])
                for step in self.steps:
                    best = self._descend(best, step)
                if size_of(best[0]) == before:
                    return Shrunk(best[0], best[1], self.tried, complete=True)
        except _Spent:
            best = getattr(self, "best", best)
            return Shrunk(best[0], best[1], self.tried, complete=False)
        return Shrunk(best[0], best[1], self.tried, complete=False)

    def _descend(
        self,
        best: tuple[Subject, Failure],
        step: Callable[[Subject, Failure], Iterator[Subject]],
    ) -> tuple[Subject, Failure]:
        """Replace the subject by the first candidate that still fails, until no candidate fails."""
        self.best = best
        going = True
        while going:
            going = False
            for candidate in step(*self.best):
                name = _fingerprint(candidate)
                if name in self.seen:
                    continue
                self.seen.add(name)
                failure = self.fails(candidate)
                if failure is not None:
                    self.best, going = (candidate, failure), True
                    break
        return self.best


def _fingerprint(subject: Subject) -> tuple[object, ...]:
    assert subject.inputs is not None  # every candidate is explicit
    inputs = subject.inputs
    held = [*inputs.arrays.items(), ("cotangent", inputs.cotangent), *inputs.options.items()]
    bits = tuple((name, np.shape(v), v.tobytes() if hasattr(v, "tobytes") else repr(v)) for name, v in held)
    return (subject.case.op, subject.case.order_label, subject.case.rule, bits)


def _parts(subject: Subject, failure: Failure) -> Iterator[Subject]:
    """Try fewer rows, keys, heads and widths; first, only the row that failed."""
    names, shape = letters(subject), subject.case.shape
    rows = tuple(at for at, name in enumerate(names) if name.startswith("b") or name in "HT")
    if failure.index and subject.case.op in {"entmax", "weights"} and len(shape) > 1:
        place = np.unravel_index(min(failure.index[0], math.prod(shape[:-1]) - 1), shape[:-1])
        single = subject
        for axis, at in enumerate(place):
            single = cut(single, names[axis], [int(at)])
        if single.case.shape != shape:
            yield single
    if (flat := flattened(subject)) is not None:
        yield flat
    for axis in sorted(range(len(names)), key=lambda axis: axis not in rows):
        if names[axis] != "G":
            yield from (cut(subject, names[axis], kept) for kept in chunks(shape[axis]) if shares(subject, axis, kept))


def _options(subject: Subject, failure: Failure) -> Iterator[Subject]:
    """Leave out one keyword at a time."""
    assert subject.inputs is not None  # every candidate is explicit
    for name in subject.inputs.options:
        rest = {key: value for key, value in subject.inputs.options.items() if key != name}
        yield replace(subject, inputs=replace(subject.inputs, options=rest))


def _model(subject: Subject, failure: Failure) -> Iterator[Subject]:
    """Try simpler orders and rules."""
    case = subject.case
    orders = SIMPLE_ORDERS[: SIMPLE_ORDERS.index(case.order)] if case.order in SIMPLE_ORDERS else SIMPLE_ORDERS
    rules = SIMPLE_RULES[: SIMPLE_RULES.index(case.rule)] if case.rule in SIMPLE_RULES else SIMPLE_RULES
    for order in orders:
        try:
            yield replace(subject, case=replace(case, order=order, alpha=None))
        except DomainError:  # this order is not allowed with this rule
            continue
    for rule in rules if case.op != "entmax" else ():
        try:
            yield replace(subject, case=replace(case, rule=rule))
        except DomainError:  # as above
            continue


def _cotangents(subject: Subject, failure: Failure) -> Iterator[Subject]:
    """Try no cotangent, all ones, and then a single one."""
    assert subject.inputs is not None  # every candidate is explicit
    upstream = subject.inputs.cotangent
    if upstream is None:
        return
    yield _with(subject, "cotangent", None)
    yield _with(subject, "cotangent", np.ones_like(upstream))
    if np.count_nonzero(floats(upstream)) > 1 and upstream.size <= 64:
        for at in range(upstream.size):
            single = np.zeros_like(upstream)
            single.reshape(-1)[at] = 1
            yield _with(subject, "cotangent", single)


def _numbers(subject: Subject, failure: Failure) -> Iterator[Subject]:
    """Try simpler numbers: those of an array all at once, then one by one."""
    assert subject.inputs is not None  # every candidate is explicit
    held = {**subject.inputs.arrays}
    if subject.inputs.cotangent is not None:
        held["cotangent"] = subject.inputs.cotangent
    for name, array in held.items():
        values = floats(array)
        for simpler in _together(values):
            simple = cast(simpler, subject.case.dtype)
            if _bits(floats(simple)) < _bits(values):
                yield _with(subject, name, simple)
    for name, array in held.items():
        if array.size > WHOLE:
            continue
        values = floats(array).reshape(-1)
        for at in sorted(range(values.size), key=lambda at: -complexity(float(values[at]))):
            for number in _simpler(float(values[at]), subject.case.dtype):
                changed = array.copy()
                changed.reshape(-1)[at] = number
                yield _with(subject, name, changed)


def _bits(values: Array) -> int:
    return sum(complexity(float(value)) for value in values.flat)


def _together(values: Array) -> Iterator[Array]:
    """Simplify all numbers of an array in the same way; yield one array for each way."""
    finite = np.isfinite(values)
    safe = np.where(finite, values, 0.0)
    top = safe.max(initial=0.0)
    exponent = np.frexp(safe)[1] - 1
    with np.errstate(over="ignore", invalid="ignore"):
        candidates = [np.zeros_like(safe), safe - top, np.sign(safe), np.round(safe)]
        # Scaling overflows for the smallest and the largest numbers, which stay as they are.
        candidates += [
            np.ldexp(np.round(np.ldexp(safe, bits - exponent)), exponent - bits) for bits in (0, 1, 3, 7, 15)
        ]
        candidates += [np.round(safe * 2.0**bits) / 2.0**bits for bits in (1, 3, 7)]
    yield from (np.where(finite & np.isfinite(candidate), candidate, values) for candidate in candidates)


def _simpler(value: float, dtype: str) -> Iterator[float]:
    """Yield numbers of `dtype` that are simpler than `value`, the simplest first."""
    if not math.isfinite(value):
        candidates = [0.0]
    else:
        mantissa, exponent = math.frexp(value)
        candidates = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, math.copysign(1.0, value), float(round(value))]
        candidates += [math.copysign(2.0**k, value) for k in (exponent, exponent - 1) if abs(k) < 1000]
        with np.errstate(over="ignore"):
            # The largest numbers may round up to infinity, which is not simpler; math.ldexp would raise.
            candidates += [float(np.ldexp(round(mantissa * 2.0**bits), exponent - bits)) for bits in _WIDTHS]
        candidates += [math.trunc(value) * 1.0, -value]
    target = FORMATS[dtype]
    seen = set()
    for candidate in sorted(filter(math.isfinite, candidates), key=complexity):
        number = float(cast(np.array([candidate]), dtype).astype(np.float64)[0])
        if complexity(number) < complexity(value) and number not in seen and abs(number) <= target.largest:
            seen.add(number)
            yield number


_WIDTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 40)


def _with(subject: Subject, name: str, array: Array | None) -> Subject:
    """`subject` with the array of this name replaced."""
    assert subject.inputs is not None  # every candidate is explicit
    if name == "cotangent":
        return replace(subject, inputs=replace(subject.inputs, cotangent=array))
    assert array is not None  # only the cotangent may be left out
    inputs: Inputs = replace(subject.inputs, arrays={**subject.inputs.arrays, name: array})
    return replace(subject, inputs=inputs)
