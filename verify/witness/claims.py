"""The claims that a script shows of the calls of a check."""

from __future__ import annotations

from collections.abc import Iterator

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import output_shape
from kernelproof.verify.checks import checks
from kernelproof.verify.judging.claims import MOST, Claim, Seen, flag
from kernelproof.verify.records import Contract


def claims(check: str, case: Case, seen: dict[str, Seen], contract: Contract) -> list[Claim]:
    """What `check` claims of its calls, the unmet first; empty if it claims nothing that a number could show."""
    return sorted(checks()[check].claims(case, seen, contract), key=lambda claim: claim.met)[:MOST]


def shapes_kept(seen: dict[str, Seen], case: Case) -> Iterator[Claim]:
    """Claim that the outputs have the shape that the op defines."""
    for one in seen.values():
        wanted = output_shape(case, one.call.inputs)
        yield flag(f"tuple(np.shape({one.variable}_raw)) == {wanted!r}", came=False)
