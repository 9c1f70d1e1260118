from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import pytest

from kernelproof.reference.plain_text import clean
from kernelproof.reports.html import ROWS, heat_class, page
from kernelproof.reports.text import number
from kernelproof.verify.record.schema import Coverage, Results

VOID = {"meta"}
PAGE_TAGS = """
    html head meta title style body main header section article footer h1 h2 h3 h4 p span strong b i a dl div dt dd ul
    li details summary pre code figure figcaption table thead tbody tr th td svg g path text use rect defs clippath
"""
TAGS = frozenset(PAGE_TAGS.split())


class Page(HTMLParser):
    """The tags, attributes and text of a page; complains if tags do not nest."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.said: list[str] = []
        self.stack: list[str] = []
        self.feed(source)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.said.append(data)

    @property
    def text(self) -> str:
        """Everything said, on one line."""
        return " ".join(" ".join(self.said).split())


@pytest.fixture(scope="module")
def source(results: Results) -> str:
    return page(results)


@pytest.fixture(scope="module")
def parsed(source: str) -> Page:
    return Page(source)


def assert_self_contained(source: str) -> Page:
    parsed = Page(source)
    assert set(parsed.tags) <= TAGS, set(parsed.tags) - TAGS
    assert len(parsed.ids) == len(set(parsed.ids))
    for name, value in parsed.attributes:
        assert not name.startswith("on")
        assert name not in {"src", "srcset", "action", "formaction", "xlink:href"}
        if name == "href":
            assert value.startswith("#")
            assert value[1:] in parsed.ids
        for target in re.findall(r"url\(([^)]*)\)", value):
            assert target.startswith("#")
            assert target[1:] in parsed.ids
    style = source[source.index("<style>") : source.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    return parsed


def test_the_page_needs_nothing_from_outside(source: str) -> None:
    assert_self_contained(source)
    assert "default-src 'none'" in source
    assert "://" not in source


def test_the_summary_says_what_happened(parsed: Page, clean_results: Results) -> None:
    bad, good = parsed.text, Page(page(clean_results)).text
    assert "✗ Failed 1 of 3 targets keeps what it promises. 1 is not available here." in bad
    assert "✓ Passed The target keeps what it promises." in good
    for said in ("mylib.ops:entmax cpu Accuracy: the weight is NaN where the truth is 0.0625", "no CUDA device here"):
        assert said in bad


def test_every_failure_is_shown_with_its_reproducing_line(results: Results, parsed: Page) -> None:
    for target in results.targets:
        for check in target.checks:
            assert check.title in parsed.text
            for case in check.failures:
                assert case.message in parsed.text
                assert case.reproduce in parsed.said
                assert case.case in parsed.said


def test_coverage_says_what_was_not_tried(results: Results, parsed: Page) -> None:
    text = parsed.text
    for reason in {cell.not_tried for target in results.targets for cell in target.coverage} - {None}:
        assert str(reason) in text
    assert "tried, nothing could be decided" in text


def test_a_cell_costs_few_bytes(results: Results) -> None:
    # A run of the standard suite has 4600 rows of accuracy and 3900 cells of coverage a target, and the page of
    # three is to stay under 1.5 MB: 50 bytes each, with what names the rows.
    target = results.targets[0]
    lone = results.model_copy(update={"targets": [target], "studies": []})
    bare = target.model_copy(update={"accuracy": target.accuracy[:ROWS], "coverage": target.coverage[:1]})
    few = lone.model_copy(update={"targets": [bare]})
    cells = len(target.accuracy) - ROWS + len(target.coverage) - 1
    assert (len(page(lone).encode()) - len(page(few).encode())) / cells < 50


def test_the_worst_rows_are_shown_and_their_number_said(results: Results) -> None:
    target = results.targets[1]
    assert len(target.accuracy) > ROWS
    text = Page(page(results)).text
    assert f"The {ROWS} rows of largest κ, of {number(len(target.accuracy))}" in text
    largest = max(row.ulp_max for row in target.accuracy if row.kappa_max < float("inf"))
    assert " ".join(number(largest).split()) in text
    short = target.model_copy(update={"accuracy": target.accuracy[:ROWS]})
    assert "Every row, with errors" in Page(page(results.model_copy(update={"targets": [short]}))).text


def test_skips_studies_and_environment_are_shown(results: Results, parsed: Page) -> None:
    text = parsed.text
    for said in (*results.skipped, *(study.title for study in results.studies), "torch.matmul precision", "highest"):
        assert said in text


def test_markup_from_outside_is_text(hostile_results: Results) -> None:
    source = page(hostile_results)
    parsed = assert_self_contained(source)
    assert "alert(1)" in parsed.text
    assert "{{ 7*7 }}" in parsed.text
    assert clean(source) == source


def test_extreme_numbers_are_shown(extreme_results: Results) -> None:
    parsed = assert_self_contained(page(extreme_results))
    assert number(extreme_results.targets[0].accuracy[0].kappa_max) in parsed.text


def test_a_run_without_targets_is_a_page(empty_results: Results) -> None:
    assert "Failed No target was verified." in assert_self_contained(page(empty_results)).text


@pytest.mark.parametrize(
    ("cases", "decided", "undecided", "found"),
    [
        (0, 0, 0, "untried"),
        (3, 0, 0, "nothing"),
        (3, 0, 2, "undecided"),
        (3, 1, 2, "h1"),
        (3, 9, 0, "h1"),
        (3, 10, 0, "h2"),
        (3, 999, 0, "h3"),
        (3, 10**9, 0, "h5"),
    ],
)
def test_heat(cases: int, decided: int, undecided: int, found: str) -> None:
    cell = Coverage(
        op="entmax", order="1", dtype="float64", family="ties", cases=cases, decided=decided, undecided=undecided
    )
    assert heat_class(cell) == found
