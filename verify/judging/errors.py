"""Errors of an output against the truth: in ulps, absolute, and condition-normalized to first order."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelproof.reference.formats import Format
from kernelproof.verify.judging.grades import limit_of
from kernelproof.verify.judging.underflow import eta, flushed
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


def ulp_of(values: Floats, target: Format) -> Floats:
    """The spacing of `target` at each value, at least that of its subnormals."""
    exponent = np.frexp(np.abs(values))[1] - 1
    exponent = np.maximum(np.where(values == 0, target.emin, exponent), target.emin)
    return np.asarray(np.ldexp(1.0, exponent - target.precision + 1))


def first_order(
    raw: Floats, truth: Values, target: Format, *, flush: bool = False, strict: bool = False, terms: int = 1
) -> Errors:
    """Compute the errors of `raw` (any shape); κ is never NaN: it is ∞ where `raw` is not finite and the truth is.

    Args:
        raw: the numbers that the target returned.
        truth: the exact numbers and their units.
        target: the format whose unit roundoff counts.
        flush: subnormal results may be 0.
        strict: allow for no conditioning: the unit is the value itself.
        terms: how many products were added, each of which may underflow by itself.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        signed = (raw - truth.head) - truth.tail
        absolute = np.abs(signed)
        unit = np.abs(truth.head) if strict else truth.unit
        excess = np.maximum(absolute - truth.radius - terms * flushed(target, flush=flush), 0.0)
        kappa = np.where(excess > 0, excess / (target.unit_roundoff * unit + terms * eta(target)), 0.0)
        lost = ~np.isfinite(raw) & np.isfinite(truth.head)
        kappa = np.where(lost | np.isnan(kappa), np.inf, kappa)
        ulp = np.where(lost, np.inf, signed / ulp_of(truth.head, target))
        same = ~np.isfinite(truth.head) & ((raw == truth.head) | (np.isnan(raw) & np.isnan(truth.head)))
        same |= _overflowed(raw, truth.head, target)
        kappa, ulp, absolute = (np.where(same, 0.0, part) for part in (kappa, ulp, np.where(lost, np.inf, absolute)))
    return Errors(ulp, absolute, kappa)


def first_order_bound(kappa: float, truth: Values, target: Format, *, flush: bool = False, terms: int = 1) -> Floats:
    """The largest error to which `first_order` gives the κ `kappa`; arguments as in `first_order`."""
    with np.errstate(over="ignore", invalid="ignore"):
        bound = kappa * (target.unit_roundoff * truth.unit + terms * eta(target)) + truth.radius
    return np.asarray(bound + terms * flushed(target, flush=flush))


def _overflowed(raw: Floats, truth: Floats, target: Format) -> Flags:
    """Where `truth` is beyond the format and `raw` is ±∞ of its sign; without infinities, NaN or the largest number."""
    beyond = np.isfinite(truth) & ~np.isfinite(target.round_floats(truth))
    if np.isinf(target.overflow):
        return np.asarray(beyond & (raw == np.copysign(np.inf, truth)))
    saturated = raw == np.copysign(target.largest, truth)
    return np.asarray(beyond & (np.isnan(raw) | saturated))


def near_kink(truth: Truth, target: Format) -> Flags:
    """(R, m) keys that `NEAR` roundings of the inputs may move across the threshold."""
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.abs(truth.margin) <= NEAR * target.unit_roundoff * truth.margin_unit
    return np.asarray((near | truth.boundary) & np.isfinite(truth.margin) & (truth.margin > -1e308))


def nonlinear(truth: Truth, target: Format, order: float) -> Flags:
    """(R, m) elements where first order does not bound the errors that the box allows."""
    near = near_kink(truth, target)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        share = 4 * target.unit_roundoff * (truth.output.unit / np.abs(truth.output.head) - 1.0)
    steep = np.where(truth.output.head > 0, share > 0.1, near)
    whole = near.any(axis=1, keepdims=True) & (order < 1)
    return np.asarray(near | steep | whole)


def verdict(
    raw: Floats,
    truth: Floats,
    errors: Errors,
    kappa: Floats,
    decided: Flags,
    contract: Contract,
    name: str,
    target: Format,
) -> Judgement:
    """Judge elements by their κ; those not `decided` are counted as undecided, and no grade allows ∞."""
    count = int(decided.sum())
    bad = decided & ~((kappa <= limit_of(contract.grade, target)) & np.isfinite(kappa))
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

    return Judgement(
        decided=count,
        undecided=int(decided.size - count),
        failed=int(bad.sum()),
        failures=tuple(describe(int(i)) for i in ranked if bad.reshape(-1)[i]),
        worst=describe(int(ranked[0])) if count else None,
        errors={name: Errors(ulp[decided], absolute[decided], kappa[decided])} if count else {},
    )
