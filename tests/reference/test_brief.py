"""Results in a few lines: in a repr, and as HTML in which nothing from outside is markup."""

from __future__ import annotations

import numpy as np
import pytest

from kernelproof import reference, variant
from kernelproof.api import verify
from kernelproof.reference import Adaptive, Kernel
from kernelproof.reference.brief import LINES, Brief, HasBrief


class Held(HasBrief):
    def __init__(self, brief: Brief) -> None:
        self.held = brief

    def brief(self) -> Brief:
        return self.held


def test_a_repr_has_a_title_and_a_line_for_each_entry() -> None:
    found = Held(Brief("a run: passed", ("target", "grade"), [("one", "A"), ("two", "B")]))
    assert repr(found) == str(found) == "<a run: passed>\n  target=one grade=A\n  target=two grade=B"


def test_what_is_left_out_is_counted() -> None:
    found = Held(Brief("a run", ("n",), [(str(number),) for number in range(LINES + 3)]))
    assert repr(found).splitlines()[-1] == "  and 3 more"
    assert found._repr_html_().count("<td>") == LINES
    assert "<p>and 3 more</p>" in found._repr_html_()


def test_html_escapes_everything_and_a_line_stays_one() -> None:
    bad = "<script>alert('x')</script>&\n\x1b[31m"
    found = Held(Brief(bad, (bad,), [(bad,)]))
    html = found._repr_html_()
    assert "<script>" not in html and "\x1b" not in html
    assert html.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;") == 3
    assert len(repr(found).splitlines()) == 2 and "\x1b" not in repr(found)


def test_a_target_of_a_run_is_brief_too() -> None:
    line = "entmax order=2 rule=adaptive:1 dtype=float64 family=random shape=1x8 feature=1 seed=0"
    (target,) = verify("numpy", case=line, serial=True, cache=False).targets
    text = repr(target)
    assert text.startswith("<numpy on cpu: PASS, grade A, promised A>")
    assert len(text.splitlines()) == LINES + 2
    assert "<table>" in target._repr_html_()


def test_without_lines_there_is_no_table() -> None:
    assert Held(Brief("nothing"))._repr_html_() == "<div><p><b>nothing</b></p></div>"


@pytest.mark.parametrize("rows", [1, 3000])
def test_what_is_proved_reads_in_a_few_lines(rows: int) -> None:
    z = np.zeros((rows, 3)) + np.array([0.0, 2.0, 1.0])
    found = reference.weights(z, Kernel(2), Adaptive())
    text = repr(found)
    assert len(text) < 400 and len(text.splitlines()) <= 5
    assert not any(word in text for word in ("<function", "lambda", "partial", "Block", "object at"))
    assert f"weights=Enclosure(shape=({rows}, 3), proved" in text
    assert "support: 2 of 3 keys per row" in text
    assert ("[[0, 0.830719, 0.169281]]" in text) == (rows == 1)


def test_an_enclosure_says_its_numbers_and_whether_they_are_proved() -> None:
    row = [0.0, 2.0, 1.0]
    assert repr(reference.entmax(row, order=2).weights) == "Enclosure(shape=(3,), proved, [0, 0.830719, 0.169281])"
    second = reference.entmax(row, order=2, arithmetic="mpmath").weights
    assert repr(second) == "Enclosure(shape=(3,), not proved, [0, 0.830719, 0.169281])"
    assert repr(reference.entmax_vjp(row, [0.0, 0.0, 0.0], order=2)["order"]) == "Enclosure(shape=(), proved, 0)"
    assert repr(reference.entmax(np.zeros((0, 3))).weights) == "Enclosure(shape=(0, 3), proved, [])"


def test_a_variant_is_one_line() -> None:
    own = variant.Variant(
        "own", lambda x, t: x.cos(x.pi * t / 2) ** 2, variant.Constant(), order=2, parameters={"gamma": 2}
    )
    assert repr(own) == "Variant('own', order=2, edge=1, Constant, gamma=2)"
