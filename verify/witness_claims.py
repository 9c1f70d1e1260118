"""What a witness script claims: one number each that the call must give, with the interval that is allowed.

Every claim follows from the truth of the very inputs in the script and from the promise of the target, so a target
that is mended fulfils all of them. Where two calls must agree, each has its own truth to agree with: if they differ
by more than both may be off, one of them is beyond what is claimed of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from kernelproof.reference.formats import FORMATS, Format
from kernelproof.verify.box import box_interval
from kernelproof.verify.building import output_shape
from kernelproof.verify.case import Case
from kernelproof.verify.judging import bounds_of, eta_of
from kernelproof.verify.measure import nonlinear, select_rows
from kernelproof.verify.seams import Call, Contract, Floats, Judgement, Outcome, Truth, Values, limit_of, sharp_of

MOST = 24
"""Claims that a script shows; those that are not met come first."""


@dataclass(frozen=True)
class Claim:
    """One number.

    Attributes:
        expression: of the script, also its name.
        expected: the exact value, correctly rounded to the dtype.
        low: the least that is allowed; NaN if the number must be NaN.
        high: the largest that is allowed.
        value: what came.
    """

    expression: str
    expected: float
    low: float
    high: float
    value: float

    @property
    def met(self) -> bool:
        """Whether what came is allowed."""
        return self.low <= self.value <= self.high or (math.isnan(self.low) and math.isnan(self.value))


@dataclass(frozen=True)
class Seen:
    """One call of a check with what came of it.

    Attributes:
        variable: the name of its output in the script.
        truth: of the inputs of this call, or None where there is none.
    """

    variable: str
    call: Call
    outcome: Outcome
    truth: Truth | None


def claims(check: str, case: Case, seen: dict[str, Seen], contract: Contract) -> list[Claim]:
    """What `check` claims of its calls, the unmet first; empty if it claims nothing that a number could show."""
    makers = {
        "accuracy": _accuracy,
        "dtype_kept": _dtype_kept,
        "empty_rows": _empty_rows,
        "gradients": _gradients,
        "poison": _poison,
        "simplex": _simplex,
        "special_values": _special,
        "support": _support,
        "zero_upstream": _zero_upstream,
    }
    found = list(makers.get(check, _within_slack)(case, seen, contract))
    found.sort(key=lambda claim: claim.met)
    return found[:MOST]


def rounded(head: float, tail: float, target: Format) -> float:
    """head + tail rounded once to `target`; what is not finite stays."""
    return target.round_fraction(Fraction(head) + Fraction(tail)) if math.isfinite(head) else head


def least_float(value: Fraction) -> float:
    """The least float64 that is not below `value`."""
    try:
        near = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)


def _interval(head: float, tail: float, allowed: float, expected: float) -> tuple[float, float]:
    if not math.isfinite(head):
        return head, head
    if not math.isfinite(allowed):
        # No grade allows what is not finite, where the exact value is.
        return -FORMATS["float64"].largest, FORMATS["float64"].largest
    exact, slack = Fraction(head) + Fraction(tail), Fraction(allowed)
    low, high = least_float(exact - slack), -least_float(-(exact + slack))
    # A number beyond the format may come as what stands for it.
    return (low, high) if math.isfinite(expected) else (min(low, expected), max(high, expected))


def _elements(
    variable: str, raw: Floats, values: Values, allowed: Floats, decided: Any, target: Format
) -> Iterator[Claim]:
    for index in np.argwhere(np.broadcast_to(decided, raw.shape)):
        at = tuple(int(i) for i in index)
        head, tail = float(values.head[at]), float(values.tail[at])
        expected = rounded(head, tail, target)
        low, high = _interval(head, tail, float(allowed[at]), expected)
        yield Claim(f"{variable}{list(at) if at else '[()]'}", expected, low, high, float(raw[at]))


def _raw(one: Seen) -> Floats | None:
    """The checked rows of a forward call."""
    if one.truth is None or "output" not in one.outcome.arrays:
        return None
    raw = select_rows(one.outcome.arrays["output"], one.truth.output.head.shape, one.call.inputs)
    return None if isinstance(raw, Judgement) else raw


def _within_slack(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    """Every output and every gradient of every call, within the slack of its grade."""
    for one in seen.values():
        raw = _raw(one)
        if raw is not None and one.truth is not None and one.call.mode == "forward":
            bounds = bounds_of(case, one.truth, contract)
            decided = (bounds.rows & ~bounds.loose)[:, None]
            yield from _elements(
                one.variable, raw, one.truth.output, bounds.slack, decided & np.isfinite(bounds.slack), _format(case)
            )
    yield from _gradients(case, seen, contract)


def _format(case: Case) -> Format:
    return FORMATS[case.dtype]


def _accuracy(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    one, target = seen["forward"], _format(case)
    raw = _raw(one)
    if raw is None or one.truth is None:
        return
    truth, limit = one.truth, limit_of(contract.grade, target)
    with np.errstate(over="ignore", invalid="ignore"):
        allowed = limit * (target.unit_roundoff * truth.output.unit + eta_of(target, contract)) + truth.output.radius
    rows = ~(truth.empty | truth.unsure)[:, None]
    bent = (
        nonlinear(truth, target, float(case.kernel.order)) if case.op in {"entmax", "weights"} else np.zeros_like(rows)
    )
    yield from _elements(one.variable, raw, truth.output, allowed, rows & ~bent, target)
    if not (rows & bent).any():
        return
    # There first order is no bound, and what is allowed is what the corners of the input box give.
    scores = select_rows(next(iter(one.call.inputs.arrays.values())), raw.shape, one.call.inputs)
    assert not isinstance(scores, Judgement)  # the inputs have the shape of the output
    for row, key in np.argwhere(rows & bent)[:MOST]:
        head, tail = float(truth.output.head[row, key]), float(truth.output.tail[row, key])
        if not math.isfinite(limit):
            continue
        below, above = box_interval(case, scores[row], int(key), limit, target, flush=contract.flush_to_zero)
        low, high = least_float(below), -least_float(-above)
        yield Claim(f"{one.variable}[{row}, {key}]", rounded(head, tail, target), low, high, float(raw[row, key]))


def _support(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    one, target = seen["forward"], _format(case)
    raw, truth = _raw(one), one.truth
    if raw is None or truth is None:
        return
    bounds = bounds_of(case, truth, contract)
    with np.errstate(invalid="ignore", over="ignore"):
        clear = (np.abs(truth.margin) > bounds.width * target.unit_roundoff * truth.margin_unit) | np.isinf(
            truth.margin
        )
    vanishing = truth.support & (truth.output.head <= bounds.band)
    told = clear & ~truth.boundary & ~vanishing
    for row, key in np.argwhere((told | ~np.isfinite(raw) | (raw < 0)) & bounds.rows[:, None]):
        # Where the support is not told, a weight is positive or 0 all the same.
        least = float(target.smallest) if told[row, key] and truth.support[row, key] else 0.0
        low, high = least, 0.0 if told[row, key] and not truth.support[row, key] else target.largest
        expected = rounded(float(truth.output.head[row, key]), float(truth.output.tail[row, key]), target)
        yield Claim(f"{one.variable}[{row}, {key}]", expected, low, high, float(raw[row, key]))


def _simplex(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    one, target = seen["forward"], _format(case)
    raw, truth = _raw(one), one.truth
    if raw is None or truth is None:
        return
    slack = (truth.output.radius + eta_of(target, contract)).sum(axis=1)
    allowed = sharp_of(contract.grade, target) * target.unit_roundoff + slack + 2.0**-53
    for row in np.flatnonzero(~truth.empty):
        total = math.fsum(raw[row]) if np.isfinite(raw[row]).all() else math.nan
        low, high = _interval(1.0, 0.0, float(allowed[row]), 1.0)
        yield Claim(f"math.fsum({one.variable}[{row}])", 1.0, low, high, total)
        yield Claim(f"{one.variable}[{row}].min()", 0.0, 0.0, math.inf, float(raw[row].min()))


def _gradients(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    limit, s = limit_of(contract.grade, _format(case)), eta_of(_format(case), contract)
    for one in seen.values():
        truth = one.truth
        if one.call.mode != "vjp" or truth is None or truth.gradients is None:
            continue
        for name, values in truth.gradients.items():
            held = f'{one.variable}["{name}"]'
            if (lacking := _lacking(one, name, values.head.shape)) is not None:
                yield lacking
                continue
            raw = np.asarray(one.outcome.arrays[name]).astype(np.float64)
            terms = 1 if name in {"z", "scores"} else max(truth.support.shape)
            with np.errstate(over="ignore", invalid="ignore"):
                allowed = limit * (_format(case).unit_roundoff * values.unit + terms * s) + values.radius
            kink = (truth.kink | truth.unsure | truth.empty).any()
            # At a kink more than one gradient is right; then a script claims only what is beyond all of them.
            allowed = np.where(kink, np.maximum(allowed, _reach(one)), allowed)
            decided = np.isfinite(allowed) & ~_free(case, name, raw.shape, truth)
            yield from _elements(held, raw, values, allowed, decided, _format(case))


def _lacking(one: Seen, name: str, shape: tuple[int, ...]) -> Claim | None:
    """The claim that there is a gradient for `name`, and that it has this shape; None where that is so."""
    held = one.outcome.arrays.get(name)
    if held is None:
        return _flag(f'"{name}" in {one.variable}', came=False)
    return None if held.shape == shape else _flag(f'{one.variable}["{name}"].shape == {shape!r}', came=False)


def _free(case: Case, name: str, shape: tuple[int, ...], truth: Truth) -> Any:
    """The gradients of rows with nothing to attend to, which may be what those rows are."""
    by_row = name in {"z", "scores"} or (name == "q" and case.op in {"regression", "attention"})
    if not by_row or not shape or int(np.prod(shape[:-1])) != truth.empty.size:
        return np.zeros(shape, dtype=bool)
    return np.broadcast_to(truth.empty.reshape(*shape[:-1], 1), shape)


def _zero_upstream(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    one = seen["vjp"]
    for name, array in one.outcome.arrays.items() if one.truth is not None else ():
        assert one.truth is not None  # the line above
        raw = np.asarray(array).astype(np.float64)
        if name not in one.call.inputs.arrays:
            # A target that is right need not have it.
            came = float(np.any(raw != 0))
            yield Claim(f'np.any({one.variable}.get("{name}", 0.0))', 0.0, 0.0, 0.0, came)
            continue
        for index in np.argwhere(~_free(case, name, raw.shape, one.truth)):
            at = tuple(int(i) for i in index)
            yield Claim(f'{one.variable}["{name}"]{list(at) if at else "[()]"}', 0.0, 0.0, 0.0, float(raw[at]))


def _poison(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    """Of rows next to a special one: no more than that their gradients are numbers."""
    one, clean, largest = seen["vjp"], seen["clean vjp"], _format(case).largest
    name, array = next(iter(one.call.inputs.arrays.items()))
    lacking = [each for each in (_lacking(one, name, array.shape), _lacking(clean, name, array.shape)) if each]
    if lacking:
        yield from lacking
        return
    values = array.astype(np.float64)
    special = np.broadcast_to((np.isnan(values) | np.isposinf(values)).any(axis=-1, keepdims=True), values.shape)
    raw, alone = (np.asarray(each.outcome.arrays[name]).astype(np.float64) for each in (one, clean))
    known = None if clean.truth is None else (clean.truth.gradients or {}).get(name)
    for index in np.argwhere(~special & np.isfinite(alone)):
        at = tuple(int(i) for i in index)
        exact = alone[at] if known is None else rounded(float(known.head[at]), float(known.tail[at]), _format(case))
        yield Claim(f'{one.variable}["{name}"]{list(at)}', float(exact), -largest, largest, float(raw[at]))


def _reach(one: Seen) -> float:
    """More than two gradients of one row of weights can differ by: twice the norm of the cotangent, and an eighth."""
    upstream = one.call.inputs.cotangent
    return 0.0 if upstream is None else 2.25 * float(np.linalg.norm(np.asarray(upstream).astype(np.float64)))


def shapes_kept(seen: dict[str, Seen], case: Case) -> Iterator[Claim]:
    """That the outputs have the shape that the op defines."""
    for one in seen.values():
        wanted = output_shape(case, one.call.inputs)
        yield _flag(f"tuple(np.shape({one.variable}_raw)) == {wanted!r}", came=False)


def _dtype_kept(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    for one in seen.values():
        wanted = output_shape(case, one.call.inputs)
        for name, array in one.outcome.arrays.items():
            known = one.call.inputs.arrays.get(name)
            shape = wanted if one.call.mode == "forward" else () if known is None else known.shape
            held = f"{one.variable}_raw"
            if one.call.mode == "vjp":
                # A target that is right need not have a gradient that is none of an array.
                held += f'.get("{name}", 0.0)' if known is None else f'["{name}"]'
            yield _flag(f"tuple(np.shape({held})) == {shape!r}", came=array.shape == shape)
            if one.call.mode == "forward" or known is not None:
                named = f'str(getattr({held}, "dtype", type({held}))).removeprefix("torch.") == "{case.dtype}"'
                yield _flag(named, came=array.dtype.name == case.dtype)


def _flag(expression: str, *, came: bool) -> Claim:
    return Claim(expression, 1.0, 1.0, 1.0, float(came))


def _special(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    one, clean = seen["forward"], seen["clean"]
    raw = _raw(Seen(one.variable, one.call, one.outcome, clean.truth))
    if raw is None or clean.truth is None:
        return
    source = np.asarray(next(iter(one.call.inputs.arrays.values()))).astype(np.float64)
    source = source.reshape(-1, source.shape[-1])
    for row in range(min(len(raw), len(source))):
        nan, posinf = bool(np.isnan(source[row]).any()), bool(np.isposinf(source[row]).any())
        top = np.isposinf(source[row])
        for key in range(raw.shape[1]):
            name, came = f"{one.variable}[{row}, {key}]", float(raw[row, key])
            if (nan and contract.nan == "nan") or (posinf and not nan and contract.posinf == "nan"):
                yield Claim(name, math.nan, math.nan, math.nan, came)
            elif posinf and not nan and contract.posinf == "limit":
                limit = float(top[key] / top.sum())
                yield Claim(name, limit, limit, limit, came)
    bounds = bounds_of(case, clean.truth, contract)
    other = np.asarray((np.isfinite(source) | np.isneginf(source)).all(axis=1))
    if len(other) == len(bounds.rows):
        decided = (bounds.rows & ~bounds.loose & other)[:, None]
        yield from _elements(one.variable, raw, clean.truth.output, bounds.slack, decided, _format(case))


def _empty_rows(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    for name, one in seen.items():
        raw, truth = _raw(one), one.truth
        if raw is None or truth is None:
            continue
        wanted = {"zeros": 0.0, "nan": math.nan}.get(contract.empty_row if name == "forward" else name)
        bounds = bounds_of(case, truth, contract)
        for row, key in np.argwhere(np.broadcast_to(truth.empty[:, None], raw.shape)):
            if wanted is not None:
                yield Claim(f"{one.variable}[{row}, {key}]", wanted, wanted, wanted, float(raw[row, key]))
        decided = (bounds.rows & ~bounds.loose)[:, None]
        yield from _elements(one.variable, raw, truth.output, bounds.slack, decided, _format(case))
