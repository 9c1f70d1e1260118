"""Figures, tables and captions of `kernelproof converge`, ready for use in a paper.

converge.json is written first; every other file is a pure function of it, so that equal results give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kernelproof.reports.folder import check_writable as _check_writable
from kernelproof.reports.folder import put
from kernelproof.reports.paper.record import ConvergenceResults
from kernelproof.reports.record import RecordFile

__all__ = ["CONVERGENCE", "ConvergenceResults", "check_writable", "names", "render", "render_figure", "write"]

CONVERGENCE = RecordFile(ConvergenceResults, "converge.json", "convergence results")
"""The record of `kernelproof converge`."""
PAGE = "index.html"


def names(slugs: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the files of a run with these figures."""
    from kernelproof.reports.paper.page import ENDINGS  # noqa: PLC0415 (imports matplotlib)

    return (CONVERGENCE.name, PAGE, *(slug + ending for slug in slugs for ending in ENDINGS))


def check_writable(out: Path, slugs: Iterable[str]) -> None:
    """Check that `write` can put its files into the folder `out`; call it before a long run.

    Raises:
        DomainError: `out` is a file, cannot be written, or holds a folder named like a file of the run.
    """
    _check_writable(out, names(slugs))


def render_figure(results: ConvergenceResults, slug: str) -> dict[str, bytes]:
    """Return the files of one figure: in four formats, its CSV, its table if it has one, and its captions."""
    # Here, because matplotlib takes longer to import than `kernelproof --help` may.
    from kernelproof.reports.paper import tables  # noqa: PLC0415
    from kernelproof.reports.paper.captions import plain  # noqa: PLC0415
    from kernelproof.reports.paper.curves import backends_figure, study_figure  # noqa: PLC0415
    from kernelproof.reports.paper.files import saved  # noqa: PLC0415
    from kernelproof.reports.paper.page import captions  # noqa: PLC0415
    from kernelproof.reports.paper.pictures import picture_figure  # noqa: PLC0415
    from kernelproof.reports.paper.style import Look  # noqa: PLC0415

    results = CONVERGENCE.as_text(results)
    look = Look(results.style, results.venue)
    study = next((each for each in results.studies if each.slug == slug), None)
    caption = captions(results)[slug]
    texts = {f"{slug}-caption.tex": caption, f"{slug}-caption.txt": plain(caption)}
    with look.applied():
        if study is not None:
            files = saved(study_figure(study, look), slug)
            texts |= {f"{slug}.csv": tables.study_csv(study), f"{slug}-table.tex": tables.study_table(study)}
        elif slug == "backends" and results.backends is not None:
            files = saved(backends_figure(results.backends, look), slug)
            texts[f"{slug}.csv"] = tables.backends_csv(results.backends)
            texts[f"{slug}-table.tex"] = tables.backends_table(results.backends)
        else:
            picture = next(each for each in results.pictures if each.slug == slug)
            files = saved(picture_figure(picture, look), slug)
            texts[f"{slug}.csv"] = tables.picture_csv(picture)
    return {**files, **{name: text.encode("utf-8") for name, text in texts.items()}}


def render(results: ConvergenceResults, figures: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """Return every file of a run, by name.

    Args:
        results: of the run.
        figures: the files of all figures, if they are already drawn.
    """
    from kernelproof.reports.paper.page import page  # noqa: PLC0415 (imports matplotlib)

    results = CONVERGENCE.as_text(results)
    if figures is None:
        figures = {name: data for slug in results.slugs for name, data in render_figure(results, slug).items()}
    texts = {CONVERGENCE.name: CONVERGENCE.text_of(results), PAGE: page(results, set(figures))}
    return {**{name: text.encode("utf-8") for name, text in texts.items()}, **figures}


def write(results: ConvergenceResults, out: Path, figures: Mapping[str, bytes] | None = None) -> None:
    """Write every file of a run into the folder `out`, which is created if it is missing; other files in it stay.

    Raises:
        DomainError: `out` cannot be written; then no file has been written.
    """
    check_writable(out, results.slugs)
    put(render(results, figures), out)
