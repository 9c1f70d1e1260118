"""Refusals: what the system did not give, which is no fault of the program and none of the target."""

from __future__ import annotations

import errno

from kernelproof.reference.errors import ResourceError

_REFUSALS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "ENOMEM", "EMFILE", "ENFILE", "EAGAIN")
    if hasattr(errno, name)
}


def refusal(error: BaseException | None) -> str | None:
    """What the system refused that led to `error`, such as space, memory or files; None if it refused nothing.

    >>> refusal(OSError(errno.ENOSPC, "No space left on device"))
    'the system refused what the run needs: No space left on device'
    """
    while error is not None:
        if isinstance(error, ResourceError):
            return str(error)
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            where = f": {error.filename}" if error.filename else ""
            return f"the system refused what the run needs: {error.strerror}{where}"
        error = error.__cause__ or error.__context__
    return None
