"""The errors of kernelproof: one small hierarchy, so that callers can catch the errors they can handle."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
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


class NotWritten(DomainError):
    """A run has ended, and its results cannot be written where they should be kept.

    Attributes:
        results: the record of the run, which is complete.
    """

    def __init__(self, message: str, results: Any) -> None:
        super().__init__(message)
        self.results = results


class ResourceError(KernelproofError):
    """The system refused what a run needs, such as space for temporary files, or ended one of its processes."""


def shown(value: Any) -> str:
    """`value` for a message: its repr on one line, shortened in the middle beyond 100 characters.

    >>> shown([0, 1])
    '[0, 1]'
    """
    try:
        text = " ".join(repr(value).split())
    except RecursionError:
        return f"a {type(value).__name__} that is nested too deeply to be shown"
    return text if len(text) <= 100 else f"{text[:60]} ... {text[-35:]}"


def meant(given: object, known: Iterable[str]) -> str:
    """Ask for the name among `known` that is nearest to `given`; "" if none is near.

    >>> meant("troch", ("numpy", "torch"))
    ' (did you mean torch?)'
    """
    near = get_close_matches(given, list(known), n=1) if isinstance(given, str) else []
    return f" (did you mean {near[0]}?)" if near else ""
