"""Runs with the cache of truth: whatever is wrong with it, no verdict changes, and it is said."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.meta.faults import FAULTS
from tests.meta.planting import loaded_here, write_copy
from tests.verify.truth.caching import LINES, flipped

from kernelproof.api import verify
from kernelproof.cli import run
from kernelproof.verify.truth import cache
from kernelproof.verify.truth.cache import CacheFile, Store

FAULT = next(fault for fault in FAULTS if fault.backend == "numpy" and "accuracy" in fault.checks)


def not_a_folder(cache_home: Path) -> None:
    cache_home.write_text("", encoding="utf-8")


def no_file(cache_home: Path) -> None:
    (cache_home / cache.FILE).mkdir(parents=True)


def read_only(cache_home: Path) -> None:
    # Root may write anywhere: for root this is the cache of a system that lets nobody.
    cache_home.mkdir()
    cache._connect(CacheFile(str(cache_home / cache.FILE))).close()
    for path in (cache_home / cache.FILE, cache_home):
        path.chmod(0o500 if path.is_dir() else 0o400)


@pytest.mark.parametrize("spoil", [not_a_folder, no_file, read_only])
def test_a_place_that_cannot_be_used_is_said_once_and_breaks_nothing(
    spoil: Callable[[Path], None], cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spoil is read_only and hasattr(os, "geteuid") and os.geteuid() == 0:

        def refuse(_: CacheFile) -> None:
            msg = "attempt to write a readonly database"
            raise sqlite3.OperationalError(msg)

        monkeypatch.setattr(cache, "_probe", refuse)
    spoil(cache_home)
    for _ in range(2):
        results = verify("numpy", case=LINES[0], serial=True)
        assert results.passed
        assert results.environment["cache of truth"] == "cannot be used"
        assert [line for line in results.skipped if "the cache of truth" in line] == results.skipped
        assert len(results.skipped) == 1
        assert str(cache_home) in results.skipped[0]
        assert cache.VARIABLE in results.skipped[0]


@pytest.mark.usefixtures("cache_place")
def test_a_place_that_fails_while_working_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        msg = "database or disk is full"
        raise sqlite3.OperationalError(msg)

    monkeypatch.setattr(Store, "_write", full)
    results = verify("numpy", op="entmax", order="2", dtype="float64", suite="quick", serial=True)
    assert results.passed
    assert len([line for line in results.skipped if "database or disk is full" in line]) == 1
    assert results.environment["cache of truth"]["read"] == 0


@pytest.mark.parametrize("serial", [True, False], ids=["here", "in workers"])
def test_a_run_says_what_was_read_and_computed(serial: bool, cache_home: Path) -> None:
    def tried(*, wanted: bool = True) -> object:
        results = verify("numpy", case=LINES[0], serial=serial, cache=wanted)
        assert results.passed
        assert results.skipped == []
        return results.environment["cache of truth"]

    assert tried(wanted=False) == "off"
    assert not cache_home.exists()
    assert tried() == {"read": 0, "computed": 1, "damaged": 0}
    assert tried() == {"read": 1, "computed": 0, "damaged": 0}
    assert tried(wanted=False) == "off"


def test_the_command_has_the_switch(cache_home: Path, tmp_path: Path) -> None:
    assert run(["verify", "numpy", "--case", LINES[0], "--no-cache", "--out", str(tmp_path / "out")]) == 0
    assert not cache_home.exists()
    assert run(["verify", "numpy", "--case", LINES[0], "--out", str(tmp_path / "out")]) == 0
    assert (cache_home / cache.FILE).exists()


def test_damage_is_said_and_changes_no_result(cache_place: CacheFile) -> None:
    first = verify("numpy", case=LINES[0], serial=True)
    flipped(cache_place, "payload", -1)
    cache._STORES.clear()
    second = verify("numpy", case=LINES[0], serial=True)
    assert second.environment["cache of truth"] == {"read": 0, "computed": 1, "damaged": 1}
    judged = [[(each.id, each.verdict, each.decided) for each in run.targets[0].checks] for run in (first, second)]
    assert judged[0] == judged[1]
    assert len(second.skipped) == 1
    assert "1 damaged" in second.skipped[0]


@pytest.mark.usefixtures("cache_home")
def test_a_faulty_backend_is_red_with_a_cold_and_with_a_warm_cache(tmp_path: Path) -> None:
    sound, faulty = (write_copy(tmp_path, "numpy", change) for change in (None, FAULT.change))
    with loaded_here(tmp_path):
        found = []
        for target in (faulty, faulty, sound, faulty):
            results = verify(target, case=FAULT.case, serial=True)
            counts = results.environment["cache of truth"]
            found.append((results.passed, counts["read"], counts["computed"]))
            # Targets have names of their own, and files: only what was found is compared.
            found[-1] = (*found[-1], *[(check.id, check.verdict, check.failed) for check in results.targets[0].checks])
        uncached = verify(faulty, case=FAULT.case, serial=True, cache=False)
    assert [each[:3] for each in found] == [(False, 0, 1), (False, 1, 0), (True, 1, 0), (False, 1, 0)]
    red = tuple((check.id, check.verdict, check.failed) for check in uncached.targets[0].checks)
    assert not uncached.passed
    assert found[0][3:] == found[1][3:] == found[3][3:] == red
    assert found[2][3:] != red
