from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from kernelproof.reports.markdown import code_block, escape, markdown
from kernelproof.verify.record.schema import Results

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@pytest.mark.parametrize(
    "text",
    ["a|b `c`", "**x** _y_ ~~z~~", "<b>&amp;", "[a](b) ![c](d)", "# h", "- x", "1. x", "12) y", "---", "===", "\\|"],
)
def test_escaped_text_renders_as_itself(text: str) -> None:
    rendered = RENDERER.render(f"{escape(text)}\n")
    plain = rendered.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert plain == f"<p>{text}</p>\n"


def test_escaped_numbers_stay_readable() -> None:
    assert [escape(value) for value in (0.5, -2, "1.5 x", "inf")] == ["0.500", "−2", "1.5 x", "inf"]


@pytest.mark.parametrize("text", ["", "a", "```", "x````y\n~~~", "<b>\n\n# h"])
def test_a_code_block_holds_any_text(text: str) -> None:
    rendered = RENDERER.render(code_block(text))
    assert rendered.count("<pre>") == 1
    assert rendered.endswith("</code></pre>\n")


def test_the_report_says_the_same_as_the_page(results: Results) -> None:
    text = markdown(results)
    assert text.startswith("# kernelproof: failed ❌\n")
    assert "1 of 3 targets keeps what it promises. 1 is not available here." in text
    for said in (
        "κ 812",
        "kernelproof verify numba --case 'entmax order=3/2",
        "**Not verified**",
        "the target does not take bfloat16 at order inf",
        "no CUDA device on this machine",
        "| torch.matmul precision | highest |",
        "### How sparse each order is",
    ):
        assert said in text


def test_markup_from_outside_is_text(hostile_results: Results) -> None:
    rendered = RENDERER.render(markdown(hostile_results))
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z0-9]+)", rendered))
    assert tags <= {
        "h1",
        "h2",
        "h3",
        "p",
        "ul",
        "li",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "pre",
        "code",
    }
    assert "<code>" not in rendered
    assert "alert(1)" in rendered


def test_every_table_row_has_the_width_of_its_head(hostile_results: Results) -> None:
    for lines in re.findall(r"(?:^\|.*\n?)+", markdown(hostile_results), flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines.splitlines()}
        assert len(widths) == 1


def test_extreme_and_empty_records_are_markdown(extreme_results: Results, empty_results: Results) -> None:
    assert markdown(extreme_results).startswith("# kernelproof: failed")
    assert "No target was verified." in markdown(empty_results)
