"""The command `bench`: exit codes, one clear line for bad input, nothing measured for a kept run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reports.bench.synthetic import results

from kernelproof.cli import run
from kernelproof.commands import bench as command
from kernelproof.reports import bench as reports
from kernelproof.reports.bench import readme
from kernelproof.verify.bench.bench_record import BenchResults, FigureState


def sound() -> BenchResults:
    """The synthetic results without what is wrong."""
    record = results()
    families = [
        family.model_copy(update={"claims": [claim for claim in family.claims if claim.id != "wrong"]})
        for family in record.families
    ]
    return record.model_copy(update={"families": families})


def test_a_kept_run_is_reported_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports.write(sound(), tmp_path / "kept")
    marked = tmp_path / "README.md"
    marked.write_text(f"{readme.BEGIN}\n{readme.END}\n", encoding="utf-8")
    arguments = ["bench", "--from", str(tmp_path / "kept"), "--out", str(tmp_path / "out"), "--readme", str(marked)]
    assert run(arguments) == 0
    assert (tmp_path / "out" / "bench.json").read_bytes() == (tmp_path / "kept" / "bench.json").read_bytes()
    assert "| all met |" in marked.read_text("utf-8")
    assert "4 of 6 goals are met" in capsys.readouterr().out


def test_wrong_outputs_are_exit_1(tmp_path: Path) -> None:
    reports.write(results(), tmp_path / "kept")
    assert run(["bench", "--from", str(tmp_path / "kept"), "--out", str(tmp_path / "out")]) == 1


def test_a_missed_goal_is_exit_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert any(figure.state is FigureState.MISSED for figure in sound().families[0].claims[1].figures)
    asked: list[object] = []

    def measure(**options: object) -> BenchResults:
        asked.append((options["only"], options["quick"]))
        return sound()

    monkeypatch.setattr(command, "measure", measure)
    assert run(["bench", "--only", "truth,mixing", "--quick", "--out", str(tmp_path / "out")]) == 0
    assert asked == [(["truth", "mixing"], True)]
    assert (tmp_path / "out" / "index.html").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--only", "nothing"], "only must be the beginning of names such as truth"),
        (["--only", ""], "only must be the beginning of names"),
        (["--from", "kept", "--quick"], "a kept run is reported as it is"),
        (["--from", "nowhere"], "benchmarks must be a readable bench.json"),
        (["--quick", "--readme", "README.md"], "the table of a README comes from a whole run"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", *arguments, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_names_are_listed() -> None:
    assert "entmax_cost/rows" in command.names("entmax_cost")
