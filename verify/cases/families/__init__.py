"""Case families: one module each, with an object FAMILY. What a family has, and how the families are found."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Protocol

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.records import Inputs
from kernelproof.verify.registry import collect

ANY_KEYS = 2**63
"""Stands for "no upper limit"."""


@cache
def families() -> dict[str, Family]:
    """The case families by id."""
    return collect(__name__, "FAMILY")


def keys_of(family: str) -> tuple[int, int]:
    """The least and the most keys that rows of a family may have: its attribute ``keys``, or any number from 1 on."""
    least, most = getattr(families()[family], "keys", (1, ANY_KEYS))
    return int(least), int(most)


def once_of(family: str, suite: str, op: str) -> list[tuple[tuple[int, ...], str]]:
    """List the recipes that a run tries at one order and rule of each dtype only, as they are slow; most have none."""
    found = getattr(families()[family], "once", None)
    return [] if found is None else list(found(suite, op))


class Family(Protocol):
    """A case family: one module of verify/cases/families with an object FAMILY.

    Any shape is legal that the op has, and any feature like those of `recipes`. A family whose rows need a number of
    keys says so by an attribute ``keys``, the least and the most; one that has no more than some rows, by ``rows``.
    """

    id: str
    title: str

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """(shape, feature) pairs of this family for an op; nothing if the family has none for it."""

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """The inputs of `case`; the same bytes for the same recipe on every machine."""
