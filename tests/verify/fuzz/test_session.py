"""A run finds the fault, says the same again, goes on after a death, and tries first what it found before."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import kernelproof
from kernelproof.verify.fuzz.fuzz_record import FuzzResults
from kernelproof.verify.fuzz.session import Session
from kernelproof.verify.process.limits import Limits

FAULTY = Path(__file__).with_name("faulty.py")
QUICK = {"order": "1,2", "dtype": "float32"}
"""A part of what can be drawn, for the sake of time."""


def run(name: str, examples: int | None = 60, seed: int = 0, **options: object) -> FuzzResults:
    chosen: dict[str, object] = {"examples": examples, "seed": seed, "serial": True, "op": "entmax", **QUICK, **options}
    return kernelproof.fuzz(f"{FAULTY}:{name}", **chosen)  # type: ignore[arg-type]


def test_nothing_is_found_where_nothing_is_wrong_and_something_was_decided() -> None:
    found = run("right")
    assert found.passed
    assert found.examples == 60
    assert sum(cell.decided for cell in found.coverage) > 1000
    assert found.rows == sum(cell.rows for cell in found.coverage)


@pytest.mark.nightly
def test_a_fault_comes_out_as_its_least_witness_with_a_script() -> None:
    found = run("support3")
    assert not found.passed
    (finding,) = [each for each in found.findings if each.check == "accuracy"]
    assert finding.witness is not None
    assert finding.witness["z"] == [0.0, 0.0, 0.0]
    assert finding.shrunk
    assert finding.confirmed
    assert "from faulty import support3 as target" in finding.script
    assert finding.also


def test_the_same_seed_and_examples_give_the_same_findings() -> None:
    first, second = run("support3", 40, 5), run("support3", 40, 5)
    keep = {"seconds"}
    assert [each.model_dump(exclude=keep) for each in first.findings] == [
        each.model_dump(exclude=keep) for each in second.findings
    ]
    assert first.coverage == second.coverage
    other = run("right", 5, 6)
    assert other.coverage != first.coverage


@pytest.mark.parametrize("asked", [{"order": "3"}, {"order": None, "alpha": "9/8"}, {"order": "2,3"}])
def test_a_witness_is_of_an_order_that_was_asked_for(asked: dict[str, str | None]) -> None:
    found = run("support3", 20, **asked)  # type: ignore[arg-type]  # options only
    assert found.findings
    (told,) = {"order", "alpha"} & {name for name, value in asked.items() if value}
    labels = {f"α={each}" if told == "alpha" else each for each in str(asked[told]).split(",")}
    # Where several are asked for, a witness may still be of a simpler one.
    assert {each.order for each in found.findings} == ({"2"} if "2" in labels else labels)


def test_where_nothing_can_be_asked_nothing_passes() -> None:
    # No float64 is the order of the float64 next to 4/3, and the target takes no α.
    found = run("right", 20, order=None, alpha="4/3")
    assert not found.passed
    assert (found.examples, found.findings) == (0, [])
    assert "a round drew no recipe that the target can be asked" in found.notes


def test_what_was_found_is_tried_first_in_the_next_run(tmp_path: Path) -> None:
    first = run("support3", database=tmp_path)
    again = run("support3", 1, database=tmp_path)
    assert first.findings
    assert again.replayed == len(first.findings)
    assert again.mended == 0
    assert {each.check for each in again.findings} >= {each.check for each in first.findings}
    assert all(each.replayed for each in again.findings)


def test_only_witnesses_of_what_is_asked_for_are_tried_again(tmp_path: Path) -> None:
    target = f"{FAULTY}:support3"

    def again(**asked: Any) -> int:
        return kernelproof.fuzz(target, examples=1, database=tmp_path, order="1", **asked).replayed

    found = kernelproof.fuzz(target, examples=40, database=tmp_path, order="1", dtype="float32").findings
    assert again() == again(dtype="float32") == len(found) > 0
    assert again(dtype="float64") == 0


def test_a_mended_witness_is_counted_and_no_finding(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    text = FAULTY.read_text(encoding="utf-8")
    mine.write_text(text, encoding="utf-8")
    first = kernelproof.fuzz(f"{mine}:support3", examples=40, database=tmp_path / "kept", order="1", dtype="float32")
    mine.write_text(text.replace("found.dtype.type(1.125), found)", "found.dtype.type(1), found)"), encoding="utf-8")
    again = kernelproof.fuzz(f"{mine}:support3", examples=3, database=tmp_path / "kept", order="1", dtype="float32")
    assert first.findings
    assert again.passed
    assert again.mended == again.replayed == len(first.findings)


@pytest.mark.parametrize(
    ("name", "sort"),
    [
        ("eats", "memory"),
        pytest.param("dies", "death", marks=pytest.mark.nightly),
        pytest.param("hangs", "hang", marks=pytest.mark.nightly),
    ],
)
def test_a_run_survives_its_target_and_goes_on(name: str, sort: str) -> None:
    found = run(name, 60, 1, serial=False, timeout=Limits(seconds=1.0, memory=2**30))
    assert sort in {each.kind for each in found.findings}
    assert found.examples == 60
    finding = next(each for each in found.findings if each.kind == sort)
    assert finding.check == "crash"
    assert finding.confirmed
    assert "subprocess.run" in finding.script


def test_a_run_ends_on_time_though_the_target_hangs() -> None:
    started = time.monotonic()
    found = kernelproof.fuzz(f"{FAULTY}:hangs", seconds=3.0, op="entmax", timeout=Limits(seconds=60.0))
    # Loading and the last finding have their own time: far less than the limit of the call.
    assert time.monotonic() - started < 45
    assert found.seconds < 20


def test_exceptions_and_wrong_numbers_are_different_findings() -> None:
    found = run("raises_on_ties")
    assert {each.kind for each in found.findings} == {"exception"}
    assert all("two equal scores" in each.message for each in found.findings)


def test_the_end_of_the_time_cuts_no_shrinking_short(monkeypatch: pytest.MonkeyPatch) -> None:
    # The time is up as soon as something is found.
    monkeypatch.setattr(Session, "over", lambda self: bool(self.known))
    found = run("support3", examples=None, seconds=1000.0)
    (finding,) = found.findings
    assert finding.shrunk and finding.confirmed
    assert finding.small_recipe != finding.recipe
    assert finding.witness is not None and finding.witness["z"] == [0.0, 0.0, 0.0]
