"""Checks: one module each, with an object CHECK. What a check has, and how the checks are found."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from kernelproof.verify.cases.case import Case
from kernelproof.verify.records import Call, Contract, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.registry import collect


class Check(Protocol):
    """A check: one module of verify/checks with an object CHECK.

    One whose calls are judged each by itself says so by a class attribute ``apart = True``; any other compares its
    calls, and is left out where the target takes only some of them.
    """

    id: str
    title: str

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """The calls this check needs on this case, by a name of its own; empty if it does not apply."""

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """What the outcomes say; `truth` is None for families of special values that have no truth."""


@cache
def checks() -> dict[str, Check]:
    """The checks by id."""
    return collect(__name__, "CHECK")
