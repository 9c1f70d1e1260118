"""The errors of kernelproof: one small hierarchy, so that a caller can catch what it can act on."""

from __future__ import annotations


class KernelproofError(Exception):
    """Every error that kernelproof raises on purpose."""


class DomainError(KernelproofError, ValueError):
    """An argument is outside the domain on which the quantity is defined."""


class UndecidedError(KernelproofError):
    """The question has an answer, but the precision allowed does not decide it."""


class TargetError(KernelproofError):
    """A target cannot be loaded, bound or called."""


class BackendUnavailable(KernelproofError):
    """What was asked for needs a package or a device that is not here."""
