"""What a witness script claims: one number each that the call must give, with the interval that is allowed.

Every claim follows from the truth of the very inputs in the script and from the promise of the target, so a target
that is mended fulfils all of them. Where two calls must agree, each has its own truth to agree with: if they differ
by more than both may be off, one of them is beyond what is claimed of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from kernelproof.reference.formats import FORMATS, Format
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import output_shape
from kernelproof.verify.checks.batch import CHECK
from kernelproof.verify.checks.curve import falls_of
from kernelproof.verify.checks.garbage import KINDS
from kernelproof.verify.judging.errors import nonlinear, select_rows
from kernelproof.verify.judging.grades import limit_of, sharp_of
from kernelproof.verify.judging.slack import bounds_of, eta_of
from kernelproof.verify.records import Contract, Floats, Judgement
from kernelproof.verify.truth.box import box_interval
from kernelproof.verify.witness.gradient_claims import empty_elements, gradient_claims, lacking
from kernelproof.verify.witness.intervals import MOST, Claim, Seen, elements, flag, interval, least_float, rounded


def claims(check: str, case: Case, seen: dict[str, Seen], contract: Contract) -> list[Claim]:
    """What `check` claims of its calls, the unmet first; empty if it claims nothing that a number could show."""
    makers = {
        "accuracy": _accuracy,
        "dtype_kept": _dtype_kept,
        "empty_rows": _empty_rows,
        "gradients": gradient_claims,
        "poison": _poison,
        "simplex": _simplex,
        "special_values": _special,
        "support": _support,
        "zero_upstream": _zero_upstream,
    }
    found = list(makers.get(check, _within_slack)(case, seen, contract))
    if contract.same == "bits":
        found += _same_bits(check, case, seen)
    if check == "curve":
        found += _falls(case, seen, contract)
    found.sort(key=lambda claim: claim.met)
    return found[:MOST]


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
            yield from elements(
                one.variable, raw, one.truth.output, bounds.slack, decided & np.isfinite(bounds.slack), _format(case)
            )
    yield from gradient_claims(case, seen, contract)


def _falls(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    """That the weight of the first key falls no further than rounding may make it as its lead grows."""
    one = seen["forward"]
    raw, truth = _raw(one), one.truth
    if raw is None or truth is None:
        return
    falls = falls_of(case, one.call.inputs, truth, raw, contract)
    for at in np.flatnonzero(~falls.open & np.isfinite(falls.allowed)):
        first, then = int(falls.rows[at]), int(falls.rows[at + 1])
        exact = float(truth.output.head[first, 0] - truth.output.head[then, 0])
        words = f"{one.variable}[{first}, 0] - {one.variable}[{then}, 0]"
        if falls.gaps[at] == falls.gaps[at + 1]:
            words, exact = f"abs({words})", abs(exact)
        yield Claim(words, exact, -math.inf, float(falls.allowed[at]), float(falls.fall[at]))


_SAME = {
    "axis": (("forward", "axis 0"), ("forward", "axis -2")),
    "batch": (("forward", "alone"),),
    "garbage": (*(("forward", kind) for kind in KINDS), ("vjp", "nan vjp")),
    "layout": (("packed", "forward"), ("packed vjp", "vjp")),
}
"""Check -> calls of it that give the same numbers, where the contract promises that."""


def _same_bits(check: str, case: Case, seen: dict[str, Seen]) -> Iterator[Claim]:
    """That outputs, and gradients, of two calls are equal."""
    for pair in _SAME.get(check, ()):
        if not set(pair) <= set(seen):
            continue
        base, other = seen[pair[0]], seen[pair[1]]
        if base.call.mode == "vjp":
            names = (base.truth.gradients or {}) if base.truth is not None else {}
            common = [name for name in names if name in base.outcome.arrays and name in other.outcome.arrays]
            held = [(f'["{name}"]', base.outcome.arrays[name], other.outcome.arrays[name]) for name in common]
        else:
            at = CHECK.place(case, base.call.inputs)[0] if check == "batch" else None
            rows, alone = _raw(base), _raw(other)
            if rows is None or alone is None:
                continue
            held = [("" if at is None else f"[{at}:{at + 1}]", rows if at is None else rows[at : at + 1], alone)]
        for part, left, right in held:
            second = f"{other.variable}{part if base.call.mode == 'vjp' else ''}"
            expression = f"np.array_equal({base.variable}{part}, {second}, equal_nan=True)"
            came = np.array_equal(np.asarray(left).astype(float), np.asarray(right).astype(float), equal_nan=True)
            yield flag(expression, came=came)


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
    yield from elements(one.variable, raw, truth.output, allowed, rows & ~bent, target)
    if not (rows & bent).any():
        return
    # There first order is no bound, and what is allowed is what the corners of the input box give.
    scores = select_rows(next(iter(one.call.inputs.arrays.values())), raw.shape, one.call.inputs)
    assert not isinstance(scores, Judgement)  # the inputs have the shape of the output
    places = np.argwhere(rows & bent)
    with np.errstate(all="ignore"):
        worst = -np.nan_to_num(np.abs(raw - truth.output.head) / allowed, nan=np.inf)[tuple(places.T)]
    for row, key in places[np.argsort(worst, kind="stable")[:MOST]]:
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
        low, high = interval(1.0, 0.0, float(allowed[row]), 1.0)
        yield Claim(f"math.fsum({one.variable}[{row}])", 1.0, low, high, total)
        yield Claim(f"{one.variable}[{row}].min()", 0.0, 0.0, math.inf, float(raw[row].min()))


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
        for index in np.argwhere(~empty_elements(case, name, raw.shape, one.truth)):
            at = tuple(int(i) for i in index)
            yield Claim(f'{one.variable}["{name}"]{list(at) if at else "[()]"}', 0.0, 0.0, 0.0, float(raw[at]))


def _poison(case: Case, seen: dict[str, Seen], contract: Contract) -> Iterator[Claim]:
    """Of rows next to a special one: no more than that their gradients are numbers."""
    one, clean, largest = seen["vjp"], seen["clean vjp"], _format(case).largest
    name, array = next(iter(one.call.inputs.arrays.items()))
    faults = [each for each in (lacking(one, name, array.shape), lacking(clean, name, array.shape)) if each]
    if faults:
        yield from faults
        return
    values = array.astype(np.float64)
    special = np.broadcast_to((np.isnan(values) | np.isposinf(values)).any(axis=-1, keepdims=True), values.shape)
    raw, alone = (np.asarray(each.outcome.arrays[name]).astype(np.float64) for each in (one, clean))
    known = None if clean.truth is None else (clean.truth.gradients or {}).get(name)
    for index in np.argwhere(~special & np.isfinite(alone)):
        at = tuple(int(i) for i in index)
        exact = alone[at] if known is None else rounded(float(known.head[at]), float(known.tail[at]), _format(case))
        yield Claim(f'{one.variable}["{name}"]{list(at)}', float(exact), -largest, largest, float(raw[at]))


def shapes_kept(seen: dict[str, Seen], case: Case) -> Iterator[Claim]:
    """That the outputs have the shape that the op defines."""
    for one in seen.values():
        wanted = output_shape(case, one.call.inputs)
        yield flag(f"tuple(np.shape({one.variable}_raw)) == {wanted!r}", came=False)


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
            yield flag(f"tuple(np.shape({held})) == {shape!r}", came=array.shape == shape)
            if one.call.mode == "forward" or known is not None:
                named = f'str(getattr({held}, "dtype", type({held}))).removeprefix("torch.") == "{case.dtype}"'
                yield flag(named, came=array.dtype.name == case.dtype)


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
        yield from elements(one.variable, raw, clean.truth.output, bounds.slack, decided, _format(case))


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
        yield from elements(one.variable, raw, truth.output, bounds.slack, decided, _format(case))
