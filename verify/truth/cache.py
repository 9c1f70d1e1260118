"""The cache of truths: an SQLite file in the user's cache folder.

A truth is stored under the hash of everything it depends on (`codec.key_of`), so a truth that is found is the one
that would be computed. Every entry has a checksum over its key and its bytes: a damaged entry is counted, computed
again and replaced, and never used. The size of the file is limited: the least recently used entries are removed first.
If the file cannot be used, a run continues without it and reports that once.

SQLite's write-ahead log lets several processes read while one writes; each statement here is its own transaction,
so that a process may end at any point.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import PlatformDirs

from kernelproof.verify.truth.codec import Found, decode, encode, key_of

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case
    from kernelproof.verify.records import Inputs

VARIABLE = "KERNELPROOF_CACHE"
"""The environment variable that names another folder."""
FILE = "truth-1.sqlite"
"""The number is the version of the table."""
LIMIT = 1 << 29
"""Bytes of the file."""
KEPT = 0.9
"""The share of the limit that is in use after making room, so that room is not made for every entry."""
RECENT = 60.0
"""Seconds within which a further use of an entry is not recorded, so that most reads do not write to the file."""
LOCK_SECONDS = 10.0
"""Seconds to wait for another process that is writing."""
_MARK = "damaged"
_TABLE = """
CREATE TABLE IF NOT EXISTS truths (
    key BLOB PRIMARY KEY, payload BLOB NOT NULL, checksum BLOB NOT NULL, used REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON truths (used);
"""
_FAULTS = (sqlite3.Error, OSError)


@dataclass(frozen=True)
class Tally:
    """Cache hits and misses.

    Attributes:
        hits: truths read from the cache.
        misses: truths computed.
        damaged: how many of the misses had a damaged entry.
        trouble: the first error of the cache file, or "".
    """

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    trouble: str = ""

    def __add__(self, other: Tally) -> Tally:
        trouble = self.trouble or other.trouble
        return Tally(self.hits + other.hits, self.misses + other.misses, self.damaged + other.damaged, trouble)


def folder() -> Path:
    """Return the folder of the cache: the one that `VARIABLE` names, or the system's folder for caches of the user.

    Raises:
        OSError: there is no such folder, because the user has no home folder.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    try:
        return PlatformDirs("kernelproof", appauthor=False).user_cache_path
    except RuntimeError as error:
        raise OSError(str(error)) from None


@dataclass(frozen=True)
class CacheFile:
    """The location of the cache, in a form that can be passed to worker processes.

    Attributes:
        file: path of the database.
        limit: its largest size, in bytes.
    """

    file: str
    limit: int = LIMIT


def prepared() -> tuple[CacheFile | None, str]:
    """Create or reset the user's cache as needed; return its location, or None and the reason it cannot be used."""
    try:
        home = folder()
        place = CacheFile(str(home / FILE))
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = Path(f"{place.file}.{_MARK}")
        if mark.exists():
            _remove(place)
            mark.unlink()
        try:
            _probe(place)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            # Not a database at all, so nothing in it can be used.
            _remove(place)
            _probe(place)
    except _FAULTS as error:
        return None, _told(error)
    return place, ""


def _probe(place: CacheFile) -> None:
    """Check that `place` can be written.

    Raises:
        sqlite3.Error: it cannot.
        OSError: it cannot.
    """
    connection = _connect(place)
    try:
        connection.execute("PRAGMA user_version = 1")
    finally:
        connection.close()


def _connect(place: CacheFile) -> sqlite3.Connection:
    connection = sqlite3.connect(place.file, timeout=LOCK_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_TABLE)
    except BaseException:
        connection.close()
        raise
    return connection


def _remove(place: CacheFile) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(place.file + suffix).unlink(missing_ok=True)


def _told(error: Exception) -> str:
    try:
        where = str(folder())
    except OSError:
        where = "the user's cache folder"
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"the cache of truth in {where!r} cannot be used ({reason}); {VARIABLE} names another folder"


def checksum(key: bytes, payload: bytes) -> bytes:
    """Return the checksum that is stored beside an entry."""
    return hashlib.sha256(key + payload).digest()


@dataclass
class Store:
    """The cache as one process uses it; after the first error of the file, the process does not use it again.

    Attributes:
        place: the location of the file.
        clock: returns the time in seconds.
    """

    place: CacheFile
    clock: Callable[[], float] = time.time
    _tally: Tally = field(default_factory=Tally)
    _connection: sqlite3.Connection | None = None
    _owner: int = 0
    _failed: bool = False

    def take(self) -> Tally:
        """Return what was counted since the last call, and start again from zero."""
        taken, self._tally = self._tally, Tally()
        return taken

    def find(self, case: Case, inputs: Inputs, scores: str, compute: Callable[[], Found]) -> Found:
        """Read the truth of a case, or compute and store it.

        Args:
            case: the recipe.
            inputs: the inputs that the case makes.
            scores: "differences" or "dots", how distances are computed; units depend on it (`Contract.scores`).
            compute: called if the cache has no intact entry.
        """
        key = key_of(case, inputs, scores)
        found = None if key is None else self._guarded(self._read, key)
        if found is not None:
            self._tally += Tally(hits=1)
            return found
        self._tally += Tally(misses=1)
        computed = compute()
        if key is not None:
            payload = encode(computed)
            self._guarded(lambda each: self._write(each, payload), key)
        return computed

    def _guarded(self, action: Callable[[bytes], Found | None], key: bytes) -> Found | None:
        """Return the result of `action`; None if the file fails or has failed before."""
        if self._failed:
            return None
        try:
            return action(key)
        except _FAULTS as error:
            self._tally += Tally(trouble=_told(error))
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                # The next run starts a new file; at this moment other processes may have this one open.
                with suppress(OSError):
                    Path(f"{self.place.file}.{_MARK}").touch()
            self._failed = True
            return None

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of this process; a forked process must not use the connection of its parent."""
        if self._connection is None or self._owner != os.getpid():
            self._connection, self._owner = _connect(self.place), os.getpid()
        return self._connection

    def _read(self, key: bytes) -> Found | None:
        row = self.connection.execute("SELECT payload, checksum, used FROM truths WHERE key = ?", [key]).fetchone()
        if row is None:
            return None
        payload, stored, used = row
        try:
            found = decode(payload) if stored == checksum(key, payload) else None
        except (TypeError, ValueError):
            # TypeError: a column holds another type than the one that was written.
            found = None
        if found is None:
            self._tally += Tally(damaged=1)
            return None
        now = self.clock()
        # The checksum does not cover this column; a value that is no time counts as an old time.
        if not isinstance(used, float | int) or not abs(now - used) < RECENT:
            self.connection.execute("UPDATE truths SET used = ? WHERE key = ?", [now, key])
        return found

    def _write(self, key: bytes, payload: bytes) -> None:
        if len(payload) > self.place.limit * (1 - KEPT):
            return
        if self._size() + len(payload) > self.place.limit:
            self._make_room()
        row = [key, payload, checksum(key, payload), self.clock()]
        self.connection.execute("INSERT OR REPLACE INTO truths VALUES (?, ?, ?, ?)", row)

    def _size(self) -> int:
        """Bytes of the file that are in use."""
        read = self.connection.execute
        (pages,), (free,), (page,) = (
            read(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page)

    def _make_room(self) -> None:
        """Remove the least recently used entries until at most the share `KEPT` of the limit is in use."""
        write = self.connection.execute
        write("BEGIN IMMEDIATE")
        try:
            while (size := self._size()) > self.place.limit * KEPT:
                (count,) = write("SELECT count(*) FROM truths").fetchone()
                if not count:
                    break
                share = 1 - self.place.limit * KEPT / size
                oldest = max(1, int(count * share))
                write("DELETE FROM truths WHERE key IN (SELECT key FROM truths ORDER BY used LIMIT ?)", [oldest])
            write("COMMIT")
        except BaseException:
            write("ROLLBACK")
            raise


_STORES: dict[CacheFile, Store] = {}


def store_of(place: CacheFile | None) -> Store | None:
    """Return the store of this process at `place`; None if `place` is None."""
    if place is None:
        return None
    if place not in _STORES:
        _STORES[place] = Store(place)
    return _STORES[place]
