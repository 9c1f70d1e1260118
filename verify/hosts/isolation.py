"""What a target may not look at while it is called: the truth, and the cache of truths.

A host holds no truth, but a target may import kernelproof, which has it. The interpreter asks for every module that is
imported and announces every file that is opened; the reference announces every array that it reads. What is seen here
makes a call of the target a failure, whatever it returns. One that goes to lengths to get round this can:
docs/security.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kernelproof.reference.audit import READS

_TRUTH = tuple(
    f"kernelproof.{name}"
    for name in (
        "reference.bulk",
        "reference.ops",
        "reference.solver",
        "reference.solved_rows",
        "theory",
        "verify.truth",
        "verify.checks",
        "verify.judging",
    )
)
"""Packages and modules whose import in a call shows that it asks for the truth."""


class _Watch:
    """What was seen so far.

    Attributes:
        calling: whether a call of a target is under way.
        cache: the folder of the cache of truths, or "".
        asked: how the call that is under way asked for the truth, or "".
        read: how the cache was read, at any time, or "".
    """

    def __init__(self) -> None:
        self.calling = False
        self.cache = ""
        self.asked = ""
        self.read = ""
        self.hooked = False

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an event of the interpreter or of the reference."""
        if event == READS:
            if self.calling:
                self.asked = "it asked kernelproof for the truth"
        elif event in {"open", "sqlite3.connect"} and self.cache:
            path = arguments[0]
            if isinstance(path, bytes):
                path = os.fsdecode(path)
            if isinstance(path, str) and self.cache in path:
                self.read = "it opened the cache of truths"

    def find_spec(self, name: str, *_: object) -> None:
        """Take note of an import, as the first finder of `sys.meta_path`, and leave it to the others."""
        if self.calling and name.startswith(_TRUTH):
            self.asked = self.asked or f"it imported {name}"


_WATCH = _Watch()


def watch() -> None:
    """Begin to watch this process; an audit hook cannot be removed again."""
    if not _WATCH.hooked:
        _WATCH.hooked = True
        sys.addaudithook(_WATCH.see)
        sys.meta_path.insert(0, _WATCH)


def protect(cache: str) -> None:
    """Say where the cache of truths is."""
    _WATCH.cache = cache


@contextmanager
def asking(*, allowed: bool) -> Iterator[None]:
    """Watch a call of a target; `allowed`: it is one of ours, which may share words with the truth."""
    _WATCH.calling, _WATCH.asked = not allowed, ""
    try:
        yield
    finally:
        _WATCH.calling = False


def seen() -> str:
    """How the last call asked for the truth, or how the cache was read before it; "" if neither was seen."""
    return _WATCH.asked or _WATCH.read
