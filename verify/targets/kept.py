"""What a user would keep: the objects that the first calls returned must hold their numbers while others are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernelproof.verify.records import Array
from kernelproof.verify.targets.arrays import Kind, same_bits, take


class Kept:
    """What the first call of each mode returned, of the calls that are made together, with a copy of its numbers.

    It is the first call and not the last, so that a target that takes its memory from several buffers in turn is seen
    to overwrite one, and it stays overwritten if a further call happens to write the same numbers again.

    Args:
        kind: the library of the arrays.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._held: dict[str, dict[str, tuple[Any, Array]]] = {}
        self._overwritten: dict[str, dict[str, None]] = {}

    def overwritten(self, mode: str) -> tuple[str, ...] | None:
        """The names of what the first call of this mode returned that has changed; None if none has returned yet."""
        if mode not in self._held:
            return None
        found = self._overwritten[mode]
        found.update((name, None) for name, (value, copy) in self._held[mode].items() if not self._holds(value, copy))
        return tuple(found)

    def keep(self, mode: str, returned: Mapping[str, Any], copies: Mapping[str, Array]) -> None:
        """Keep what a call `returned`, by name, unless one of its mode is kept."""
        if mode not in self._held:
            self._held[mode] = {name: (value, copies[name]) for name, value in returned.items()}
            self._overwritten[mode] = {}

    def _holds(self, value: Any, copy: Array) -> bool:
        try:
            return same_bits(take(value, self.kind), copy)
        except Exception:  # noqa: BLE001 (an array that its library refuses to read now is lost to the user)
            return False
