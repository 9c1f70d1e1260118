"""Diagnosis: which storage roundings, or which compute dtype, explain the errors of a target that fails.

A target that fails in a short format is judged again as if it declared further roundings. The smallest set under which
every failing case passes at grade C, with power, says what the target does (docs/theory.md §4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

from kernelproof.verify.judging.grades import GRADE_LIMITS
from kernelproof.verify.judging.precision import USUAL, precision_of
from kernelproof.verify.records import ROUNDINGS, Contract, Judgement

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

GRADE = "C"
LARGEST = 2
"""The most roundings that are assumed besides those that a contract has: three would explain almost anything."""
OF_ROWS = ("probabilities", "exponentials", "denominator")
"""The roundings that rows of weights may have; a mean has all but `probabilities`, which are its `weights`."""


@dataclass(frozen=True)
class Assumption:
    """What a target may do that its contract does not say.

    Attributes:
        roundings: stored besides those of the contract.
        computes: whether it computes in the dtype of the arrays.
    """

    roundings: tuple[str, ...] = ()
    computes: bool = False

    def added(self, case: Case, contract: Contract) -> Contract:
        """`contract` with this assumption, at the grade at which an explanation must hold."""
        held = USUAL[case.op] if contract.roundings is None else contract.roundings
        return replace(
            contract,
            grade=max(GRADE, contract.grade, key=GRADE_LIMITS.__getitem__),
            roundings=tuple(dict.fromkeys((*held, *self.roundings))),
            compute=case.dtype if self.computes else contract.compute,
        )

    @property
    def words(self) -> str:
        """What the target would have to do, for a report."""
        if self.computes:
            return "would pass at grade C if it computed in the dtype of the arrays (the field compute)"
        names = " and the ".join(name.replace("_", " ") for name in self.roundings)
        listed = ", ".join(f'"{name}"' for name in self.roundings)
        return (
            f"passes at grade C if the {names} are rounded to the dtype of the arrays: a target that stores them so "
            f"adds {listed} to its roundings"
        )


@cache
def assumptions(op: str) -> tuple[Assumption, ...]:
    """Everything that may be assumed for `op`, the least first."""
    rows = op in {"entmax", "weights"}
    names = OF_ROWS if rows else tuple(name for name in ROUNDINGS if name != "probabilities")
    sets = [Assumption(each) for size in range(1, LARGEST + 1) for each in combinations(names, size)]
    return (*sets[: len(names)], Assumption(computes=True), *sets[len(names) :])


def explaining(
    case: Case,
    failed: Iterable[str],
    contract: Contract,
    rejudge: Callable[[str, Contract], Judgement],
    left: tuple[Assumption, ...] | None,
) -> tuple[Assumption, ...]:
    """The assumptions, of those `left`, under which every failed check of a case passes with power.

    Args:
        case: the case that failed.
        failed: ids of the checks that failed.
        contract: of the target.
        rejudge: (id of a check, contract) -> its judgement of the same answers.
        left: what explains the failures before this one; None for the first.
    """
    if not precision_of(case.dtype, contract, case.op).narrow:
        return ()
    wanted = tuple(failed)
    known = assumptions(case.op)
    held = known if left is None else tuple(each for each in left if each in known)
    everything = Assumption(tuple(dict.fromkeys(name for each in held for name in each.roundings)))
    if not held or not (_holds(everything, case, wanted, contract, rejudge) or any(each.computes for each in held)):
        return ()
    return tuple(each for each in held if _holds(each, case, wanted, contract, rejudge))


def _holds(
    assumed: Assumption,
    case: Case,
    failed: tuple[str, ...],
    contract: Contract,
    rejudge: Callable[[str, Contract], Judgement],
) -> bool:
    meant = assumed.added(case, contract)
    said = {name: rejudge(name, meant) for name in failed}
    powerless = [each for each in said.values() if each.errors and not each.decided]
    return (
        all(not each.failed for each in said.values()) and not powerless and any(each.decided for each in said.values())
    )
