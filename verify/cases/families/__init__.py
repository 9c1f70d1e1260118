"""Case families, one module each with an object FAMILY; this module has their protocol and their lookup."""

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
    """The least and largest number of keys in rows of a family: its attribute ``keys``, or any number from 1 on."""
    least, most = getattr(families()[family], "keys", (1, ANY_KEYS))
    return int(least), int(most)


def once_of(family: str, suite: str, op: str) -> list[tuple[tuple[int, ...], str]]:
    """List the slow recipes that a run tries at one order and rule of each dtype only; most families have none."""
    found = getattr(families()[family], "once", None)
    return [] if found is None else list(found(suite, op))


class Family(Protocol):
    """A case family: one module of verify/cases/families with an object FAMILY.

    Cases may have any shape that the op allows, and any feature of the kinds in `recipes`. A family that restricts the
    number of keys in a row has an attribute ``keys``, the least and the largest number; a family that limits the number
    of rows has an attribute ``rows``.
    """

    id: str
    title: str

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Yield the (shape, feature) pairs of this family for an op; nothing if it has none for this op."""

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Build the inputs of `case`: the same bytes for the same recipe on every machine."""
