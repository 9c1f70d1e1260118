"""The commands fuzz and worst: exit codes, reports, one line for bad usage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernelproof import cli
from kernelproof.commands.spans import seconds_of
from kernelproof.reference.errors import DomainError
from kernelproof.reports.record import RecordFile
from kernelproof.reports.search.fuzz import FUZZ
from kernelproof.reports.search.worst_case import WORST_CASE
from kernelproof.verify.fuzz.database import Database

NINES = "9" * 6000
FAULTY = Path(__file__).parent / "verify" / "fuzz" / "faulty.py"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_fault_is_exit_code_1_with_its_script_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.run(["fuzz", f"{FAULTY}:support3", "--examples", "20", "--order", "1", "--dtype", "float32"])
    assert code == cli.FAILED
    said = capsys.readouterr()
    assert "sys.exit(1 if wrong else 0)" in said.out
    assert "of 20 examples" in said.err
    kept = json.loads((tmp_path / "kernelproof-fuzz" / "fuzz.json").read_text(encoding="utf-8"))
    assert kept["schema"] == "kernelproof-fuzz/1"
    assert not kept["passed"]
    page = (tmp_path / "kernelproof-fuzz" / "fuzz.md").read_text(encoding="utf-8")
    assert kept["findings"][0]["script"].strip() in page
    html = (tmp_path / "kernelproof-fuzz" / "index.html").read_text(encoding="utf-8")
    assert kept["findings"][0]["recipe"] in html
    assert str(Path("kernelproof-fuzz") / "index.html") in said.out
    assert list((tmp_path / ".kernelproof" / "examples").rglob("*.json"))


def test_nothing_found_is_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run(["fuzz", f"{FAULTY}:right", "--examples", "10", "--order", "1", "--dtype", "float32"])
    assert code == cli.OK
    assert "nothing found" in capsys.readouterr().out


def test_where_nothing_can_be_asked_nothing_was_decided(capsys: pytest.CaptureFixture[str]) -> None:
    # The target takes no α, and no order is that of the float64 next to 4/3.
    code = cli.run(["fuzz", f"{FAULTY}:right", "--examples", "10", "--alpha", "4/3", "--dtype", "float32"])
    assert code == cli.FAILED
    assert "nothing decided in" in capsys.readouterr().out


def test_worst_prints_one_table_and_writes_it_with_one_for_each_op_and_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--blocks", "2", "--order", "1,2", "--dtype", "float32", "--op", "entmax,attention", "--out", "found"]
    code = cli.run(["worst-case", "numpy", *words])
    assert code == cli.OK
    said = capsys.readouterr().out
    kept = json.loads((tmp_path / "found" / "worst-case.json").read_text(encoding="utf-8"))
    page = (tmp_path / "found" / "worst-case.md").read_text(encoding="utf-8")
    assert "Within grade A" in (tmp_path / "found" / "index.html").read_text(encoding="utf-8")
    assert [row["order"] for row in kept["table"] if row["op"] == "entmax"] == ["1", "2"]
    assert {row["op"] for row in kept["table"]} == {"entmax", "attention"}
    assert "--op entmax,attention" in kept["command"]
    assert "| 1 | float32 |" in page
    for title in ("entmax", "attention, adaptive", "attention, fixed", "attention, anchored", "attention, nearest"):
        assert f"## {title}\n" in page
        assert f"\n{title}\n" not in said
    head, *lines = said.splitlines()
    assert head.split() == ["op", "order", "float32"]
    assert [line.split()[:2] for line in lines[:4:2]] == [["entmax", "1"], ["attention", "1"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fuzz", "nothing"], "unknown target 'nothing'"),
        (["fuzz", "numpy", "--time", "soon"], "a time must be positive"),
        (["fuzz", "numpy", "--examples", "0"], "examples must be an int of at least 1"),
        (["fuzz", "numpy", "--time", "1e99"], "a time must be positive and at most a year"),
        (["fuzz", "numpy", "--time", NINES], "a time must be positive and at most a year"),
        (["fuzz", "numpy", "--dtype", "int8"], "dtype must be one of"),
        (["fuzz", "numpy", "--dtype", "flaot32"], "(did you mean float32?)"),
        (["fuzz", "numpyy"], "(did you mean numpy?)"),
        (["worst-case", "numpy", "--blocks", "0"], "blocks must be an int of at least 1; got 0"),
        (["worst-case", "numpy", "--blocks", NINES], "--blocks"),
        (["worst-case", "numpy", "--order", "x"], "'x'"),
        (["worst-case", "numpy", "--op", "softmax"], "op must be one of"),
        (["worst-case", f"{FAULTY}:right", "--op", "attention"], "must take q, k, v for attention"),
        (["worst-case"], "say one target, or a program with --exec"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == cli.USAGE
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1 and len(said) < 1000


def full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_loses_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", full)
    words = ["--examples", "20", "--order", "1", "--dtype", "float32"]
    assert cli.run(["fuzz", f"{FAULTY}:support3", *words]) == cli.USAGE
    said = capsys.readouterr()
    assert "sys.exit(1 if wrong else 0)" in said.out
    assert "1 found in" in said.out and "the report is" not in said.out
    lines = [line for line in said.err.splitlines() if "No space left on device" in line]
    assert len(lines) == 1
    assert lines[0].startswith("kernelproof: the output must be a folder that can be written; got 'kernelproof-fuzz'")
    assert not (tmp_path / "kernelproof-fuzz").exists()


def test_witnesses_that_cannot_be_stored_are_findings_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    words = ["--examples", "20", "--order", "1", "--dtype", "float32", "--database", "file"]
    assert cli.run(["fuzz", f"{FAULTY}:support3", *words]) == cli.USAGE
    said = capsys.readouterr()
    assert "sys.exit(1 if wrong else 0)" in said.out
    assert "the example database must be a folder that can be written" in said.err.splitlines()[-1]
    assert (tmp_path / "kernelproof-fuzz" / "fuzz.json").is_file()


def test_a_broken_witness_is_a_remark_and_the_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Database(tmp_path / "kept", f"{FAULTY}:right")
    kept.folder.mkdir(parents=True)
    (kept.folder / "empty.json").touch()
    words = ["--examples", "5", "--order", "1", "--dtype", "float32", "--database", str(tmp_path / "kept")]
    assert cli.run(["fuzz", f"{FAULTY}:right", *words]) == cli.OK
    said = capsys.readouterr().out
    assert "is no entry of an example database" in said and "it is empty.broken now" in said


def test_examples_and_a_seed_give_the_same_bytes_but_for_times(tmp_path: Path) -> None:
    words = ["--examples", "40", "--order", "1,2", "--dtype", "float32", "--seed", "3"]
    found = []
    for at, hashes in enumerate(("1", "2", "2")):
        # In another process with other hashes, and once more where witnesses are kept by now.
        command = [sys.executable, "-m", "kernelproof", "fuzz", f"{FAULTY}:support3", *words, "--out", str(at)]
        run = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": hashes}, capture_output=True, check=False)
        assert run.returncode == cli.FAILED, run.stderr
        kept = json.loads((tmp_path / str(at) / "fuzz.json").read_text("utf-8"))
        assert list((tmp_path / ".kernelproof").rglob("*.json"))
        for name in ("started", "seconds", "cpu_seconds", "rows_per_second", "environment"):
            del kept[name]
        for finding in kept["findings"]:
            del finding["seconds"]
        found.append(json.dumps(kept))
    assert '"findings": [{' in found[0]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("command", "words"),
    [("fuzz", ["--examples", "3"]), ("worst-case", ["--blocks", "1"])],
)
def test_a_message_that_is_no_text_fails_the_target_and_not_the_command(
    command: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no_text.py").write_text(
        'def raises(z, n):\n    raise ValueError("bad \\ud800 \\0 \\x1b[31m")\n', encoding="utf-8"
    )
    code = cli.run([command, "no_text.py:raises", *words, "--order", "1", "--dtype", "float32", "--out", "found"])
    assert code == cli.FAILED
    assert "\x1b" not in capsys.readouterr().out
    text = (tmp_path / "found" / f"{command}.json").read_text(encoding="utf-8")
    file: RecordFile[Any] = FUZZ if command == "fuzz" else WORST_CASE
    assert file.text_of(file.record_of(text)) == text
    assert "bad \\\\ud800 \\u0000 \\u001b[31m" in text
    for page in ("index.html", f"{command}.md"):
        found = (tmp_path / "found" / page).read_text(encoding="utf-8")
        assert "ud800" in found
        assert not {"\0", "\x1b"} & set(found)


def test_spans_of_time() -> None:
    assert (seconds_of("90"), seconds_of("2m"), seconds_of("1h")) == (90.0, 120.0, 3600.0)
    for text in ("", "-1s", "inf", "nan", "5d", "1e99", "9000h", NINES):
        with pytest.raises(DomainError, match="a time must be positive"):
            seconds_of(text)


def test_a_variant_outside_the_class_is_not_called_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Its profile rises, so that no number is held against a truth; that calls repeat says nothing of them.
    (tmp_path / "rises.py").write_text(
        "import kernelproof\n"
        "from kernelproof import variant\n\n"
        'NUMBERS = {"gamma": 2}\n'
        'GAMMA = variant.Constant("gamma")\n'
        'RISES = variant.Variant("rises", lambda x, t: 1 + t, GAMMA, edge=None, parameters=NUMBERS)\n\n'
        '@kernelproof.declare(variant="rises.py:RISES")\n'
        "def rises(scores, gamma):\n"
        "    k = 1 + (scores.max(-1, keepdims=True) - scores) / gamma\n"
        "    return k / k.sum(-1, keepdims=True)\n",
        encoding="utf-8",
    )
    code = cli.run(["fuzz", "rises.py:rises", "--examples", "5", "--dtype", "float32"])
    said = capsys.readouterr().out
    assert code == cli.FAILED
    assert "nothing decided" in said
