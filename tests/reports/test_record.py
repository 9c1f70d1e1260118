from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kernelproof import reports
from kernelproof.reference.errors import DomainError
from kernelproof.reports import bench, paper, read, record, schema, theory
from kernelproof.reports.paper.record import ConvergenceResults
from kernelproof.reports.record import RESULTS, RecordFile
from kernelproof.reports.search.fuzz import FUZZ, render_fuzz
from kernelproof.reports.search.worst_case import WORST_CASE, render_worst_case
from kernelproof.theory.claim import Kind, Role
from kernelproof.theory.convergence.norms import Norm
from kernelproof.theory.convergence.records import StudyRecord
from kernelproof.theory.finding import Verdict
from kernelproof.theory.results import ClaimCheckResult, ClaimResult, TheoryResults
from kernelproof.verify.bench.bench_record import BenchResults
from kernelproof.verify.fuzz.fuzz_record import FuzzResults
from kernelproof.verify.fuzz.worst_case_record import WorstCaseResults, WorstCaseRow
from kernelproof.verify.record.schema import Results

BAD = "bad \ud800 \0 \x1b[31m"
"""A lone surrogate, which UTF-8 cannot hold, and two control characters."""


def test_json_is_canonical(results: Results) -> None:
    text = RESULTS.text_of(results)
    assert RESULTS.text_of(RESULTS.record_of(text)) == text
    assert json.loads(text)["schema"] == "kernelproof-results/1"


def test_values_that_are_not_finite_come_back(make_results: Callable[..., Results]) -> None:
    text = RESULTS.text_of(make_results(seconds=math.inf, environment={"x": math.nan}))
    assert "NaN" in json.loads(text)["environment"]["x"]
    assert RESULTS.record_of(text).seconds == math.inf


def test_lone_surrogates_become_escapes(make_results: Callable[..., Results]) -> None:
    text = RESULTS.text_of(make_results(suite="a\ud800b", environment={"k\udfff": ["\ud800"]}))
    found = json.loads(text)
    assert found["suite"] == "a\\ud800b"
    assert found["environment"] == {"k\\udfff": ["\\ud800"]}


def hostile_records() -> list[tuple[RecordFile[Any], Any, Callable[[Any], Mapping[str, str | bytes]]]]:
    """The record of each command, with what is no text in it, and what makes its files."""
    run: dict[str, Any] = {"started": BAD, "seconds": 1.0, "environment": {BAD: [BAD]}}
    tried: dict[str, Any] = {**run, "passed": False, "target": BAD, "device": BAD, "seed": 0, "rows": 0, "deaths": 0}
    counts: dict[str, Any] = {"examples": 0, "cpu_seconds": 0.0, "rows_per_second": 0.0, "replayed": 0, "mended": 0}
    checks = [ClaimCheckResult(id=BAD, says=BAD, role=Role.PROOF, unavailable=BAD)]
    words: dict[str, Any] = dict.fromkeys(("id", "label", "title", "statement", "source", "why_not_more"), BAD)
    claim = ClaimResult(
        **words, kind=Kind.NUMBER, variables=[], assumptions=[], verdict=Verdict.UNDECIDED, checks=checks
    )
    claims = [claim]
    study = StudyRecord(slug="one", title="One", says=BAD, norms=[Norm.L1], curves=[])
    worst_row = WorstCaseRow(op="entmax", order="1", dtype="float32", rows=0, every=BAD, ulp=None, kappa=None, note=BAD)
    kind: dict[str, Any] = {"precision": 192, "seed": 0}
    drawn: dict[str, Any] = {"orders": [BAD], "style": "slides", "venue": "icml"}
    return [
        (RESULTS, Results(**run, passed=False, suite=BAD, seed=0, command=BAD, targets=[]), reports.render),
        (FUZZ, FuzzResults(**tried, **counts, command=BAD, notes=[BAD]), render_fuzz),
        (
            WORST_CASE,
            WorstCaseResults(**tried, command=BAD, promised="B", left_out=[BAD], table=[worst_row]),
            render_worst_case,
        ),
        (bench.BENCHMARKS, BenchResults(**run, command=BAD, quick=True, families=[], pictures=[]), bench.render),
        (theory.THEORY, TheoryResults(**run, **kind, passed=False, command=BAD, claims=claims), theory.render),
        (
            paper.CONVERGENCE,
            ConvergenceResults(passed=False, seed=0, **drawn, environment={BAD: BAD}, studies=[study]),
            lambda record: paper.render(record, {}),
        ),
    ]


@pytest.mark.parametrize(("file", "record", "render"), hostile_records(), ids=lambda each: getattr(each, "name", ""))
def test_what_is_no_text_is_written_as_its_escape_by_every_command(
    file: RecordFile[Any], record: Any, render: Callable[[Any], Mapping[str, str | bytes]]
) -> None:
    text = file.text_of(record)
    read = file.record_of(text)
    assert file.text_of(read) == text
    assert file.as_text(read) is read
    assert read == file.as_text(record)
    assert list(read.environment) == [BAD.replace("\ud800", "\\ud800")]
    for name, content in render(record).items():
        written = content if isinstance(content, bytes) else content.encode("utf-8")
        assert b"\0" not in written, name
        assert b"\x1b" not in written, name
        assert b"ud800" in written or name == "junit.xml", name


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "Invalid JSON"), ("[]", "schema"), ('{"schema": "other/9"}', "schema"), ('{"passed": 3}', "passed")],
)
def test_other_text_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(DomainError, match=said) as caught:
        RESULTS.record_of(text)
    assert "\n" not in str(caught.value)


def test_read_takes_a_file_or_its_folder(tmp_path: Path, results: Results) -> None:
    file = tmp_path / "results.json"
    file.write_text(RESULTS.text_of(results), encoding="utf-8")
    assert RESULTS.text_of(read(tmp_path)) == RESULTS.text_of(read(file)) == RESULTS.text_of(results)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_read_says_what_it_could_not_read(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "other.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DomainError, match=r"other\.json"):
        read(file)


def test_the_kept_schema_is_that_of_the_models() -> None:
    kept = schema.SCHEMA_FILE.read_text(encoding="utf-8")
    assert kept == record.schema_text(), "run python -m kernelproof.reports.schema"


def test_the_schema_knows_that_a_float_may_be_a_word() -> None:
    found = json.loads(record.schema_text())
    error = found["$defs"]["Accuracy"]["properties"]["kappa_max"]
    assert {"enum": ["NaN", "Infinity", "-Infinity"]} in error["anyOf"]
    assert "schema" in found["properties"]
