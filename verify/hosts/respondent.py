"""Respondents: targets as whoever judges them sees them. They answer calls; where the target lives is their affair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.hosts.guard import Guard
from kernelproof.verify.hosts.process import Fate
from kernelproof.verify.records import Array, Call, Outcome
from kernelproof.verify.targets.arrays import transposed
from kernelproof.verify.targets.declaration import LAYOUTS
from kernelproof.verify.targets.target import Target


class Respondent(Protocol):
    """A target that answers calls."""

    @property
    def target(self) -> Target:
        """The target."""

    @property
    def remarks(self) -> dict[str, None]:
        """Lines for the report."""

    @property
    def modes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The modes of arithmetic after loading, and after the calls."""

    @property
    def fate(self) -> Fate | None:
        """How the process of the target ended in the last answer; None if it did not."""

    def answer(self, case: Case, calls: Sequence[Call]) -> list[Outcome]:
        """What the target does with each of `calls`; after one that ended its process, there are no further outcomes.

        Raises:
            TargetError: the target cannot be loaded.
        """
        raise NotImplementedError

    def fresh(self) -> None:
        """Discard what earlier calls left in the process of the target, if possible."""
        raise NotImplementedError


@dataclass
class Local:
    """A target in this process, without protection from it: for tests."""

    guard: Guard
    fate: Fate | None = None

    @classmethod
    def load(cls, target: Target) -> Local:
        """Load `target`."""
        return cls(Guard.load(target, None))

    @property
    def target(self) -> Target:
        """The target."""
        return self.guard.caller.target

    @property
    def remarks(self) -> dict[str, None]:
        """Lines for the report."""
        return self.guard.remarks

    @property
    def modes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The modes of arithmetic after loading, and after the calls."""
        return self.guard.loaded, self.guard.after or self.guard.loaded

    def answer(self, case: Case, calls: Sequence[Call]) -> list[Outcome]:
        """See `Respondent.answer`."""
        with self.guard:
            return [self.guard.call(case, call) for call in calls]

    def fresh(self) -> None:
        """Do nothing: a process cannot forget."""


_LOCAL: dict[Target, Local] = {}


def local_of(target: Target) -> Local:
    """`target`, loaded in this process once."""
    if target not in _LOCAL:
        _LOCAL[target] = Local.load(target)
    return _LOCAL[target]


class Bthd:
    """A target of attention that is given arrays of (batch, tokens, heads, width), with a batch of 1 if there is none.

    Args:
        inner: the target, which declares no layout.
    """

    def __init__(self, inner: Respondent) -> None:
        self.inner = inner
        self.remarks: dict[str, None] = {}

    @property
    def target(self) -> Target:
        """The target."""
        return self.inner.target

    @property
    def modes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """See `Respondent`."""
        return self.inner.modes

    @property
    def fate(self) -> Fate | None:
        """See `Respondent`."""
        return self.inner.fate

    def answer(self, case: Case, calls: Sequence[Call]) -> list[Outcome]:
        """See `Respondent.answer`; arrays and outcomes change their layout on the way."""
        known: dict[int, tuple[Array, Array]] = {}

        def turned(array: Array, *, single: bool) -> Array:
            # An array that came before stays the same array.
            if id(array) not in known:
                known[id(array)] = array, transposed(array[None] if single else array, LAYOUTS[1])
            return known[id(array)][1]

        wide = [self._laid(call, turned) for call in calls]
        outcomes = self.inner.answer(case, wide)
        return [self._back(outcome, call) for outcome, call in zip(outcomes, calls, strict=False)]

    @staticmethod
    def _laid(call: Call, turned: Callable[..., Array]) -> Call:
        given, single = call.inputs, call.inputs.arrays["q"].ndim == 3
        options = dict(given.options)
        if single and options.get("lengths") is not None:
            options["lengths"] = np.asarray(options["lengths"])[None]
        arrays = {name: turned(array, single=single) for name, array in given.arrays.items()}
        upstream = None if given.cotangent is None else turned(given.cotangent, single=single)
        return replace(call, inputs=replace(given, arrays=arrays, options=options, cotangent=upstream))

    @staticmethod
    def _back(outcome: Outcome, call: Call) -> Outcome:
        names, single = {*call.inputs.arrays, "output"}, call.inputs.arrays["q"].ndim == 3
        found = {}
        for name, array in outcome.arrays.items():
            back = transposed(array, LAYOUTS[1]) if name in names else array
            found[name] = back[0] if single and name in names and len(back) == 1 else back
        return replace(outcome, arrays=found)

    def fresh(self) -> None:
        """See `Respondent`."""
        self.inner.fresh()
