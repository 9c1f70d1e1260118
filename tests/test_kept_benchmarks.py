"""The kept run of the benchmarks: its report and the README's table are made from it, and a missed goal says why."""

from __future__ import annotations

from pathlib import Path

from kernelproof.reports import bench as reports
from kernelproof.reports.bench import readme, words
from kernelproof.verify.bench.bench_record import FigureState
from kernelproof.verify.bench.runner import annotated

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "reports" / "gallery" / "bench-cpu"


def test_the_readme_shows_the_kept_run() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert readme.with_table(text, reports.read(KEPT)) == text, (
        "write it anew: python -m kernelproof.reports.bench.readme README.md reports/gallery/bench-cpu"
    )


def test_the_kept_report_is_that_of_the_kept_run() -> None:
    files = reports.render(reports.read(KEPT))
    for name in ("bench.json", "bench.md"):
        assert (KEPT / name).read_text("utf-8") == files[name], name
    # How a picture is spelled depends on the version of matplotlib.
    assert {path.name for path in KEPT.iterdir()} | {"index.html"} == set(files)


def test_the_kept_run_has_the_notes_of_today() -> None:
    record = reports.read(KEPT)
    assert annotated(record) == record, (
        "python -m kernelproof.cli bench --from reports/gallery/bench-cpu --out reports/gallery/bench-cpu"
    )


def test_the_kept_run_is_whole_and_right() -> None:
    record = reports.read(KEPT)
    assert not record.quick
    assert record.command == "kernelproof bench"
    assert words.counts(record)[FigureState.WRONG] == 0
    missed = [
        claim for family in record.families for claim in family.claims if words.state_of(claim) is FigureState.MISSED
    ]
    assert [claim.id for claim in missed if claim.note is None] == [], "a missed goal says what is in the way"
