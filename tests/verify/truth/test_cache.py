"""The cache of truth: what is read is what was computed; it is bounded, shared and begun anew when damaged."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows
from tests.verify.truth.caching import LINES, alike, ask, flipped, same

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.truth import cache
from kernelproof.verify.truth import codec as cache_coding
from kernelproof.verify.truth.cache import CacheFile, Store, Tally


def test_what_is_read_is_what_was_computed(cache_place: CacheFile) -> None:
    first, second = Store(cache_place), Store(cache_place)
    computed, read = ask(first), ask(second)
    assert same(computed, read)
    assert (first.take(), second.take()) == (Tally(misses=1), Tally(hits=1))
    assert second.take() == Tally()


def change(cache_place: CacheFile, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(cache_place.file)) as connection, connection:
        connection.execute(statement, values)


@pytest.mark.parametrize(("column", "at"), [("payload", 0), ("payload", 40), ("payload", -1), ("checksum", 5)])
def test_a_flipped_bit_is_found_and_the_truth_computed_again(cache_place: CacheFile, column: str, at: int) -> None:
    computed = ask(Store(cache_place))
    flipped(cache_place, column, at)
    store = Store(cache_place)
    again = ask(store)
    assert alike(again, computed)
    assert store.take() == Tally(misses=1, damaged=1)
    # And it is mended.
    store = Store(cache_place)
    assert same(ask(store), again)
    assert store.take() == Tally(hits=1)


def test_the_entry_of_another_case_is_not_taken_for_this_one(cache_place: CacheFile) -> None:
    store = Store(cache_place)
    ask(store, LINES[0])
    ask(store, LINES[1])
    change(cache_place, "UPDATE truths SET (payload, checksum) = (SELECT payload, checksum FROM truths LIMIT 1)")
    store = Store(cache_place)
    computed = [ask(store, line) for line in LINES[:2]]
    assert store.take() == Tally(hits=1, misses=1, damaged=1)
    assert same(computed[1], ask(Store(cache_place), LINES[1]))


def test_an_entry_of_another_type_is_damaged(cache_place: CacheFile) -> None:
    ask(Store(cache_place))
    change(cache_place, "UPDATE truths SET payload = 3")
    store = Store(cache_place)
    ask(store)
    assert store.take() == Tally(misses=1, damaged=1)


@pytest.mark.parametrize("used", ["abc", b"x", float("inf"), 1e300])
def test_a_time_that_is_none_makes_an_entry_old_and_no_more(cache_place: CacheFile, used: object) -> None:
    computed = ask(Store(cache_place))
    change(cache_place, "UPDATE truths SET used = ?", used)
    store = Store(cache_place)
    assert same(ask(store), computed)
    assert store.take() == Tally(hits=1)


def test_what_cannot_be_hashed_is_computed_and_not_kept(cache_place: CacheFile) -> None:
    case = Case.parse(LINES[0])
    inputs = replace(inputs_of(case), options={"empty": object()})
    assert cache_coding.key_of(case, inputs, "dots") is None
    store = Store(cache_place)
    calls: list[int] = []

    def compute() -> cache_coding.Found:
        calls.append(1)
        return None, ""

    for _ in range(2):
        store.find(case, inputs, "dots", compute)
    assert len(calls) == 2
    assert store.take() == Tally(misses=2)


@pytest.mark.parametrize("what", ["version", "source"])
def test_another_oracle_reads_nothing_of_this_one(
    what: str, cache_place: CacheFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(Store(cache_place))
    cache_coding.oracle.cache_clear()
    try:
        if what == "version":
            monkeypatch.setattr(cache_coding, "_version", lambda _: "99")
        else:
            real = cache_coding.sources()
            changed = tmp_path / "units.py"
            changed.write_text(real["kernelproof.verify.truth.units"].read_text("utf-8") + "\n", encoding="utf-8")
            monkeypatch.setattr(cache_coding, "sources", lambda: real | {"kernelproof.verify.truth.units": changed})
        store = Store(cache_place)
        ask(store)
        assert store.take() == Tally(misses=1)
    finally:
        cache_coding.oracle.cache_clear()


@pytest.mark.usefixtures("cache_home")
def test_the_file_is_bounded_and_what_was_not_used_for_longest_goes_first() -> None:
    found, _ = cache.prepared()
    assert found is not None
    limit = 400 * 1024
    now = [0.0]
    store = Store(CacheFile(found.file, limit), clock=lambda: now[0])
    case = Case.parse(LINES[0])
    inputs = inputs_of(case)
    noise = np.random.default_rng(0)
    reasons = [noise.bytes(5000).hex() for _ in range(80)]

    def put(at: int) -> None:
        now[0] += 2 * cache.RECENT
        store.find(Case.parse(LINES[0].replace("seed=0", f"seed={at}")), inputs, "dots", lambda: (None, reasons[at]))

    def kept(at: int) -> bool:
        key = cache_coding.key_of(Case.parse(LINES[0].replace("seed=0", f"seed={at}")), inputs, "dots")
        return bool(store.connection.execute("SELECT count(*) FROM truths WHERE key = ?", [key]).fetchone()[0])

    for at in range(80):
        put(at)
        put(0)
        assert store._size() <= limit
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert Path(found.file).stat().st_size <= limit
    held = [at for at in range(80) if kept(at)]
    # Entry 0 was used in every step, so that it never had to be computed again.
    assert store.take() == Tally(hits=80, misses=80)
    assert held[0] == 0
    assert len(held) > 20
    assert held[1:] == list(range(held[1], 80)), "the oldest went first"


@pytest.mark.usefixtures("cache_home")
def test_an_entry_that_would_take_all_the_room_is_not_kept() -> None:
    found, _ = cache.prepared()
    assert found is not None
    store = Store(CacheFile(found.file, 4096))
    assert alike(ask(store), ask(Store(CacheFile(found.file, 4096))))
    assert store.connection.execute("SELECT count(*) FROM truths").fetchone() == (0,)


def _work(file: str, start: int) -> tuple[int, int, int, str]:
    """All lines in an order of this process's own; what was counted."""
    store = Store(CacheFile(file))
    for step in range(3 * len(LINES)):
        ask(store, LINES[(start + step) % len(LINES)])
    tally = store.take()
    return tally.hits, tally.misses, tally.damaged, tally.trouble


def test_two_processes_at_once(cache_place: CacheFile) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        told = pool.starmap(_work, [(cache_place.file, 0), (cache_place.file, 2)])
    for hits, misses, damaged, trouble in told:
        assert (hits + misses, damaged, trouble) == (3 * len(LINES), 0, "")
        assert misses <= len(LINES)
    store = Store(cache_place)
    assert all(same(ask(store, line), ask(Store(cache_place), line)) for line in LINES)
    assert store.take() == Tally(hits=len(LINES))


def test_a_file_that_is_no_database_is_begun_anew(cache_home: Path) -> None:
    cache_home.mkdir()
    (cache_home / cache.FILE).write_bytes(b"no database at all" * 1000)
    found, trouble = cache.prepared()
    assert trouble == ""
    assert found is not None
    ask(Store(found))
    assert ask(Store(found)) is not None


def test_a_database_that_is_damaged_inside_is_left_alone_until_the_next_run(cache_place: CacheFile) -> None:
    store = Store(cache_place)
    for line in LINES:
        ask(store, line)
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.connection.close()
    raw = bytearray(Path(cache_place.file).read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    Path(cache_place.file).write_bytes(raw)
    store = Store(cache_place)
    truth, _ = ask(store)
    assert truth is not None
    tally = store.take()
    assert "malformed" in tally.trouble
    assert tally.hits == 0
    ask(store, LINES[1])
    assert store.take() == Tally(misses=1), "it is said once"
    again, trouble = cache.prepared()
    assert (again, trouble) == (cache_place, "")
    store = Store(cache_place)
    ask(store)
    assert store.take() == Tally(misses=1)


def test_the_folder_is_the_system_s_for_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setattr(cache, "PlatformDirs", Unix)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "kernelproof"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / ".cache" / "kernelproof"
    monkeypatch.setattr(cache, "PlatformDirs", MacOS)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == tmp_path / "home" / "Library" / "Caches" / "kernelproof"
    monkeypatch.setattr(cache, "PlatformDirs", Windows)
    monkeypatch.setattr("platformdirs.windows.get_win_folder", {"CSIDL_LOCAL_APPDATA": str(tmp_path / "Local")}.get)
    assert cache.folder() == tmp_path / "Local" / "kernelproof" / "Cache"
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "mine"))
    assert cache.folder() == tmp_path / "mine"


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    # What Python makes of a user who has none.
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    place, trouble = cache.prepared()
    assert place is None
    assert "home directory" in trouble


def test_the_tests_have_a_cache_of_their_own() -> None:
    assert "cache-of-truth" in os.environ[cache.VARIABLE]
