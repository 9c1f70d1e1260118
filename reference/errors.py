"""The errors of kernelproof: one small hierarchy, so that callers can catch the errors they can handle."""

from __future__ import annotations

from typing import Any


class KernelproofError(Exception):
    """The base class of every error that kernelproof raises on purpose."""


class DomainError(KernelproofError, ValueError):
    """An argument is outside the domain on which the quantity is defined."""


class UndecidedError(KernelproofError):
    """The question has an answer, but the allowed precision does not decide it."""


class TargetError(KernelproofError):
    """A target cannot be loaded, bound or called."""


class ClaimError(KernelproofError):
    """A claim is malformed: it raised, broke the rules of evidence, or is not a claim at all."""


class BackendUnavailable(KernelproofError):
    """A required package or device is not available."""


def shown(value: Any) -> str:
    """`value` for a message: its repr on one line, shortened in the middle beyond 100 characters.

    >>> shown([0, 1])
    '[0, 1]'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:60]} ... {text[-35:]}"
