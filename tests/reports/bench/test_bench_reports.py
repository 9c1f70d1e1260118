"""Reports of benchmarks: pure functions of the record, safe, and the README's table is that of the kept run."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.reports.bench.synthetic import HOSTILE, results

from kernelproof.reference.errors import DomainError
from kernelproof.reports import bench as reports
from kernelproof.reports.bench import pictures, readme, words
from kernelproof.reports.bench.markdown import markdown, short_table
from kernelproof.reports.bench.page import page
from kernelproof.verify.bench.bench_record import FigureState


def test_the_json_comes_back_the_same() -> None:
    record = results()
    text = reports.BENCHMARKS.text_of(record)
    assert reports.BENCHMARKS.record_of(text) == record
    assert reports.BENCHMARKS.text_of(reports.BENCHMARKS.record_of(text)) == text
    with pytest.raises(DomainError, match="the benchmarks must follow the schema 'kernelproof-bench/1'; at families"):
        reports.BENCHMARKS.record_of(text.replace('"families"', '"familes"', 1))
    with pytest.raises(DomainError, match="at the text itself"):
        reports.BENCHMARKS.record_of("no json")


def test_all_files_are_made_and_read_again(tmp_path: Path) -> None:
    reports.write(results(), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["bench.json", "bench.md", "f_cost-rows.svg", "index.html", "overview.svg"]
    assert reports.read(tmp_path / "out") == reports.read(tmp_path / "out" / "bench.json") == results()
    with pytest.raises(DomainError, match=r"benchmarks must be a readable bench\.json"):
        reports.read(tmp_path / "nothing")


def test_rendering_is_deterministic() -> None:
    assert reports.render(results()) == reports.render(results())


def test_a_run_is_a_few_lines_for_a_reader() -> None:
    found = results()
    lines = repr(found).splitlines()
    assert lines[0].startswith("<kernelproof bench: a whole run of ")
    assert len(lines) == 1 + len(found.families)


def test_counts_and_lede() -> None:
    found = words.counts(results())
    assert (
        found[FigureState.MET],
        found[FigureState.MISSED],
        found[FigureState.WRONG],
        found[FigureState.UNAVAILABLE],
    ) == (4, 2, 1, 1)
    told = words.lede(results())
    assert told.startswith("4 of 7 goals are met, 1 have wrong outputs, 1 could not be measured here.")
    assert "quick run" not in told
    assert "quick run" in words.lede(results(quick=True))


def test_the_row_of_a_claim_tells_its_range_and_its_worst() -> None:
    met, missed, never, absent = (words.row(claim) for claim in results().families[0].claims)
    assert (met.goal, met.measured, met.met, met.state) == ("≤ 2.00×", "1.00 to 1.50×", "2 of 2", FigureState.MET)
    assert met.worst == "order 2, 4 × 8: 1.50× (1.12 to 2.25)"
    assert (missed.measured, missed.met, missed.state) == ("40.0 to 10.0× faster", "1 of 2", FigureState.MISSED)
    assert missed.worst.startswith("order 2,")
    assert (never.measured, never.met, never.state) == ("1.00×", "1 of 2", FigureState.MISSED)
    assert (absent.measured, absent.met, absent.state) == ("not measured", "0 of 1", FigureState.UNAVAILABLE)


def test_a_wrong_claim_is_wrong_whatever_else_it_is() -> None:
    claim = results().families[0].claims[1]
    worse = claim.model_copy(update={"figures": [*claim.figures, results().families[1].claims[0].figures[0]]})
    assert words.state_of(worse) is FigureState.WRONG


def test_notes_stand_where_a_goal_is_missed_and_only_there() -> None:
    for text in (markdown(results()), page(results())):
        assert text.count("what was tried") == 1
        assert text.count("what is in the way") == 1
        assert "3.00 times off" in text
        assert "ours: no answer in 20 s" in text
        assert "None of the 1 figures could be measured: not installed." in text


def test_foreign_text_is_escaped() -> None:
    text = page(results())
    assert "<script" not in text
    assert "\x1b" not in text
    assert r"\x1b[31m" in text
    table = short_table(results())
    assert HOSTILE.split("|", maxsplit=1)[0] + r"\|" in table
    assert "\x1b" not in table


def test_the_page_is_whole_and_alone() -> None:
    text = page(results())
    assert "4 of 7 goals met" in text
    assert text.count("<svg") == 2
    assert "http" not in text.replace("http-equiv", "")
    for tag in ("section", "table", "figure", "article", "dl"):
        assert text.count(f"<{tag}") == text.count(f"</{tag}>"), tag
    assert 'href="#f-missed"' in text
    assert 'id="f-missed"' in text
    assert "1.00 MiB" in text


def test_pictures_are_files_of_their_own() -> None:
    found = pictures.alone(results())
    assert sorted(found) == ["f_cost-rows", "overview"]
    for text in found.values():
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 (our own text)
        assert "--ink:" in text
        assert "prefers-color-scheme: dark" in text
    assert "1.02 (0.98 to 1.06)" in found["f_cost-rows"]
    assert "gone" not in found["f_cost-rows"]


def test_nothing_measured_has_no_pictures_and_a_page_all_the_same() -> None:
    empty = results().model_copy(update={"families": results().families[:0], "pictures": []})
    assert pictures.alone(empty) == {}
    assert "0 of 0 goals met" in page(empty)


MARKED = f"# Title\n\n{readme.BEGIN}\nold\n{readme.END}\n\nrest\n"


def test_the_table_goes_between_the_markers(tmp_path: Path) -> None:
    found = readme.with_table(MARKED, results())
    assert found.startswith("# Title\n")
    assert found.endswith("\n\nrest\n")
    assert "old" not in found
    assert "A processor, 2 cores, torch 2.13.0, 2026-01-02" in found
    assert readme.with_table(found, results()) == found
    (tmp_path / "README.md").write_text(MARKED, encoding="utf-8")
    readme.update(tmp_path / "README.md", results())
    assert (tmp_path / "README.md").read_text("utf-8") == found
    with pytest.raises(DomainError, match="the README must be a text"):
        readme.update(tmp_path / "none.md", results())


@pytest.mark.parametrize("text", ["", readme.BEGIN, readme.END + readme.BEGIN, MARKED + MARKED])
def test_markers_must_be_there_once_and_in_order(text: str) -> None:
    with pytest.raises(DomainError, match="the README must have the lines"):
        readme.with_table(text, results())
