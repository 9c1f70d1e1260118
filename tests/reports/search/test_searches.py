"""The pages of fuzz and worst: all that was found is there, and nothing from outside is markup."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest

from kernelproof.reports.search.coverage import families_tried, tried
from kernelproof.reports.search.fuzz import FUZZ_FILES, render_fuzz
from kernelproof.reports.search.pages import fuzz_page, worst_case_page
from kernelproof.reports.search.worst_case import WORST_FILES, render_worst_case
from kernelproof.verify.fuzz.fuzz_record import AlsoSeen, CoverageCell, FuzzFinding, FuzzResults
from kernelproof.verify.fuzz.worst_case_record import ExactArray, Extreme, WorstCaseResults, WorstCaseRow

EVIL = "<script>alert(1)</script>\x1b[31m"
CASE = "entmax order=2 rule=adaptive:1 dtype=float32 family=ties shape=4x8 feature=3 seed=5"


class Page(HTMLParser):
    """The tags, links and text of a page; complains if tags do not nest."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.said: list[str] = []
        self.stack: list[str] = []
        self.feed(source)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        held = {name: value or "" for name, value in attrs}
        assert not {"src", "style"} & set(held)
        assert not any(name.startswith("on") for name in held)
        self.ids += [held["id"]] if "id" in held else []
        self.links += [held["href"]] if "href" in held else []
        if tag != "meta":
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.said.append(data)

    @property
    def text(self) -> str:
        """Everything said, on one line."""
        return " ".join(" ".join(self.said).split())


def parsed(source: str) -> Page:
    """`source`, which opens offline."""
    page = Page(source)
    assert "script" not in page.tags
    assert "default-src 'none'" in source
    assert "://" not in source
    assert "\x1b" not in source
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    return page


def finding(check: str, **changed: object) -> FuzzFinding:
    held: dict[str, object] = {
        "op": "entmax",
        "check": check,
        "kind": "value",
        "order": "2",
        "dtype": "float32",
        "message": f"output[0, 0] is wrong {EVIL}",
        "kappa": math.inf,
        "recipe": CASE,
        "small_recipe": CASE.replace("4x8", "1x2"),
        "witness": {"z": [0.0, math.nan], "mask": [True, False]},
        "script": "import sys\nsys.exit(1 if 2 > 1 else 0)\n",
        "also": [AlsoSeen(order=each, dtype="float32", count=3, case=CASE) for each in ("2", "inf")],
        "examples": 7,
        "seconds": 1.5,
        "judged": 20,
        "shrunk": True,
        "confirmed": True,
    }
    return FuzzFinding.model_validate(held | changed)


def cell(family: str, rows: int, order: str = "2", op: str = "entmax") -> CoverageCell:
    return CoverageCell(
        op=op, order=order, dtype="float32", family=family, examples=2, rows=rows, decided=9, undecided=1, kappa=0.5
    )


def fuzzed(*findings: FuzzFinding, coverage: tuple[CoverageCell, ...] = (), replayed: int = 0) -> FuzzResults:
    return FuzzResults(
        passed=not findings and bool(coverage),
        target=f"mine.py:f{EVIL}",
        device="cpu",
        seed=3,
        command="kernelproof fuzz mine.py:f --examples 10 --seed 3",
        started="2026-01-01T00:00:00+00:00",
        seconds=2.0,
        examples=10,
        rows=sum(each.rows for each in coverage),
        cpu_seconds=1.0,
        rows_per_second=1234.0,
        deaths=0,
        replayed=replayed,
        mended=min(replayed, 1),
        environment={"cpu": {"cores": 2}},
        notes=[f"left out after 3 deaths {EVIL}"],
        findings=list(findings),
        coverage=list(coverage),
    )


def test_a_finding_is_there_with_witness_script_and_how_to_see_it_again() -> None:
    found = fuzzed(finding("accuracy"), finding("simplex", confirmed=False, script=""), coverage=(cell("ties", 64),))
    brief = repr(found)
    assert brief.startswith("<kernelproof fuzz: mine.py:f") and "2 found in 2 s" in brief
    assert len(brief.splitlines()) == 3 and "<script" not in found._repr_html_()
    files = render_fuzz(found)
    assert tuple(files) == FUZZ_FILES
    page = parsed(files["index.html"])
    for said in (
        "2 found",
        "<script>alert(1)</script>\\x1b[31m",
        "[0.0, NaN]",
        "sys.exit(1 if 2 > 1 else 0)",
        CASE,
        "did NOT fail again",
        "It failed at 2 orders and dtypes",
        "kernelproof fuzz mine.py:f --examples 10 --seed 3",
        "says nothing of the target's speed",
        "left out after 3 deaths",
        "cpu.cores",
    ):
        assert said in page.text, said
    assert page.text.count("As a script that runs as pasted") == 1
    assert "tries them first the next time. " in page.text
    assert "In this run it tried" not in page.text


@pytest.mark.parametrize(
    ("results", "said"),
    [(fuzzed(coverage=(cell("ties", 5),), replayed=2), "✓ Nothing found"), (fuzzed(), "? Nothing decided")],
)
def test_what_was_not_found_is_said_as_what_it_is(results: FuzzResults, said: str) -> None:
    page = parsed(fuzz_page(results))
    assert said in " ".join(page.text.split())
    assert "findings" not in page.ids
    assert ("In this run it tried 2, of which 1 no longer fail." in page.text) == bool(results.replayed)


def test_what_was_tried_is_summed_by_family_and_by_order() -> None:
    cells = [cell("ties", 5), cell("random", 7), cell("ties", 2, "3"), cell("ties", 11, op="weights")]
    grid = families_tried(cells)
    assert grid.families == ["random", "ties"]
    assert grid.rows == [("entmax", [7, 7]), ("weights", [0, 11])]
    first, second, third = tried(cells)
    assert (first.order, first.families, first.examples, first.rows, first.decided) == ("2", 2, 4, 12, 18)
    assert (second.order, second.rows, third.op, third.rows) == ("3", 2, "weights", 11)


def test_the_page_of_the_largest_errors_has_the_table_its_grades_and_every_line() -> None:
    number = ExactArray(shape=[1, 2], bits=["0x0.0p+0", "0x1.0p+0"], shown=["0.0", "1.0"])
    extremes = [Extreme(error=error, inputs={"scores": number}) for error in (0.25, 40.0, math.nan)]
    table = [
        WorstCaseRow(
            op="weights",
            rule=f"fixed:{at}",
            order="inf",
            dtype=dtype,
            rows=9,
            every="",
            ulp=each,
            kappa=each,
            note=EVIL,
        )
        for at, (each, dtype) in enumerate(zip(extremes, ("float64", "float32", "float16"), strict=True))
    ]
    results = WorstCaseResults(
        passed=False,
        target=f"mine.py:f{EVIL}",
        device="cpu",
        promised="B",
        seed=0,
        command="kernelproof worst-case mine.py:f",
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        rows=27,
        deaths=0,
        environment={},
        left_out=["orders 3, 8"],
        table=table,
    )
    brief = repr(results)
    assert (
        brief.startswith("<kernelproof worst-case: mine.py:f") and "NOT within the promised grade B, 27 rows" in brief
    )
    assert len(brief.splitlines()) == 4 and "<script" not in results._repr_html_()
    files = render_worst_case(results)
    assert tuple(files) == WORST_FILES
    assert files["index.html"] == worst_case_page(WorstCaseResults.model_validate_json(files["worst-case.json"]))
    page = parsed(files["index.html"])
    for said in (
        "Not within grade B",
        "weights ∞ 0.250 0.250",
        "40.0 40.0 ✗",
        "NaN NaN ✗",
        "orders 3, 8",
        "weights, fixed",
    ):
        assert said in page.text, said
    for grade, rule in (("a", "fixed:0"), ("c", "fixed:1"), ("f", "fixed:2")):
        assert f'<td class="g-{grade}" title="{rule}">' in files["index.html"]
