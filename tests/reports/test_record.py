from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.reports import from_json, read, record, schema, to_json
from kernelproof.verify.record.schema import Results


def test_json_is_canonical(results: Results) -> None:
    text = to_json(results)
    assert to_json(from_json(text)) == text
    assert json.loads(text)["schema"] == "kernelproof-results/1"


def test_values_that_are_not_finite_come_back(make_results: Callable[..., Results]) -> None:
    text = to_json(make_results(seconds=math.inf, environment={"x": math.nan}))
    assert "NaN" in json.loads(text)["environment"]["x"]
    assert from_json(text).seconds == math.inf


def test_lone_surrogates_become_escapes(make_results: Callable[..., Results]) -> None:
    text = to_json(make_results(suite="a\ud800b", environment={"k\udfff": ["\ud800"]}))
    found = json.loads(text)
    assert found["suite"] == "a\\ud800b"
    assert found["environment"] == {"k\\udfff": ["\\ud800"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "Invalid JSON"), ("[]", "schema"), ('{"schema": "other/9"}', "schema"), ('{"passed": 3}', "passed")],
)
def test_other_text_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(DomainError, match=said) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)


def test_read_takes_a_file_or_its_folder(tmp_path: Path, results: Results) -> None:
    file = tmp_path / "results.json"
    file.write_text(to_json(results), encoding="utf-8")
    assert to_json(read(tmp_path)) == to_json(read(file)) == to_json(results)


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
