"""Judges claims by their names, one after the other; `kernelproof theory` has each judged in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kernelproof.theory import discovery
from kernelproof.theory.claim import Settings
from kernelproof.theory.results import ClaimResult
from kernelproof.theory.verdicts import judge


def judge_name(name: str, settings: Settings) -> ClaimResult:
    """Judge the claim called `name`.

    Raises:
        DomainError: there is no such claim.
        ClaimError: it is malformed, or one of its checks raised.
    """
    return judge(discovery.claim(name), settings)


def judge_all(
    names: Sequence[str], settings: Settings, *, done: Callable[[ClaimResult], None] = lambda _: None
) -> list[ClaimResult]:
    """Judge the claims called `names`, and return them in order; `done` is called with each as it finishes.

    Raises:
        DomainError: there is no such claim.
        ClaimError: one is malformed, or one of its checks raised; the others are abandoned.
    """
    found = []
    for name in names:
        found.append(judge_name(name, settings))
        done(found[-1])
    return found
