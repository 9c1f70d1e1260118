"""Choose how a script shows a failure: by a number that breaks its claim, a call that raises, or a side effect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import output_shape
from kernelproof.verify.checks import checks
from kernelproof.verify.judging.claims import MOST, Claim, Evidence, Raises, Seen, flag
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.records import Contract
from kernelproof.verify.witness.renderer import Script
from kernelproof.verify.witness.writer import Writer


def shown(writer: Writer, check: str, seen: Mapping[str, Seen], turn: int) -> Script:
    """Return the script for a check whose calls, made for the `turn`-th time, gave `seen`; empty if none is wrong."""
    judge, case, contract = checks()[check], writer.case, writer.target.contract
    if judge.evidence is Evidence.INPUTS:
        return writer.untouched(check, seen, turn)
    if judge.evidence is Evidence.KEPT:
        return writer.kept(check, seen)
    if judge.evidence is Evidence.STATE:
        return writer.changed(check, seen, turn)
    if judge.evidence is Evidence.REPEATS and contract.deterministic:
        return writer.repeated(check, seen)
    may = {name: judge.raises(name, one.call, contract) for name, one in seen.items()}
    silent = [one for name, one in seen.items() if may[name] is Raises.MUST and one.outcome.arrays]
    if silent:
        return writer.unraised(check, silent[0])
    failed = next((one for name, one in seen.items() if _failed(one, may[name], contract)), None)
    held = {name: one for name, one in seen.items() if not _excused(one, may[name])}
    if failed is not None:
        return writer.raised(check, failed) if turn == 1 else writer.claimed(check, [*held.values()], [], turn)
    odd = [one for one in held.values() if _odd(one, case)]
    claims = shapes_kept(odd, case) if odd else judge.claims(case, held, contract)
    # Unmet claims come first, because only `MOST` are kept.
    found = sorted(claims, key=lambda claim: claim.met)[:MOST]
    if all(claim.met for claim in found):
        return Script()
    if not contract.deterministic:
        # What shows at one time may not show at the next.
        turn = max(turn, 2)
    # A fault that earlier calls cause shows only if the script makes all of them.
    used = [one for one in held.values() if turn > 1 or any(_names(one, claim) for claim in found)]
    return writer.claimed(check, used, found, turn, rows=not odd and judge.evidence is not Evidence.ARRAYS)


def shapes_kept(odd: Iterable[Seen], case: Case) -> Iterator[Claim]:
    """Claim that the outputs have the shape that the op defines."""
    for one in odd:
        wanted = output_shape(case, one.call.inputs)
        yield flag(f"tuple(np.shape({one.variable}_raw)) == {wanted!r}", came=False)


def _failed(one: Seen, may: Raises, contract: Contract) -> bool:
    """Whether the failure is that the call raised or gave no output."""
    if may in {Raises.MAY, Raises.MUST}:
        return False
    fault = broken(one.outcome) if may is Raises.NEVER else broken(one.outcome, one.truth, contract)
    return fault is not None and fault.failed > 0


def _excused(one: Seen, may: Raises) -> bool:
    """Whether the call rightly gave nothing to compare: it had to raise, or it was free to raise and did."""
    return may is Raises.MUST or (may is Raises.MAY and broken(one.outcome) is not None)


def _odd(one: Seen, case: Case) -> bool:
    """Whether the output has a shape that cannot be split into the rows of the case."""
    output = one.outcome.arrays.get("output")
    if one.call.mode != "forward" or output is None:
        return False
    wanted: tuple[int, ...] = output_shape(case, one.call.inputs)
    if one.call.axis != -1:
        wanted = np.moveaxis(np.empty(wanted), one.call.axis, -1).shape
    return bool(output.size != np.prod(wanted) or output.shape[-1:] != wanted[-1:])


def _names(one: Seen, claim: Claim) -> bool:
    """Whether the claim mentions the result of `one`."""
    return re.search(rf"\b{one.variable}(_raw)?\b", claim.expression) is not None
