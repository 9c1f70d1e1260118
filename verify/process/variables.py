"""Environment variables, and whether a call or an import has set them.

Some packages set variables while they are imported or first used, and no target is to blame for that. A call that sets
one by itself is to blame, even if it also imports something. Afterwards the two cannot be distinguished, so an audit
hook of the interpreter looks at every change when it is made.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field

_IMPORTING = "<frozen importlib._bootstrap>"
_OURS = "kernelproof.verify."
_LIBRARIES = frozenset({"torch", "triton", "jax", "jaxlib", "cupy", "numba", "llvmlite"})
"""Libraries that may set variables of their own on first use, such as where they keep compiled code."""
_BETWEEN = frozenset({"os", "_collections_abc"})
"""Modules of Python through which every change goes."""

_by_calls: dict[str, int] = {}


def _excused() -> bool:
    """Whether an import or a library makes the change that is under way."""
    frame = sys._getframe(2)  # noqa: SLF001 (of what raised the event; `inspect` reads source files for as much)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    if str(frame.f_globals.get("__name__")).partition(".")[0] in _LIBRARIES:
        return True
    outer = frame
    while outer is not None:
        # The nearest of the two counts: a module that is being imported may start a whole run.
        if outer.f_code.co_filename == _IMPORTING:
            return True
        if str(outer.f_globals.get("__name__")).startswith(_OURS):
            return False
        outer = outer.f_back  # type: ignore[assignment]  # None at the outermost, which ends the loop
    return False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"os.putenv", "os.unsetenv"} and not _excused():
        name = os.fsdecode(arguments[0])  # type: ignore[arg-type]  # these events have a name first
        _by_calls[name] = _by_calls.get(name, 0) + 1


sys.addaudithook(_watch)


@dataclass(frozen=True, eq=False)
class Variables:
    """The variables of the process at one time; equal if only imports have changed any.

    Attributes:
        held: name -> value.
        by_calls: name -> how often anything but an import has set or removed it.
        modules: the number of imported modules.
    """

    held: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    by_calls: dict[str, int] = field(default_factory=lambda: dict(_by_calls))
    modules: int = field(default_factory=lambda: len(sys.modules))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Variables):
            return NotImplemented
        apart = {name for name, _ in self.held.items() ^ other.held.items()}
        if self.modules == other.modules:
            return not apart
        return all(self.by_calls.get(name) == other.by_calls.get(name) for name in apart)

    def __hash__(self) -> int:
        return len(self.held)

    def restore(self) -> None:
        """Set all of them again, and remove all others."""
        for name in set(os.environ) - set(self.held):
            del os.environ[name]
        os.environ.update(self.held)
