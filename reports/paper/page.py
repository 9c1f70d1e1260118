"""One HTML page with every figure, its caption and links to its files, as an overview."""

from __future__ import annotations

from html import escape

from kernelproof.reference.plain_text import clean
from kernelproof.reports.paper.captions import backends_caption, picture_caption, plain, study_caption
from kernelproof.reports.paper.record import ConvergenceResults

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kernelproof: convergence</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: #1a1a1a;
  background: #fff; }
figure { margin: 0 0 3rem; padding-top: 1rem; border-top: 1px solid #ccc; }
img { max-width: 100%; height: auto; }
figcaption { max-width: 44rem; overflow-wrap: anywhere; }
nav a { margin-right: 0.8rem; white-space: nowrap; }
</style>
</head>
<body>
<h1>Convergence as the order grows</h1>
"""
ENDINGS = (".pdf", ".pgf", ".svg", ".png", ".csv", "-table.tex", "-caption.tex", "-caption.txt")


def captions(results: ConvergenceResults) -> dict[str, str]:
    """Return the LaTeX caption of each figure, by its slug."""
    found = {study.slug: study_caption(study) for study in results.studies}
    if results.backends is not None:
        found["backends"] = backends_caption(results.backends)
    return {**found, **{picture.slug: picture_caption(picture) for picture in results.pictures}}


def page(results: ConvergenceResults, files: set[str]) -> str:
    """Return the page; `files` are the names of the files beside it."""
    verdict = "Passed: every curve is as proved, and every backend is right at every order that it was asked."
    if not results.passed:
        lines = "".join(f"<li>{escape(clean(reason))}</li>" for reason in results.reasons)
        verdict = f"FAILED.</p>\n<ul>{lines}</ul>\n<p>"
    links = "".join(f'<a href="#{slug}">{slug}</a>' for slug in results.slugs)
    parts = [_HEAD, f"<p>{verdict} Seed {results.seed}, {len(results.orders)} orders.</p>\n<nav>{links}</nav>\n"]
    for slug, caption in captions(results).items():
        text = escape(clean(plain(caption)).strip())
        names = [slug + ending for ending in ENDINGS if slug + ending in files]
        # A run that was interrupted has studies that nobody drew.
        picture = f'<img src="{slug}.svg" alt="{escape(slug)}">' if f"{slug}.svg" in files else ""
        downloads = " ".join(f'<a href="{name}">{name}</a>' for name in names)
        parts.append(
            f'<figure id="{slug}">{picture}<figcaption><p>{text}</p><p>{downloads}</p></figcaption></figure>\n'
        )
    return "".join([*parts, "</body>\n</html>\n"])
