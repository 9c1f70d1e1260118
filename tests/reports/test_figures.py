from __future__ import annotations

import re
import threading
from collections.abc import Callable

import matplotlib as mpl
import pytest

from kernelproof.reports.figures import accuracy_figure, study_figure, study_figures
from kernelproof.reports.svg import COLOR, drawing, svg
from kernelproof.verify.record.schema import Results, Table


def test_figures_are_deterministic_and_leave_no_trace(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    target = results.targets[1]
    first = accuracy_figure(target, "a")
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "path")
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "red")
    before = dict(mpl.rcParams)
    assert accuracy_figure(target, "a") == first
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in str(threading.current_thread())


def test_figures_take_their_colors_from_the_page(results: Results) -> None:
    for drawn in study_figures(results).values():
        assert "var(--ink)" in drawn.svg
        assert not any(color in drawn.svg for color in COLOR.values())
        assert set(re.findall(r"#[0-9a-fA-F]{6}\b", drawn.svg)) <= {"#000000"}
        assert "<text" in drawn.svg


def test_each_study_but_the_table_of_slopes_is_drawn(results: Results) -> None:
    assert set(study_figures(results)) == {"key-norms", "key-norm-term", "sparsity", "softmax-distance"}


def test_identifiers_carry_the_name_of_the_figure(results: Results) -> None:
    drawn = accuracy_figure(results.targets[0], "here")
    assert drawn is not None
    ids = re.findall(r' id="([^"]+)"', drawn.svg)
    assert ids
    assert all(name.startswith("here-") for name in ids)
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', drawn.svg)) == set(ids)


def test_a_target_without_accuracy_has_no_figure(results: Results) -> None:
    assert accuracy_figure(results.targets[2], "a") is None


@pytest.mark.parametrize("columns", [[], ["layer"], ["layer", "order", "mean support"]])
def test_a_study_with_other_columns_is_left_to_its_table(columns: list[str]) -> None:
    study = Table(id="sparsity", title="t", caption="c", columns=columns, rows=[[0, "1"]])
    assert study_figure(study, "a") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0, "text"])
def test_cells_that_cannot_be_drawn_are_left_out(results: Results, value: float | str) -> None:
    for study in results.studies:
        rows = [[row[0], *[value] * (len(row) - 1)] for row in study.rows]
        assert (study_figure(study.model_copy(update={"rows": rows}), "a") is None) == (study.id == "softmax-slopes")


def test_extreme_errors_are_drawn(extreme_results: Results) -> None:
    drawn = accuracy_figure(extreme_results.targets[0], "a")
    assert drawn is not None
    assert "nan" not in drawn.svg.lower()


def test_text_from_outside_is_escaped(make_results: Callable[..., Results], results: Results) -> None:
    rows = [row.model_copy(update={"dtype": "<b>&$x^2$"}) for row in results.targets[0].accuracy]
    target = results.targets[0].model_copy(update={"name": '"><script>', "accuracy": rows})
    drawn = accuracy_figure(make_results(targets=[target]).targets[0], "a")
    assert drawn is not None
    assert "<script" not in drawn.svg
    assert "&lt;b&gt;&amp;$x^2$" in drawn.svg


def test_svg_wants_axes_of_a_figure() -> None:
    with drawing() as axes:
        assert svg(axes, "n", 'a "b"').startswith('<svg viewBox="0 0 ')
        axes.remove()
        with pytest.raises(TypeError, match="must belong to a figure"):
            svg(axes, "n", "a")
