"""Errors of an output against the truth: in ulps, absolute, and condition-normalized to first order."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelproof.reference.formats import Format
from kernelproof.verify.judging.allowance import Allowance, allowance_of
from kernelproof.verify.judging.grades import limit_of, power_of
from kernelproof.verify.judging.precision import Precision, ulp_of
from kernelproof.verify.records import (
    Contract,
    Errors,
    Failure,
    Flags,
    Floats,
    Inputs,
    Judgement,
    Outcome,
    Truth,
    Values,
)

NEAR = 40.0
"""A key is near a kink if NEAR roundings of the inputs may move it across: ten times what grade A allows."""
NO_OUTPUT = "the call gave no output"
MAY_RAISE = frozenset({"raise", "any"})
"""The values of `Contract.empty_row` under which a call on arrays without keys may raise."""


def broken(outcome: Outcome, truth: Truth | None = None, contract: Contract | None = None) -> Judgement | None:
    """Return a failed judgement if the call raised, crashed or gave no output; else None.

    With `truth` and `contract`, a call that raised on an empty row is undecided: only the check of empty rows judges
    whether it may raise, and other checks have nothing to compare. That check gets no arrays without keys; for these
    the contract decides.
    """
    reason = outcome.crash or outcome.error
    empty = truth is not None and contract is not None and bool(truth.empty.any())
    if (
        outcome.error
        and empty
        and truth is not None
        and contract is not None
        and (truth.support.shape[-1] or contract.empty_row in MAY_RAISE)
    ):
        return Judgement(undecided=max(truth.output.head.size, 1))
    if reason is None and outcome.arrays:
        return None
    message = f"{NO_OUTPUT}: {reason}" if reason else NO_OUTPUT
    failure = Failure(message=message, kappa=float("inf"))
    return Judgement(decided=1, failed=1, failures=(failure,), worst=failure)


def select_rows(array: Any, shape: tuple[int, ...], inputs: Inputs) -> Floats | Judgement:
    """The checked rows of an output as float64 (R, width); a failed judgement if the shape is wrong."""
    raw = np.asarray(array).astype(np.float64)
    width = shape[-1]
    flat = raw.reshape(-1, width) if raw.ndim and raw.shape[-1] == width and raw.size else raw
    if flat.ndim == 2 and inputs.rows is not None and len(flat) > int(inputs.rows.max(initial=-1)):
        flat = flat[inputs.rows]
    if raw.size == 0 and int(np.prod(shape)) == 0:
        return np.empty(shape)
    if flat.shape != shape:
        message = f"the output has shape {raw.shape}, which does not hold rows of {shape}"
        failure = Failure(message=message, kappa=np.inf)
        return Judgement(decided=1, failed=1, failures=(failure,), worst=failure)
    return flat


def errors_of(raw: Floats, truth: Values, allowance: Allowance, target: Format) -> Errors:
    """Compute the errors of `raw` (any shape); κ is never NaN: it is ∞ where `raw` is not finite and the truth is.

    Args:
        raw: the numbers that the target returned.
        truth: the exact numbers.
        allowance: what they may be off by.
        target: the dtype of the numbers.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        signed = (raw - truth.head) - truth.tail
        absolute = np.abs(signed)
        kappa = allowance.kappa_of(absolute)
        lost = ~np.isfinite(raw) & np.isfinite(truth.head)
        kappa = np.where(lost | np.isnan(kappa), np.inf, kappa)
        ulp = np.where(lost, np.inf, signed / ulp_of(truth.head, target))
        same = ~np.isfinite(truth.head) & ((raw == truth.head) | (np.isnan(raw) & np.isnan(truth.head)))
        same |= _overflowed(raw, truth.head, target)
        kappa, ulp, absolute = (np.where(same, 0.0, part) for part in (kappa, ulp, np.where(lost, np.inf, absolute)))
    return Errors(ulp, absolute, kappa)


def first_order(raw: Floats, truth: Values, precision: Precision, *, strict: bool = False, terms: int = 1) -> Errors:
    """The errors of `raw` to first order; arguments as in `errors_of` and `allowance_of`."""
    return errors_of(raw, truth, allowance_of(truth, precision, terms=terms, strict=strict), precision.storage)


def _overflowed(raw: Floats, truth: Floats, target: Format) -> Flags:
    """Where `truth` is beyond the format and `raw` is ±∞ of its sign; without infinities, NaN or the largest number."""
    beyond = np.isfinite(truth) & ~np.isfinite(target.round_floats(truth))
    if np.isinf(target.overflow):
        return np.asarray(beyond & (raw == np.copysign(np.inf, truth)))
    saturated = raw == np.copysign(target.largest, truth)
    return np.asarray(beyond & (np.isnan(raw) | saturated))


def near_kink(truth: Truth, precision: Precision) -> Flags:
    """(R, m) keys that `NEAR` roundings of the inputs may move across the threshold.

    R, from exact weights at the corners of its box, covers those that only storage roundings may move across.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.abs(truth.margin) <= NEAR * precision.unit * truth.margin_unit
    return np.asarray((near | truth.boundary) & np.isfinite(truth.margin) & (truth.margin > -1e308))


def nonlinear(truth: Truth, precision: Precision, order: float) -> Flags:
    """(R, m) elements where first order does not bound the errors that the box allows."""
    near = near_kink(truth, precision)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        share = 4 * precision.unit * (truth.output.unit / np.abs(truth.output.head) - 1.0)
    steep = np.where(truth.output.head > 0, share > 0.1, near)
    whole = near.any(axis=1, keepdims=True) & (0 <= order < 1)
    return np.asarray(near | steep | whole)


def powerless(truth: Floats, allowance: Allowance, grade: str) -> tuple[Flags, Floats, Floats]:
    """Which comparisons decide nothing, and their resolution: (vacuous, resolution, forced), in the shape of `truth`.

    A comparison has power if what it allows at the promised grade is less than the larger of its truth and the root
    mean square of the truths of its row; otherwise 0, the opposite sign and twice the value would pass too. In a row
    of zeros it has power if it allows at most the smallest normal number. Source: docs/theory.md §4.

    Args:
        truth: (..., w) the exact numbers, in rows.
        allowance: of each.
        grade: that the contract promises.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        size = np.where(np.isfinite(truth), np.abs(truth), 0.0)
        # Squares of numbers near the ends of float64 over- and underflow; the largest of a row is at most √w off.
        largest = size.max(axis=-1, keepdims=True, initial=0.0)
        squares = ((size / np.where(largest > 0, largest, 1.0)) ** 2).sum(axis=-1, keepdims=True)
        mean = squares / max(truth.shape[-1], 1)
        reference = np.maximum(size, largest * np.sqrt(mean))
        allowed = allowance.at(power_of(grade))
        least = 2.0**allowance.emin
        vacuous = np.where(reference > 0, allowed >= reference, allowed > least)
        # A row of zeros has no relative error.
        scale = np.where(reference > 0, reference, np.nan)
        return np.asarray(vacuous), np.asarray(allowed / scale), np.asarray(allowance.forced / scale)


def verdict(
    raw: Floats,
    truth: Floats,
    errors: Errors,
    kappa: Floats,
    decided: Flags,
    contract: Contract,
    name: str,
    allowance: Allowance,
) -> Judgement:
    """Judge the elements of rows (R, w) by their κ; no grade allows ∞.

    Those not `decided` are counted as undecided. Those that pass and have no power (`powerless`) are counted as
    vacuous: they decide nothing, although their errors are measured.
    """
    bad = decided & ~((kappa <= limit_of(contract.grade)) & np.isfinite(kappa))
    vacuous, resolution, forced = powerless(truth, allowance, contract.grade)
    vacuous = vacuous & decided & ~bad
    count = int((decided & ~vacuous).sum())
    shown = np.where(decided, np.where(np.isnan(kappa), np.inf, kappa), -1.0)
    ranked = np.argsort(-shown, axis=None, kind="stable")[:5]
    ulp, absolute = errors.ulp.reshape(raw.shape), errors.absolute.reshape(raw.shape)

    def describe(flat: int) -> Failure:
        index = tuple(int(i) for i in np.unravel_index(flat, raw.shape))
        return Failure(
            message=f"{name}{list(index)} is {float(raw[index])}, not {float(truth[index])}: κ = {kappa[index]:.3g}",
            index=index,
            got=repr(float(raw[index])),
            expected=repr(float(truth[index])),
            ulp=float(ulp[index]),
            absolute=float(absolute[index]),
            kappa=float(kappa[index]),
        )

    measured = Errors(
        ulp[decided],
        absolute[decided],
        kappa[decided],
        vacuous=vacuous[decided],
        resolution=resolution[decided],
        forced=forced[decided],
    )
    return Judgement(
        decided=count,
        undecided=int((~decided).sum()),
        vacuous=int(vacuous.sum()),
        failed=int(bad.sum()),
        failures=tuple(describe(int(i)) for i in ranked if bad.reshape(-1)[i]),
        worst=describe(int(ranked[0])) if decided.any() else None,
        errors={name: measured} if decided.any() else {},
    )
