"""Claims that several checks make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.checks._gradient_claims import gradient_claims
from kernelproof.verify.judging.claims import Claim, Raises, Seen, elements, flag
from kernelproof.verify.judging.slack import bounds_of
from kernelproof.verify.records import Contract, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


def within_slack(case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
    """Claim that every output and every gradient of every call is within the slack of its grade."""
    for one in seen.values():
        if one.call.mode == "forward":
            yield from outputs_within_slack(case, one, contract)
    yield from gradient_claims(case, seen, contract)


def outputs_within_slack(case: Case, one: Seen, contract: Contract) -> Iterator[Claim]:
    """Claim that every output of a forward call is within the slack of its grade, where that is a bound."""
    raw, truth = one.rows, one.truth
    if raw is None or truth is None:
        return
    bounds = bounds_of(case, truth, contract)
    decided = (bounds.rows & ~bounds.loose)[:, None] & np.isfinite(bounds.slack)
    yield from elements(one.variable, raw, truth.output, bounds.slack, decided, FORMATS[case.dtype])


def same_bits(
    seen: Mapping[str, Seen], contract: Contract, pairs: Iterable[tuple[str, str]], row: int | None = None
) -> Iterator[Claim]:
    """Claim that the outputs, or the gradients, of two calls are equal, if the contract promises that.

    Args:
        seen: the calls by name.
        contract: the promise of the target.
        pairs: names of two calls each, whose numbers must be equal.
        row: the one row of the first call that the second call has; None if it has all of them.
    """
    if contract.same != "bits":
        return
    for first, second in pairs:
        if first not in seen or second not in seen:
            continue
        base, other = seen[first], seen[second]
        if base.call.mode == "vjp":
            names = (base.truth.gradients or {}) if base.truth is not None else {}
            common = [name for name in names if name in base.outcome.arrays and name in other.outcome.arrays]
            held = [(f'["{name}"]', base.outcome.arrays[name], other.outcome.arrays[name]) for name in common]
        else:
            rows, others = base.rows, other.rows
            if rows is None or others is None:
                continue
            held = [("", rows, others) if row is None else (f"[{row}:{row + 1}]", rows[row : row + 1], others)]
        for part, left, right in held:
            whole = f"{other.variable}{part if base.call.mode == 'vjp' else ''}"
            expression = f"np.array_equal({base.variable}{part}, {whole}, equal_nan=True)"
            came = np.array_equal(np.asarray(left).astype(float), np.asarray(right).astype(float), equal_nan=True)
            yield flag(expression, came=came)


def special_raises(inputs: Inputs, contract: Contract) -> Raises:
    """Whether a call may raise for the NaN or the +∞ in the first array of `inputs`."""
    first = next(iter(inputs.arrays.values())).astype(np.float64)
    words = {contract.nan} if np.isnan(first).any() else set()
    words |= {contract.posinf} if np.isposinf(first).any() else set()
    if "raise" in words:
        return Raises.MUST
    return Raises.MAY if "any" in words else Raises.NEVER
