"""Checks: one module each, with an object CHECK. What a check has, and how the checks are found and ranked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Protocol

from kernelproof.verify.cases.case import Case
from kernelproof.verify.checks._claims import within_slack
from kernelproof.verify.judging.claims import Claim, Evidence, Raises, Seen
from kernelproof.verify.records import CRASH, Call, Contract, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.registry import collect


class Check(Protocol):
    """A check: one module of this folder, which has everything about it, with an object CHECK.

    Attributes:
        id: its name in records and on screen, which is also the name of its module.
        title: what it requires, in one line.
        fatal: whether a target that fails it has grade F, however small its errors are (docs/theory.md §4).
        rank: where several checks fail, the one of the lowest rank names the fault best and is shown first; checks of
            one rank go by their ids. At least 1.
        independent: whether each call is judged by itself. If not, the check compares its calls with one another, and
            it is skipped unless the target accepts all of them.
        evidence: what the script of a failure shows.
        declared: whether it is about what targets declare, so that nothing is said of those that declare nothing.
        silent: whether a case may leave it with nothing to judge, such as too few numbers for a fit; then it says
            nothing of that case.
    """

    id: str
    title: str
    fatal: bool
    rank: int
    independent: bool
    evidence: Evidence = Evidence.NUMBERS
    declared: bool = False
    silent: bool = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Name the calls that this check needs on this case; none if it does not apply."""
        raise NotImplementedError

    def repeats(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Name the calls that this check needs besides of a target that is not deterministic."""
        return {}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge the outcomes of these calls; `truth` is None for families of special values that have no truth."""
        raise NotImplementedError

    def raises(self, name: str, call: Call, contract: Contract) -> Raises:
        """Say whether `call`, which is called `name`, may raise an exception."""
        return Raises.EMPTY_ROWS

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim, for the script of a failure, what must hold of the numbers that the target returned.

        Unless a check says otherwise: every output and every gradient is within what the grade allows.
        """
        return within_slack(case, seen, contract)


@cache
def checks() -> dict[str, Check]:
    """The checks by id."""
    return collect(__name__, "CHECK")


def headline(failed: Iterable[str]) -> str:
    """Choose the id to show first: a crash if there is one, else the failed check of the lowest rank.

    >>> headline(["kkt", "accuracy"]), headline(["kkt", "axis"]), headline(["accuracy", "crash"])
    ('accuracy', 'axis', 'crash')
    """
    return min(failed, key=_place)


def _place(name: str) -> tuple[float, str]:
    known = checks().get(name)
    # Records of other versions may have checks that are not among these.
    return (0 if name == CRASH else float("inf") if known is None else known.rank), name
