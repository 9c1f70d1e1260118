"""Pictures of the benchmarks: all goals at once, and how cost grows, log-log with the fitted lines."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter

from kernelproof.reference.plain_text import one_line
from kernelproof.reports.bench import words
from kernelproof.reports.svg import COLOR, MARKERS, SERIES, drawing, power, svg
from kernelproof.verify.bench.bench_record import BenchResults, CostCurveRecord, CostPictureRecord, FigureState

OVERVIEW = "overview"
_TONES = {FigureState.MET: "grade-a", FigureState.MISSED: "grade-c", FigureState.WRONG: "grade-f"}


def overview(results: BenchResults) -> str | None:
    """Draw every figure by its distance from its goal, one row per claim; left of the line, the goal is met."""
    claims = [claim for family in results.families for claim in family.claims if claim.goal is not None]
    rows = [(claim, [(d, f) for f in claim.figures if (d := words.distance(claim, f))]) for claim in claims]
    rows = [(claim, found) for claim, found in rows if found]
    if not rows:
        return None
    with drawing() as axes:
        figure = axes.get_figure()
        assert figure is not None
        figure.set_size_inches(4.7, 0.9 + 0.42 * len(rows))  # type: ignore[union-attr]
        axes.grid(visible=False)
        shown = [distance for _, found in rows for distance, _ in found]
        low, high = min([*shown, 0.5]) / 1.3, max([*shown, 2.0]) * 1.3
        axes.axvspan(low, 1, color=COLOR["grade-a"], alpha=0.1, lw=0)
        axes.axvline(1, color=COLOR["ink"], lw=1)
        for at, (claim, found) in enumerate(rows):
            y = len(rows) - 1 - at
            axes.text(low * 1.05, y + 0.27, one_line(claim.title), fontsize=9, va="center")
            axes.axhline(y - 0.5, color=COLOR["line"], lw=0.7)
            for distance, each in found:
                axes.plot([distance], [y - 0.1], "o", ms=5, mew=0, alpha=0.8, color=COLOR[_TONES[each.state]])
        axes.set_xscale("log", base=2)
        axes.set_xlim(low, high)
        axes.set_ylim(-0.55, len(rows) - 0.35)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        _power_ticks(axes, low, high)
        axes.set_xlabel("measured / goal: met on the left of 1")
        return svg(axes, OVERVIEW, "Every figure by its distance from its goal")


def _power_ticks(axes: Axes, low: float, high: float) -> None:
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    step = max(1, math.ceil((last - first) / 7))
    ticks = [2.0**each for each in range(first, last + 1) if each % step == 0]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(lambda value, _: f"1/{round(1 / value)}" if value < 1 else f"{round(value)}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def growth(picture: CostPictureRecord) -> str | None:
    """Draw the shortest time by x, one line per curve, with its fit dashed; None if nothing was measured."""
    measured = [curve for curve in picture.curves if curve.xs]
    if not measured:
        return None
    with drawing() as axes:
        for at, curve in enumerate(measured):
            style: dict[str, Any] = {"color": SERIES[at % len(SERIES)], "marker": MARKERS[at % len(MARKERS)]}
            label = f"{one_line(curve.label)}: {words.fit_text(curve.fit)}"
            axes.plot(curve.xs, [1e3 * each.least for each in curve.seconds], ms=4, label=label, **style)
            _fitted(axes, curve, style["color"])
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=10)
        xs = sorted({x for curve in measured for x in curve.xs})
        step = max(1, math.ceil(len(xs) / 8))
        axes.xaxis.set_major_locator(FixedLocator(xs[::step]))
        axes.xaxis.set_major_formatter(lambda value, _: power(value, 2) if value > 512 else f"{value:g}")
        _time_ticks(axes)
        axes.minorticks_off()
        axes.set_xlabel(one_line(picture.x))
        axes.set_ylabel("milliseconds")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=1, borderaxespad=0.2, fontsize=9)
        return svg(axes, picture.id.replace("_", "-"), one_line(picture.title))


def _time_ticks(axes: Axes) -> None:
    """Put ticks at powers of ten, and at their multiples if there are fewer than three."""
    low, high = axes.get_ylim()
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for factors in ((1,), (1, 2, 5), range(1, 10)):
        ticks = [tick for each in decades for factor in factors if low <= (tick := factor * 10.0**each) <= high]
        if len(ticks) > 2:
            break
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _fitted(axes: Axes, curve: CostCurveRecord, color: str) -> None:
    fit = curve.fit
    if fit is None or fit.points < 2:
        return
    points = [(x, 1e3 * each.least) for x, each in zip(curve.xs, curve.seconds, strict=True) if x >= fit.first]
    # A least-squares line goes through the mean of the logarithms.
    x0 = math.exp(sum(math.log(x) for x, _ in points) / len(points))
    y0 = math.exp(sum(math.log(y) for _, y in points) / len(points))
    ends = [fit.first, fit.last]
    axes.plot(ends, [y0 * (x / x0) ** fit.exponent for x in ends], "--", color=color, lw=1, alpha=0.7)


def alone(results: BenchResults) -> dict[str, str]:
    """Return every picture as an SVG file, by name, with colors for light and for dark pages."""
    drawn = {OVERVIEW: overview(results)} | {picture.id: growth(picture) for picture in results.pictures}
    return {name: _alone(markup) for name, markup in drawn.items() if markup is not None}


def _alone(markup: str) -> str:
    head, _, rest = markup.partition(">")
    head = head.replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ', 1
    )
    return f"{head}><style>{_palette()}</style>{rest}\n"


@cache
def _palette() -> str:
    """Return the variables at the top of the page's style sheet, before its first rule for an element."""
    sheet = files("kernelproof.reports").joinpath("templates", "report.css").read_text("utf-8")
    return sheet[: sheet.index("* {")].replace(":root", "svg").replace("\n", " ").strip()
