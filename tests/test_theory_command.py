"""The command `theory`: exit codes, one clear line for bad input, and nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernelproof.cli import run
from kernelproof.commands.theory import theory
from kernelproof.reference.errors import ClaimError
from kernelproof.reports.theory import THEORY

GOOD = """
from kernelproof.theory.claim import Check, Claim, Kind, Role
from kernelproof.theory.domain import domain
from kernelproof.theory.evidence import exact
from kernelproof.theory.statement import Statement

STATED = Statement(domain(), ("1 = 1",))
CLAIM = Claim("mine", "Mine", "$1 = {right}$", "ours", Kind.THEOREM, (
    Check("one", "that", Role.SUPPORT, lambda _: exact.equal([("1", 1, {right})], domain="one")),
    Check("proof", "that", Role.PROOF, lambda _: exact.proves(STATED)),
), formal=STATED)
"""


def claim_file(folder: Path, text: str) -> str:
    path = folder / "mine.py"
    path.write_text(text)
    return str(path)


def test_a_true_claim_passes_and_a_false_one_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["theory", "--claim", claim_file(tmp_path, GOOD.format(right=1)), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "theory.json", "theory.md", "theory.tex"]
    assert "PROVED" in capsys.readouterr().out
    (tmp_path / "false").mkdir()
    assert run(["theory", "--claim", claim_file(tmp_path / "false", GOOD.format(right=2)), "--out", str(out)]) == 1
    assert "1: 1 ≠ 2" in capsys.readouterr().out
    assert json.loads((out / "theory.json").read_text())["passed"] is False


def test_claims_are_judged_in_processes_in_their_order(tmp_path: Path) -> None:
    names = [claim_file(tmp_path, GOOD.format(right=1)), "normalized_relu"]
    heard: list[str] = []
    found = theory(claim=names, workers=2, done=lambda result: heard.append(result.id))
    assert {each.id for each in found.claims} == {"mine", "normalized_relu"}
    assert sorted(heard) == ["mine", "normalized_relu"]
    assert not found.interrupted


def test_an_error_in_a_process_comes_through(tmp_path: Path) -> None:
    text = GOOD.format(right=1).replace("exact.proves(STATED)", "1 / 0")
    with pytest.raises(ClaimError, match="ZeroDivisionError"):
        theory(claim=[claim_file(tmp_path, text), "normalized_relu"], workers=2)


def test_processes_that_are_ended_from_outside_are_no_fault_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "import os, signal\n" + GOOD.format(right=1).replace("exact.proves(STATED)", "os.kill(os.getpid(), 9)")
    out = tmp_path / "out"
    assert run(["theory", "--claim", f"{claim_file(tmp_path, text)},normalized_relu", "--out", str(out)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "processes of ours ended" in lines[-1]
    assert not any("Traceback" in line for line in lines)
    record = json.loads((out / "theory.json").read_text())
    assert record["interrupted"] is True
    assert [each["id"] for each in record["claims"]] == ["normalized_relu"]


WORDS = """
from kernelproof.theory.claim import Check, Claim, Kind, Role
from kernelproof.theory.evidence import certified

CLAIM = Claim(id="mine", title="Mine", statement="$2 - x > 0$ for all $x$", source="ours", kind=Kind.THEOREM, checks=(
    Check("box", "that", Role.PROOF, lambda _: certified.positive(
        lambda x: {body}, {{"x": (0, 1)}}, domain="all x", precision=128)),
))
"""


@pytest.mark.parametrize("body", ["2 - x", "x.mid() + 1", "float(x) + 1"])
def test_a_statement_in_words_is_judged_and_does_not_pass(
    body: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["theory", "--claim", claim_file(tmp_path, WORDS.format(body=body)), "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "mine is UNDECIDED: " in told
    assert json.loads((tmp_path / "theory.json").read_text())["claims"][0]["verdict"] == "UNDECIDED"


def test_what_is_no_text_is_written_as_its_escape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = GOOD.format(right=2).replace('("1", 1', '("bad \\ud800 \\0 \\x1b[31m", 1')
    assert run(["theory", "--claim", claim_file(tmp_path, claim), "--out", str(tmp_path / "out")]) == 1
    assert "bad \\ud800 \\x00 \\x1b[31m: 1 ≠ 2" in capsys.readouterr().out
    text = (tmp_path / "out" / "theory.json").read_text("utf-8")
    assert "bad \\\\ud800 \\u0000 \\u001b[31m: 1 ≠ 2" in text
    assert THEORY.text_of(THEORY.record_of(text)) == text
    for name in ("index.html", "theory.md", "theory.tex"):
        found = (tmp_path / "out" / name).read_text("utf-8")
        assert "ud800" in found or name == "theory.tex", "which has no witnesses"
        assert not {"\0", "\x1b"} & set(found)


def test_a_report_reads_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    names = "translation,jacobian,support_grows,normalized_relu,softmax"
    assert run(["theory", "--claim", names, "--out", str(tmp_path)]) == 0
    claims = json.loads((tmp_path / "theory.json").read_text())["claims"]
    assert [each["label"] for each in claims] == ["C1", "C2", "M1", "G1", ""]


def test_precision_is_what_was_asked_for(tmp_path: Path) -> None:
    assert run(["theory", "--claim", "normalized_relu", "--precision", "256", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "theory.json").read_text())["precision"] == 256


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--claim", "sofmax"], "there is no claim 'sofmax' (did you mean softmax?); known: "),
        (["--claim", ""], "claim must be one or more of "),
        (["--claim", "normalized_relu,,"], "claim must be one or more of "),
        (["--claim", "none.py"], "there is no Python file 'none.py'"),
        (["--precision", "3"], "precision must be an int of bits from 128 to 100000; got 3"),
        (["--seed", "-1"], "seed must be an int of at least 0; got -1"),
        (["--search", "normalized_relu"], "claim 'normalized_relu' has no search"),
        (["--search", "normalized_relu", "--claim", "normalized_relu"], "pass claim or search, not both"),
        (["--time", "soon"], "a time must be positive and at most a year, such as 90s, 5m or 1h; got 'soon'"),
        (["--time", "-1s"], "a time must be positive"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["theory", *arguments, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_claim_that_raises_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = GOOD.format(right=1).replace('exact.equal([("1", 1, 1)], domain="one")', "1 / 0")
    assert run(["theory", "--claim", claim_file(tmp_path, broken), "--out", str(tmp_path / "out")]) == 2
    assert "claim 'mine', check 'one' raised ZeroDivisionError: division by zero" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["theory", "--claim", "normalized_relu", "--out", str(tmp_path / "file" / "out")]) == 2
    assert "the output must be a folder that can be written" in capsys.readouterr().err
