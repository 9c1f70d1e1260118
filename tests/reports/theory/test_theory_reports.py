"""The reports of the theory are pure functions of the record, safe with any text, and say every verdict."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.reports import theory as reports
from kernelproof.reports.theory.latex import escape, latex
from kernelproof.reports.theory.markdown import markdown
from kernelproof.reports.theory.page import page, picture
from kernelproof.reports.theory.prose import html, pieces
from kernelproof.theory import discovery
from kernelproof.theory.finding import Grid, Verdict
from kernelproof.theory.results import TheoryResults
from kernelproof.theory.verdicts import judge


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)


def test_the_page_has_every_claim_and_no_script(results: TheoryResults) -> None:
    text = page(results)
    tags = Tags()
    tags.feed(text)
    assert "script" not in tags.names
    assert tags.names.count("article") == len(results.claims)
    assert "math" in tags.names
    for verdict in Verdict:
        assert verdict.value in text
    assert "//" not in re.sub(r"xmlns(:xlink)?=\"[^\"]*\"", "", text), "the page opens offline"
    assert "\x1b" not in text


def test_a_run_is_a_few_lines_for_a_reader(results: TheoryResults) -> None:
    lines = repr(results).splitlines()
    assert lines[0].startswith("<kernelproof theory: FAILED in 2 s: ")
    first = next(each for each in results.claims if not each.passes)
    assert lines[1].split()[1] == f"verdict={first.verdict.value}"
    assert "<script" not in results._repr_html_() and "<td>hostile</td>" in results._repr_html_()


def test_the_failing_are_open(results: TheoryResults) -> None:
    text = page(results)
    for verdict, opened in ((Verdict.PROVED, False), (Verdict.REFUTED, True), (Verdict.UNDECIDED, True)):
        article = text[text.index(f'id="{verdict.value.lower()}"') :].split("</article>")[0]
        assert ("<details open>" in article) is opened


def test_what_no_machine_checks_is_shown(results: TheoryResults) -> None:
    for text in (page(results), markdown(results), latex(results)):
        assert "the words of derived" in text
        assert "What no machine checks" in text
        assert "1 derived" in text, "it is counted apart"
    assert "a reason of its own" in page(results) and "a reason of its own" in markdown(results)
    assert "n in (0, ∞)" in page(results), "the domain as the program saw it"


def test_prose_is_cut_at_its_mathematics() -> None:
    text = r"cost \$3 for $x$ and \[y\] end"
    assert [piece.kind for piece in pieces(text)] == ["text", "inline", "text", "display", "text"]
    assert "".join(piece.body for piece in pieces(text)) == r"cost \$3 for x and y end"


def test_a_formula_that_is_no_latex_is_shown_as_written() -> None:
    assert html(r"$\frac{$ & <b>") == r"<code>\frac{</code> &amp; &lt;b&gt;"


def test_mathematics_cannot_bring_markup() -> None:
    assert "<script" not in html(r"$<script>alert(1)</script>$ $\text{<script>}$ $\class{x}{<img src=x>}$")
    assert "<img" not in html(r"$\text{<img src=x>}$")


def test_markdown_keeps_mathematics_and_escapes_text(results: TheoryResults) -> None:
    text = markdown(results)
    assert r"$\frac{1}{n} \le 1$" in text
    assert "<script" not in text.replace(r"\<", "")
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(heads) == len(results.claims)
    for line in text.splitlines():
        if line.startswith("| only"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 7, line


def test_latex_is_a_document_with_every_claim(results: TheoryResults) -> None:
    text = latex(results)
    assert text.startswith("\\documentclass")
    assert text.count("\\hline") == 2 + len(results.claims)
    assert text.endswith("\\end{document}\n")
    assert r"\textbf{refuted}" in text
    assert "\\textbf{proved}" in text


def test_latex_is_ascii_for_every_claim_of_the_package() -> None:
    for name in discovery.built_in():
        claim = discovery.claim(name)
        texts = [claim.title, claim.source, claim.why_not_more, claim.statement]
        texts += [check.says for check in claim.checks] + [each.text for each in (*claim.assumptions,)]
        for text in texts:
            plain = "".join(escape(piece.body) if piece.kind == "text" else piece.body for piece in pieces(text))
            assert "U+" not in plain, (name, text)
            assert plain.isascii() or re.sub(r"[À-ÿ]", "", plain).isascii(), (name, plain)


def test_every_formula_of_the_package_is_typeset() -> None:
    for name in discovery.built_in():
        claim = discovery.claim(name)
        texts = [claim.statement, claim.why_not_more, *(check.says for check in claim.checks)]
        texts += [f"${each.symbol}$ {each.meaning}" for each in claim.variables]
        texts += [each.text for each in claim.assumptions]
        assert [text for text in texts if "<code>" in html(text)] == [], name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 50 % {x} #1 ~ ^ \\", r"a\_b \& 50 \% \{x\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}"),
        ("λ ≤ Λ", r"$\lambda$ $\le$ $\Lambda$"),
        ("x₁⁰", r"x${}_{1}$${}^{0}$"),
        ("漢", r"\texttt{U+6F22}"),
    ],
)
def test_text_becomes_latex(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_everything_is_a_function_of_the_json(results: TheoryResults, tmp_path: Path) -> None:
    reports.write(results, tmp_path / "out")
    kept = reports.read(tmp_path / "out")
    assert kept == results
    assert reports.render(kept) == {name: (tmp_path / "out" / name).read_text("utf-8") for name in reports.FILES}


def test_a_record_of_another_kind_is_told(tmp_path: Path) -> None:
    (tmp_path / "theory.json").write_text("{}")
    with pytest.raises(DomainError, match="Field required"):
        reports.read(tmp_path)
    with pytest.raises(DomainError, match="No such file"):
        reports.read(tmp_path / "none")


def test_a_picture_needs_numbers() -> None:
    rows: list[list[float | int | str]] = [[1, 2.0], [2, 3.0], [3, 5.0]]
    assert picture(Grid(title="t", columns=["x", "y"], rows=rows), "a") is not None
    assert picture(Grid(title="t", columns=["x", "y"], rows=rows[:2]), "a") is None
    assert picture(Grid(title="t", columns=["x", "y"], rows=[*rows[:2], [3, "none"]]), "a") is None


def test_latex_comes_out_the_same_whatever_the_clock_says(results: TheoryResults) -> None:
    later = results.model_copy(update={"started": "2030-01-01T00:00:00+00:00", "seconds": 99.0})
    assert latex(later) == latex(results)


def test_a_real_claim_is_rendered_everywhere() -> None:
    found = judge(discovery.claim("normalized_relu"))
    record = TheoryResults(
        passed=True, command="", precision=192, seed=0, started="", seconds=0.0, environment={}, claims=[found]
    )
    for name, text in reports.render(record).items():
        assert "DERIVED" in text or "derived" in text, name
        assert found.argument.split(":")[0] in text.replace("$", "") or name == "theory.tex", name
