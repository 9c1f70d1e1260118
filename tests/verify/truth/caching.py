"""What the tests of the cache of truth ask it for, and how they damage it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.records import Contract
from kernelproof.verify.truth import codec as cache_coding
from kernelproof.verify.truth.cache import CacheFile, Store
from kernelproof.verify.truth.lookup import lookup, truth_for

LINES = tuple(
    f"entmax order=2 rule=adaptive:1 dtype=float64 family=ties shape=2x7 feature=1 seed={seed}" for seed in range(4)
)


def ask(store: Store, line: str = LINES[0]) -> cache_coding.Found:
    case = Case.parse(line)
    with lookup(store):
        return truth_for(case, inputs_of(case), Contract())


def same(one: cache_coding.Found, other: cache_coding.Found) -> bool:
    """Bit for bit."""
    return cache_coding.encode(one) == cache_coding.encode(other)


def alike(one: cache_coding.Found, other: cache_coding.Found) -> bool:
    """The same truth, computed twice: the oracle may enclose it in other ways, but not elsewhere."""
    (first, reason), (second, because) = one, other
    if first is None or second is None:
        return first is second and reason == because
    flags = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in cache_coding._FLAGS)
    a, b = first.output, second.output
    apart = np.abs((a.head - b.head) + (a.tail - b.tail))
    # Both are within their radii of the exact number; a tail has 53 bits below a head's.
    return flags and bool((apart <= a.radius + b.radius + 2.0**-104 * np.abs(a.head)).all())


def flipped(place: CacheFile, column: str, at: int) -> None:
    """Flip one bit of a column of every entry."""
    with closing(sqlite3.connect(place.file)) as connection, connection:
        for key, held in connection.execute(f"SELECT key, {column} FROM truths").fetchall():  # noqa: S608 (a column)
            raw = bytearray(held)
            raw[at] ^= 1
            connection.execute(f"UPDATE truths SET {column} = ? WHERE key = ?", [bytes(raw), key])  # noqa: S608
