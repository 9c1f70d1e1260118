"""The command line: exit codes, one clear line for every bad usage, and an answer to --help at once."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kernelproof
from kernelproof import __version__, cli
from kernelproof.reports.record import RESULTS
from kernelproof.verify.process.journal import Journal

LINE = "entmax order=inf rule=adaptive:1 dtype=float64 family=ties shape=2x7 feature=1 seed=0"
NINES = "9" * 6000
HEAVY = ("numpy", "torch", "numba", "scipy", "sympy", "matplotlib", "flint", "pydantic", "rich")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\n"
        "def right(z, order):\n"
        "    e = np.exp((z - z.max(axis=-1, keepdims=True)).astype(np.float64))\n"
        "    return (e / e.sum(axis=-1, keepdims=True)).astype(z.dtype)\n"
        "def wrong(z, order):\n"
        "    return right(z, order) * 1.5\n"
        "def silent(z):\n"
        "    return right(z, None)\n",
        encoding="utf-8",
    )
    return path


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom kernelproof import cli\ncode = cli.run(['--help'])\n"
        f"print('LOADED', code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "LOADED 0 []"
    assert "verify" in found.stdout


def test_help_says_how_to_install_completion(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out


def test_completion_knows_the_commands() -> None:
    variables = {"_KERNELPROOF_COMPLETE": "complete_bash", "COMP_WORDS": "kernelproof wo", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "kernelproof"]
    found = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert found.stdout.split() == ["worst-case"]


def test_results_are_a_few_lines_for_a_reader(file: Path) -> None:
    found = kernelproof.verify(f"{file}:right", f"{file}:wrong", case=LINE, serial=True)
    lines = repr(found).splitlines()
    assert lines[0].startswith("<kernelproof verify: FAILED in ")
    assert [line.split()[0] for line in lines[1:]] == [f"target={file}:right", f"target={file}:wrong"]
    assert " grade=A verdict=PASS " in lines[1] and " grade=F verdict=FAIL " in lines[2]
    assert LINE in lines[2] and len(repr(found)) < 1000
    html = found._repr_html_()
    assert f"<td>{file}:wrong</td>" in html and "<td>FAIL</td>" in html


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"kernelproof {__version__}\n"


def test_backends_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["backends"]) == 0
    assert "numpy" in capsys.readouterr().out


def test_exit_codes_and_reports(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    assert cli.run(["verify", f"{file}:right", "--case", LINE, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "PASS" in said
    assert "index.html" in said
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["passed"] is True
    assert results["targets"][0]["name"] == f"{file}:right"
    assert cli.run(["verify", f"{file}:wrong", "--case", LINE, "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert "FAIL" in said
    assert f"{file}:wrong, accuracy: " in said
    assert f"--case '{LINE}'" in said
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["passed"] is False


def test_a_message_that_is_no_text_is_written_as_its_escape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "no_text.py"
    file.write_text('def raises(z, n):\n    raise ValueError("bad \\ud800 \\0 \\x1b[31m")\n', encoding="utf-8")
    out = tmp_path / "report"
    assert cli.run(["verify", f"{file}:raises", "--case", LINE, "--out", str(out)]) == 1
    assert "bad \\ud800 \\x00 \\x1b[31m" in capsys.readouterr().out
    text = (out / "results.json").read_text("utf-8")
    assert "bad \\\\ud800 \\u0000 \\u001b[31m" in text
    assert RESULTS.text_of(RESULTS.record_of(text)) == text
    for name in ("index.html", "report.md", "junit.xml"):
        found = (out / name).read_text("utf-8")
        assert "ud800" in found
        assert not {"\0", "\x1b"} & set(found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["command"]),
        (["frobnicate"], ["frobnicate"]),
        (["verify", "--frob"], ["--frob"]),
        (["verify", "nope"], ["'nope'", "numpy"]),
        (["verify", "troch"], ["(did you mean torch?)"]),
        (["verify", "missing.py:f"], ["missing.py"]),
        (["verify", "missing.py"], ["there is no file 'missing.py'"]),
        (["verify", "{file}"], ["mine.py:right", "mine.py:wrong", "mine.py:silent"]),
        (["verify", "{file}:"], ["mine.py:right"]),
        (["verify", "{file}:silnt"], ["(did you mean silent?)"]),
        (["verify", "no_such_module:f"], ["no_such_module"]),
        (["verify", "{file}:nothing"], ["nothing", "right"]),
        (["verify", "{file}:silent"], ["--order"]),
        (["verify", "--op", "conv"], ["'conv'", "attention"]),
        (["verify", "--op", "entmx"], ["(did you mean entmax?)"]),
        (["verify", "--order", "x"], ["'x'"]),
        (["verify", "--order", NINES], ["order must be"]),
        (["verify", "--seed", NINES], ["--seed"]),
        (["verify", "--case", LINE.replace("2x7", f"2x{NINES}")], ["shape must be such as"]),
        (["verify", "--case", LINE.replace("seed=0", f"seed={NINES}")], ["seed an integer"]),
        (["verify", "{file}:right", "--output", NINES], ["at most 18 digits"]),
        (["verify", "--timeout=1e99"], ["a time must be positive and at most a year"]),
        (["verify", "{file}:right", "--contract", "{nested}"], ["nested too deeply"]),
        (["verify", "--xfail", "{nested}"], ["nested too deeply"]),
        (["verify", "a\x1b[31m.py:f"], [r"a\x1b[31m.py"]),
        (["verify", "{file}:\x1b]0;title\x07"], [r"\x1b]0;title\x07"]),
        (["verify", "--order", "-inf"], ["-inf"]),
        (["verify", "--alpha", "-0.5"], ["-0.5", "(0, inf]"]),
        (["verify", "--order", "1", "--alpha", "2"], ["not both"]),
        (["verify", "--dtype", "int8"], ["int8", "bfloat16"]),
        (["verify", "--suite", "big"], ["big", "standard"]),
        (["verify", "--device", "tpu"], ["tpu", "cuda"]),
        (["verify", "--seed", "x"], ["seed"]),
        (["verify", "--case", "entmax"], ["entmax order="]),
        (["verify", "--out", "{file}"], ["mine.py", "folder"]),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str],
    words: list[str],
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    nested = tmp_path / "nested.toml"
    nested.write_text(f"order = {'[' * 100_000}", "utf-8")
    before = sorted(tmp_path.iterdir())
    places = {"{file}": str(file), "{nested}": str(nested)}
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    assert cli.run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1 and len(said.err) < 2000
    assert said.err.startswith("kernelproof: ")
    assert "\x1b" not in said.err
    assert all(word in said.err for word in words)
    # Nothing half-written, __pycache__ of the user's module apart.
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before


def test_the_command_of_a_record_says_what_the_call_said(file: Path) -> None:
    found = kernelproof.verify(f"{file}:right", case=LINE, array_library="numpy", timeout=90)
    words = f"--array-library numpy --case '{LINE}' --timeout 90s"
    assert found.command == f"kernelproof verify {file}:right {words}"


@pytest.mark.parametrize("timeout", [0, -1.0, float("inf"), float("nan"), True, "10m"])
def test_a_timeout_is_a_positive_number_of_seconds(timeout: object, file: Path) -> None:
    for command in (kernelproof.verify, kernelproof.fuzz, kernelproof.worst_case):
        with pytest.raises(kernelproof.DomainError, match="timeout must be a positive number of seconds"):
            command(f"{file}:right", order="inf", timeout=timeout)  # type: ignore[arg-type] # what a user may pass


def test_our_own_fault_is_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from kernelproof import api

    def broken(*_: object, **__: object) -> None:
        msg = "a bug"
        raise RuntimeError(msg)

    monkeypatch.setattr(api, "verify", broken)
    assert cli.run(["verify"]) == 3
    said = capsys.readouterr().err
    assert "RuntimeError: a bug" in said
    assert "fault of kernelproof" in said.splitlines()[-1]


def test_a_case_of_a_report_leaves_the_report_alone(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "kernelproof-report"
    report.mkdir()
    (report / "results.json").write_text("of the whole run", encoding="utf-8")
    assert cli.run(["verify", f"{file}:right", "--case", LINE]) == 0
    assert "the report is" not in capsys.readouterr().out
    assert {path.name: path.read_text(encoding="utf-8") for path in report.iterdir()} == {
        "results.json": "of the whole run"
    }


def test_a_full_disk_loses_no_result(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert cli.run(["verify", f"{file}:wrong", "--case", LINE, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert f"{file}:wrong, accuracy: " in said.out
    assert "FAILED in" in said.out and "the report is" not in said.out
    assert "No space left on device" in said.err.splitlines()[-1]
    with pytest.raises(kernelproof.NotWritten) as caught:
        kernelproof.verify(f"{file}:wrong", case=LINE, serial=True, out=tmp_path / "out")
    assert not caught.value.results.passed


def test_a_read_only_folder_is_told_after_the_findings(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    arguments = ["verify", f"{file}:wrong", "--case", LINE, "--no-cache", "--out", str(tmp_path / "out")]
    assert cli.run(arguments) == 2
    said = capsys.readouterr()
    assert f"{file}:wrong, accuracy: " in said.out
    assert "Read-only file system" in said.err.splitlines()[-1]


def test_what_an_import_says_comes_without_escape_sequences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text('print("\\x1b[2J")\nraise ImportError("no \\x1b[31mred\\x1b]0;title\\x07")\n', encoding="utf-8")
    assert cli.run(["verify", f"{bad}:f"]) == 2
    said = capsys.readouterr()
    assert r"no \x1b[31mred\x1b]0;title\x07" in said.err
    assert not {"\x1b", "\x07"} & set(said.out + said.err)


def test_a_folder_and_a_fault_of_ours_come_without_escape_sequences(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kernelproof import api

    out = tmp_path / "\x1b[31mred"
    assert cli.run(["verify", f"{file}:right", "--case", LINE, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert r"\x1b[31mred" in said.out and "\x1b" not in said.out + said.err

    def broken(*_: object, **__: object) -> None:
        msg = "a \x1b[31mbug"
        raise RuntimeError(msg)

    monkeypatch.setattr(api, "verify", broken)
    assert cli.run(["verify"]) == 3
    said = capsys.readouterr()
    assert r"RuntimeError: a \x1b[31mbug" in said.err and "\x1b" not in said.err


def test_a_full_disk_is_no_fault_of_ours_and_loses_nothing(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    class Full(Journal):
        def __init__(self, path: str) -> None:
            if len(made) > 12:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            made.append(path)
            super().__init__(path)

    monkeypatch.setattr("kernelproof.verify.process.child.Journal", Full)
    out = tmp_path / "out"
    words = ["verify", f"{file}:right", "--op", "entmax", "--order", "1", "--suite", "quick", "--out", str(out)]
    assert cli.run(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("kernelproof: the system refused what the run needs: No space left on device")
    assert not any("Traceback" in line for line in lines)
    record = json.loads((out / "results.json").read_text("utf-8"))
    assert record["interrupted"] is True
    assert record["passed"] is False
    assert sum(check["decided"] for check in record["targets"][0]["checks"]) > 0
