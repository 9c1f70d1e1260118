"""The function behind the command `converge`: bad input before any work, and files that come all at once."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kernelproof.cli import app
from kernelproof.commands import converge as command
from kernelproof.commands.converge import NAMES, converge, wanted
from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.reports import paper
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.workers.runner import runner

POWERS = [2**k for k in range(4, 41, 4)]


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        pytest.fail("work was started")

    monkeypatch.setattr(command, "runner", refuse)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"what": "weigths"}, "what must be one or more of profile, .*; got 'weigths'"),
        ({"what": []}, "what must hold at least one entry"),
        ({"what": "profile,,"}, "what must hold at least one entry and no empty one"),
        ({"orders": []}, "orders must hold at least one entry"),
        ({"orders": "1,0"}, r"an order of a convergence study must be in \[2\*\*-20, inf\); got '0'"),
        ({"orders": [-3]}, "got -3"),
        ({"orders": "nan"}, "order must be a number"),
        ({"orders": "inf"}, "n = ∞ is the limit itself"),
        ({"style": "poster"}, "style must be one of"),
        ({"venue": "nature"}, "venue must be one of"),
        ({"backends": "tensorflow"}, "backend must be one or more of numba, numpy, torch; got 'tensorflow'"),
        ({"backends": []}, "backends must hold at least one entry"),
        ({"dtypes": "int8"}, "dtype must be one or more of"),
        ({"dtypes": "float32", "what": "profile"}, "dtypes belong to the study of backends"),
        ({"backends": "numpy", "what": "profile"}, "backends and targets belong to the study of backends"),
        ({"seed": -1}, "seed must be an int of at least 0; got -1"),
        ({"seed": True}, "seed must be an int of at least 0; got True"),
    ],
)
def test_bad_input_is_one_line_before_any_work(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DomainError, match=message) as error:
        converge(**arguments, out=tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_work")
def test_a_target_that_there_is_not_is_told_before_any_work() -> None:
    with pytest.raises(TargetError, match="unknown target 'nothing'"):
        converge(targets="nothing")


@pytest.mark.usefixtures("no_work")
def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DomainError, match="the output must be a folder that can be written"):
        converge(out=tmp_path / "file" / "out")


def test_names_come_in_their_own_order() -> None:
    assert wanted(None) == NAMES
    assert wanted("lorenz,profile") == ("profile", "lorenz")


def test_a_run_writes_all_its_files_twice_the_same(tmp_path: Path) -> None:
    heard: list[str] = []
    for name in ("a", "b"):
        results = converge(
            what="profile,backends,lorenz",
            orders=POWERS,
            backends="numpy",
            dtypes="float64,float32",
            out=tmp_path / name,
            serial=True,
            progress=heard.append,
        )
        assert results.passed
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert first == second
    assert heard[:3] == ["lorenz", "profile", "backends"]
    record = json.loads(first["converge.json"])
    assert record["schema"] == "kernelproof-convergence/1"
    assert {"profile.pdf", "backends.pgf", "lorenz.svg", "profile.csv", "profile-table.tex", "index.html"} <= set(first)
    assert record["environment"]["packages"]


def test_a_failure_that_is_no_text_is_written_as_its_escape(tmp_path: Path) -> None:
    file = tmp_path / "no_text$_.py"
    file.write_text(
        'def raises(z, n):\n    raise ValueError("bad \\ud800 \\0 \\x1b[31m")\n'
        "def uniform(z, n):\n    return z * 0 + 1 / z.shape[-1]\n",
        encoding="utf-8",
    )
    results = converge(
        what="backends",
        orders=POWERS,
        backends="numpy",
        targets=[f"{file}:raises", f"{file}:uniform"],
        dtypes="float64",
        out=tmp_path / "out",
        serial=True,
    )
    assert results.backends is not None
    assert "\ud800" in results.backends.curves[1].why
    text = (tmp_path / "out" / "converge.json").read_text("utf-8")
    assert paper.CONVERGENCE.text_of(paper.CONVERGENCE.record_of(text)) == text
    assert "bad \\\\ud800 \\u0000 \\u001b[31m" in text
    for name in ("index.html", "backends-caption.tex", "backends-caption.txt", "backends-table.tex"):
        found = (tmp_path / "out" / name).read_text("utf-8")
        assert "ud800" in found
        assert not {"\0", "\x1b"} & set(found)


UNIFORM = "def fn(z, order):\n    return 0 * z + 1 / z.shape[-1]\n"
HANGS = "def fn(z, order):\n    while z.size == 16:\n        pass\n    return z\n"


@pytest.mark.parametrize(
    ("code", "verdict", "why", "timeless"),
    [
        (UNIFORM, "failed", "wrong at 10 of 10 orders", True),
        (HANGS, "no answer", "no answer in the time allowed", False),
    ],
)
def test_a_target_that_is_wrong_ends_with_exit_code_1_and_terminal_and_page_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, verdict: str, why: str, *, timeless: bool
) -> None:
    file, out = tmp_path / "given.py", tmp_path / "out"
    file.write_text(code)
    monkeypatch.setattr(command, "runner", partial(runner, limits=Limits(seconds=5.0)))
    words = ["converge", "--what", "backends", "--backend", "numpy", "--dtype", "float32", "--orders"]
    ended = CliRunner().invoke(app, [*words, ",".join(map(str, POWERS)), "--target", f"{file}:fn", "--out", str(out)])
    assert ended.exit_code == 1, ended.output
    assert "FAILED; the figures are in" in ended.output
    [line] = [line for line in ended.output.splitlines() if line.startswith("backends, ")]
    assert f"{file}:fn float32: {verdict}: {why}" in line
    page = (out / "index.html").read_text("utf-8")
    assert "FAILED" in page
    assert why in page
    # What a caption says does not depend on how much time there was.
    for name in ("backends-caption.txt", "backends-caption.tex", "backends-table.tex"):
        text = (out / name).read_text("utf-8")
        assert verdict in text
        assert (why in text) is (timeless and "table" not in name)


def test_the_built_in_backends_pass(tmp_path: Path) -> None:
    words = ["converge", "--what", "backends", "--backend", "numpy", "--orders", "1/2,2,1024"]
    ended = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert ended.exit_code == 0, ended.output
    assert sum("passed" in line for line in ended.output.splitlines()) == 5
    assert "Passed: every curve is as proved" in (tmp_path / "index.html").read_text("utf-8")


def test_a_study_of_backends_without_a_backend_has_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_loaded", lambda *_, **__: [])
    found = converge(what="backends", orders="2", serial=True)
    assert not found.passed
    assert found.reasons == ["nothing was judged"]


def test_another_seed_draws_other_data() -> None:
    one, other = (
        converge(what="weights-adaptive", orders=[1, 2], seed=seed, serial=True).studies[0] for seed in (0, 1)
    )
    assert one.curves[0].points != other.curves[0].points


def test_too_few_orders_draw_and_do_not_pass(tmp_path: Path) -> None:
    results = converge(what="bandwidth", orders="1,2,3", out=tmp_path, serial=True)
    assert not results.passed
    assert results.reasons[0] == "bandwidth, random cloud, abs: too few orders"
    assert (tmp_path / "bandwidth.pdf").is_file()


def test_a_failure_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        message = "planted"
        raise RuntimeError(message)

    monkeypatch.setattr(paper, "render_figure", fail)
    with pytest.raises(RuntimeError, match="planted"):
        converge(what="profile", orders=[1, 2], out=tmp_path / "out", serial=True)
    assert not (tmp_path / "out").exists()


def test_processes_find_what_one_process_finds() -> None:
    arguments: dict[str, Any] = {"what": "profile,bandwidth", "orders": POWERS}
    assert converge(**arguments).studies == converge(**arguments, serial=True).studies
