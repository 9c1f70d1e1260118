"""What the tests of the cache of truth ask it for, and how they damage it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from kernelproof.verify import cache_coding
from kernelproof.verify.cache import Place, Store
from kernelproof.verify.case import Case
from kernelproof.verify.seams import Contract
from kernelproof.verify.worker import truths_for

LINES = tuple(
    f"entmax order=2 rule=adaptive:1 dtype=float64 family=ties shape=2x7 feature=1 seed={seed}" for seed in range(4)
)


def ask(store: Store, line: str = LINES[0]) -> cache_coding.Found:
    case = Case.parse(line)
    return truths_for(case, case.inputs(), store)(Contract())


def same(one: cache_coding.Found, other: cache_coding.Found) -> bool:
    """Bit for bit."""
    return cache_coding.encode(one) == cache_coding.encode(other)


def flipped(place: Place, column: str, at: int) -> None:
    """Flip one bit of a column of every entry."""
    with closing(sqlite3.connect(place.file)) as connection, connection:
        for key, held in connection.execute(f"SELECT key, {column} FROM truths").fetchall():  # noqa: S608 (a column)
            raw = bytearray(held)
            raw[at] ^= 1
            connection.execute(f"UPDATE truths SET {column} = ? WHERE key = ?", [bytes(raw), key])  # noqa: S608
