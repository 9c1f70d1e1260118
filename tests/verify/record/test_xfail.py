"""Expected failures: matched by their filters, shown with their reasons, and no excuse for what passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.meta.planting import loaded_here

from kernelproof.api import verify
from kernelproof.reference.errors import DomainError
from kernelproof.reports.html import page
from kernelproof.reports.junit import junit
from kernelproof.reports.markdown import markdown
from kernelproof.verify.record.schema import Results, Verdict
from kernelproof.verify.record.xfail import read

SOURCE = """
import numpy as np

def right(z, order=None):
    with np.errstate(all="ignore"):
        wide = z.astype(np.float64)
        e = np.exp(wide - wide.max(axis=-1, keepdims=True, initial=-np.inf))
        return (e / e.sum(axis=-1, keepdims=True)).astype(z.dtype)

def scaled(z, order=None):
    return right(z) * 1.125
"""
LINE = "entmax order=inf rule=adaptive:1 dtype=float64 family=ties shape=2x7 feature=1 seed=0"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE, encoding="utf-8")
    with loaded_here(tmp_path):
        yield path


def run(file: Path, name: str, text: str) -> Results:
    known = file.with_name("known.toml")
    known.write_text(text, encoding="utf-8")
    return verify(f"{file}:{name}", case=LINE, serial=True, xfail=known)


def entry(**keys: str) -> str:
    return "\n".join(["[[xfail]]", *(f'{key} = "{value}"' for key, value in keys.items()), ""])


ALL = entry(target="scaled", check="[!g]*", reason="the sum is off by an eighth")


def verdicts(results: Results) -> dict[str, Verdict]:
    return {check.id: check.verdict for check in results.targets[0].checks}


def test_a_known_failure_fails_no_run_and_is_shown(file: Path) -> None:
    assert not verify(f"{file}:scaled", case=LINE, serial=True).passed
    results = run(file, "scaled", ALL)
    (target,) = results.targets
    assert results.passed
    assert target.verdict is Verdict.XFAIL
    assert target.grade == "F"
    found = {check.id: check for check in target.checks}
    assert found["simplex"].verdict is Verdict.XFAIL
    assert found["simplex"].expected == found["simplex"].failed > 0
    assert found["simplex"].reasons == ["the sum is off by an eighth"]
    assert found["determinism"].verdict is Verdict.PASS
    for text in (markdown(results), page(results), junit(results)):
        assert "the sum is off by an eighth" in text
        assert "XFAIL" in text
    suite = ET.fromstring(junit(results))  # noqa: S314 (our own text)
    assert suite.get("failures") == "0"


def test_only_what_the_filters_match_is_excused(file: Path) -> None:
    results = run(file, "scaled", entry(check="simplex", reason="known"))
    assert not results.passed
    assert verdicts(results)["simplex"] is Verdict.XFAIL
    assert verdicts(results)["accuracy"] is Verdict.FAIL
    assert results.targets[0].verdict is Verdict.FAIL
    for other in (entry(dtype="float32", reason="x"), entry(order="2", reason="x"), entry(target="other", reason="x")):
        assert verdicts(run(file, "scaled", other))["simplex"] is Verdict.FAIL


def test_a_case_and_every_filter(file: Path) -> None:
    told = entry(case=LINE, check="*", target="*:scaled", reason="known")
    assert run(file, "scaled", told).passed
    told = entry(op="entmax", order="inf", dtype="float64", family="ti*", device="cpu", reason="known")
    assert run(file, "scaled", told).passed


def test_a_failure_that_does_not_come_fails(file: Path) -> None:
    results = run(file, "right", entry(check="simplex", reason="it used to fail"))
    assert not results.passed
    assert verdicts(results)["simplex"] is Verdict.XPASS
    assert results.targets[0].verdict is Verdict.XPASS
    for text in (markdown(results), page(results), junit(results)):
        assert "it used to fail" in text
        assert "XPASS" in text
    assert int(ET.fromstring(junit(results)).get("failures") or 0) == 1  # noqa: S314 (our own text)


def test_of_an_entry_one_case_must_fail_and_not_each(file: Path) -> None:
    # Determinism passes, and the entry is about it too.
    assert run(file, "scaled", entry(target="scaled", reason="known")).passed


def test_an_entry_about_nothing_is_said(file: Path) -> None:
    results = run(file, "right", entry(check="nothing", reason="gone"))
    assert results.passed
    assert any("matches nothing that was tried: gone" in line for line in results.skipped)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("not toml [", "cannot be read"),
        ("", "entries"),
        ("other = 1", "entries"),
        (entry(check="simplex"), "reason"),
        (entry(reason="x"), "what fails"),
        (entry(checks="simplex", reason="x"), "'checks'"),
        (entry(check="simplex", reason=" "), "reason"),
        (entry(case="entmax", reason="x"), "a case is a line"),
        (entry(case=LINE, op="entmax", reason="x"), "drop them"),
        ("[[xfail]]\ncheck = 3\nreason = 'x'", "must be a text"),
    ],
)
def test_bad_files(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DomainError, match=word) as caught:
        read(path)
    assert "\n" not in str(caught.value).split("cannot be read")[0]
    with pytest.raises(DomainError, match="cannot be read"):
        read(tmp_path / "missing.toml")
