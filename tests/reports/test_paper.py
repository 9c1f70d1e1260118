"""Figures of a paper: formats, widths, fonts and bytes; tables and captions that say the numbers."""

from __future__ import annotations

import csv
import re
from fractions import Fraction as F
from typing import Any

import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.reports import paper
from kernelproof.reports.paper import captions, tables
from kernelproof.reports.paper.files import saved
from kernelproof.reports.paper.record import ConvergenceResults, study_passed
from kernelproof.reports.paper.style import COLORS, DASHES, MARKERS, Look
from kernelproof.theory.convergence.curves import study
from kernelproof.theory.convergence.pictures import PICTURES
from kernelproof.theory.convergence.records import CurveState
from kernelproof.theory.convergence.studies import STUDIES
from kernelproof.verify.studies.convergence import study as backend_study
from kernelproof.verify.targets.target import describe, find
from kernelproof.verify.workers.runner import runner

ORDERS = tuple(F(2) ** k for k in range(-1, 21))


@pytest.fixture(scope="module")
def results() -> ConvergenceResults:
    targets = describe(find("numpy"))
    assert not isinstance(targets, str)
    with runner(serial=True) as work:
        backends = backend_study(work, targets, ORDERS, 0)
    return ConvergenceResults(
        passed=True,
        seed=0,
        orders=[str(order) for order in ORDERS],
        style="single-column",
        venue="icml",
        environment={},
        studies=[study(slug, ORDERS, 0) for slug in ("weights-adaptive", "weights-fixed", "bandwidth")],
        backends=backends,
        pictures=[
            PICTURES[slug].record(0) for slug in ("kernels", "two-logits", "lorenz", "support", "attention-maps")
        ],
    )


@pytest.fixture(scope="module")
def files(results: ConvergenceResults) -> dict[str, bytes]:
    return paper.render(results)


def test_a_run_is_a_few_lines_for_a_reader(results: ConvergenceResults) -> None:
    lines = repr(results).splitlines()
    assert lines[0].startswith("<kernelproof converge: ")
    assert [line.split()[0] for line in lines[1:]][: len(results.studies)] == [
        f"study={each.slug}" for each in results.studies
    ]


def test_every_figure_has_every_file(results: ConvergenceResults, files: dict[str, bytes]) -> None:
    for slug in results.slugs:
        wanted = [
            f"{slug}{ending}" for ending in (".pdf", ".pgf", ".svg", ".png", ".csv", "-caption.tex", "-caption.txt")
        ]
        assert [name for name in wanted if name not in files] == []
    assert set(files) <= set(paper.names(results.slugs))
    assert {"converge.json", "index.html", "backends-table.tex"} <= set(files)


def test_the_same_results_give_the_same_bytes(files: dict[str, bytes]) -> None:
    again = paper.render(ConvergenceResults.model_validate_json(files["converge.json"]))
    assert [name for name in files if files[name] != again[name]] == []


def test_a_pdf_embeds_its_fonts_as_type_42_and_has_no_date(files: dict[str, bytes]) -> None:
    pdf = files["bandwidth.pdf"]
    assert b"/Type3" not in pdf
    assert b"/FontFile2" in pdf
    assert b"Date" not in pdf
    assert b"<dc:date>" not in files["bandwidth.svg"]


@pytest.mark.parametrize(
    ("style", "venue", "width"),
    [
        ("single-column", "icml", 3.25),
        ("double-column", "icml", 6.75),
        ("single-column", "neurips", 5.5),
        ("double-column", "neurips", 5.5),
        ("single-column", "jmlr", 6.0),
    ],
)
def test_figures_have_the_width_of_the_column(
    results: ConvergenceResults, style: str, venue: str, width: float
) -> None:
    chosen = results.model_copy(update={"style": style, "venue": venue})
    drawn = paper.render_figure(chosen, "bandwidth")
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", drawn["bandwidth.pdf"])
    assert box is not None
    assert float(box[1]) == 72 * width
    size = re.search(rb"fontsize\{([\d.]+)\}", drawn["bandwidth.pgf"])
    assert size is not None
    assert float(size[1]) == (8 if venue == "icml" else 9)


def test_pgf_stands_alone(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        if name.endswith(".pgf"):
            text = content.decode("utf-8")
            assert text.count(r"\begin{pgfscope}") == text.count(r"\end{pgfscope}")
            assert text.count(r"\begin{pgfpicture}") == text.count(r"\end{pgfpicture}") == 1
            assert r"\includegraphics" not in text
            assert r"\providecommand{\mathdefault}" in text
            # What is not ASCII needs a package for each letter; U+2212 becomes mathematics.
            assert text.isascii()


def test_pgf_escapes_what_latex_reads_as_its_own() -> None:
    from matplotlib.figure import Figure

    with Look().applied():
        figure = Figure()
        figure.text(0.5, 0.5, r"my_lib & 5 % of $p_1$")
        text = saved(figure, "one")["one.pgf"].decode("utf-8")
    assert r"my\_lib \& 5 \% of $p_1$" in text


def test_pgf_needs_no_latex(monkeypatch: pytest.MonkeyPatch, results: ConvergenceResults) -> None:
    from matplotlib.backends import backend_pgf

    def refuse(*_: Any) -> Any:
        pytest.fail("LaTeX was asked for")

    monkeypatch.setattr(backend_pgf.LatexManager, "_get_cached_or_new", refuse)
    monkeypatch.setenv("PATH", "")
    assert "bandwidth.pgf" in paper.render_figure(results, "bandwidth")


def test_a_style_or_venue_that_is_unknown_is_told() -> None:
    with pytest.raises(DomainError, match="style must be one of single-column, double-column, slides; got 'poster'"):
        Look("poster")
    with pytest.raises(DomainError, match="venue must be one of neurips, icml, jmlr; got 'nature'"):
        Look("single-column", "nature")


def test_series_differ_without_colour() -> None:
    assert len(set(COLORS)) == len(COLORS)
    assert len({(MARKERS[at % len(MARKERS)], str(DASHES[at % len(DASHES)])) for at in range(7)}) == 7


def test_the_users_settings_are_left_alone() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with Look().applied():
        assert mpl.rcParams["pdf.fonttype"] == 42
    assert dict(mpl.rcParams) == before


def test_csv_holds_the_enclosures(results: ConvergenceResults, files: dict[str, bytes]) -> None:
    rows = list(csv.DictReader(files["weights-adaptive.csv"].decode().splitlines()))
    assert tuple(rows[0]) == tables.STUDY_COLUMNS
    assert len(rows) == sum(len(curve.points) for curve in results.studies[0].curves)
    for line in rows:
        assert F(line["error_lo"]) <= F(line["error_hi"])
    backend_rows = list(csv.DictReader(files["backends.csv"].decode().splitlines()))
    assert {line["target"] for line in backend_rows} == {"truth", "numpy"}


def test_tables_say_what_was_judged_and_what_was_not(files: dict[str, bytes]) -> None:
    text = files["weights-adaptive-table.tex"].decode()
    assert r"ties & TV & \multicolumn{7}{l}{all logits are equal} \\" in text
    assert "toprule" not in text
    columns = text.splitlines()[0].split("{")[-1].rstrip("}")
    for line in text.splitlines():
        if line.endswith(r"\\") and "multicolumn" not in line:
            assert line.count("&") == len(columns) - 1
    assert re.search(r"random 1 & KL .*\$-1\.99\d+\$|random 1 & KL .*\$-2\.00\d+\$", text)


def test_captions_say_the_numbers_and_which_first_coefficient_is_0(results: ConvergenceResults) -> None:
    caption = captions.study_caption(results.studies[0])
    assert "Not judged is ``ties'': all logits are equal" in caption
    assert r"TV: for every real $n\ge4096$ the error is proved to be $c\,n^{-1}(1+r)$ with $|r|\le C/n$" in caption
    assert re.search(r"with local slopes \$-1\.000\d\$ to \$-(1\.0000|0\.999\d)\$", caption)
    assert "for every real n≥4096 the error is proved to be c n^−1(1+r) with |r|≤C/n, C≤" in captions.plain(caption)
    assert caption.count("{") == caption.count("}")
    assert caption.count("$") % 2 == 0
    assert "ball is empty for" in captions.study_caption(results.studies[1])
    for slug, text in captions_of(results).items():
        assert not re.search(r"[\\${}]", captions.plain(text)), slug


def captions_of(results: ConvergenceResults) -> dict[str, str]:
    from kernelproof.reports.paper.page import captions as all_captions

    every = [study(slug, (F(1), F(2)), 0) for slug in STUDIES]
    return {**all_captions(results), **{one.slug: captions.study_caption(one) for one in every}}


def test_the_page_shows_every_figure_and_links_only_what_is_there(
    results: ConvergenceResults, files: dict[str, bytes]
) -> None:
    text = files["index.html"].decode()
    for slug in results.slugs:
        assert f'<img src="{slug}.svg"' in text
    linked = set(re.findall(r'href="([^"#]+)"', text))
    assert linked <= set(files)


def test_a_study_that_decided_nothing_has_not_passed(results: ConvergenceResults) -> None:
    whole = results.studies[0]
    assert study_passed(whole)
    degenerate = [curve for curve in whole.curves if curve.datum == "ties"]
    assert not study_passed(whole.model_copy(update={"curves": degenerate}))
    assert not study_passed(whole.model_copy(update={"curves": []}))


@pytest.mark.parametrize(
    "state", [CurveState.FAILS, CurveState.UNDECIDED, CurveState.UNPROVED, CurveState.SHORT], ids=lambda each: each.name
)
def test_one_curve_that_is_not_as_proved_fails_its_study_and_is_named(
    results: ConvergenceResults, state: CurveState
) -> None:
    whole = results.studies[0]
    wrong = [whole.curves[0].model_copy(update={"state": state, "datum": "planted"}), *whole.curves[1:]]
    planted = whole.model_copy(update={"curves": wrong})
    assert not study_passed(planted)
    reasons = results.model_copy(update={"studies": [planted], "passed": False}).reasons
    assert reasons == [f"weights-adaptive, planted, {whole.curves[0].norm.value}: {state.value}"]
    assert re.search(
        r"(Not as stated|Undecided|Without a proved bound|Too few orders to judge): planted\.",
        captions.study_caption(planted),
    )
    assert f"planted & TV & \\multicolumn{{7}}{{l}}{{{state.value}}}" in tables.study_table(planted)


def test_a_run_that_passed_has_no_reasons(results: ConvergenceResults) -> None:
    assert results.reasons == []
