"""Parts that figures share: panels, logarithmic axes, and series that differ in colour, marker and dashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogFormatterMathtext, NullLocator

from kernelproof.reports.paper.style import COLORS, DASHES, MARKERS, Look


def panels(look: Look, count: int, *, aspect: float = 0.72, share: bool = False) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels, side by side or, if the look is narrow, stacked.

    Args:
        look: the look of the figure.
        count: of the panels, 1 or more.
        aspect: height over width of a panel, including the room for a legend.
        share: whether all panels share one x-axis.
    """
    rows, columns = (count, 1) if look.narrow else (1, count)
    width = look.width if count > 1 or look.narrow else 0.62 * look.width
    figure = Figure(figsize=(width, aspect * width / columns * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex="all" if share and look.narrow else "none")
    return figure, list(axes.ravel())


def series(at: int, *, every: int | tuple[int, int] | None = None) -> dict[str, Any]:
    """Return colour, marker and dashes of the series number `at`."""
    style: dict[str, Any] = {
        "color": COLORS[at % len(COLORS)],
        "marker": MARKERS[at % len(MARKERS)],
        "ls": DASHES[at % len(DASHES)],
    }
    return style if every is None else {**style, "markevery": every}


def log_axis(axes: Axes, which: Literal["x", "y"], base: int = 10, *, ticks: int = 6) -> None:
    """Make an axis logarithmic, with at most `ticks` ticks at whole powers, evenly spaced."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log", base=base)
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = (axes.get_xlim if which == "x" else axes.get_ylim)()
    first, last = int(np.ceil(np.log(low) / np.log(base))), int(np.floor(np.log(high) / np.log(base)))
    step = next(step for step in (1, 2, 3, 4, 5, 10, 20, 50, 100, 1000) if (last - first) // step < ticks)
    start = -(-first // step) * step
    axis.set_major_locator(FixedLocator([float(base) ** k for k in range(start, last + 1, step)]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(LogFormatterMathtext(base))


def letter(axes: Sequence[Axes], titles: Sequence[str]) -> None:
    """Set the titles of the panels, with (a), (b), … before them."""
    for at, (each, title) in enumerate(zip(axes, titles, strict=True)):
        each.set_title(f"({'abcdefgh'[at]}) {title}")


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], columns: int) -> None:
    """Put a legend below all panels, where it hides no data."""
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def order_math(text: str) -> str:
    """Return an order as LaTeX mathematics.

    >>> order_math("1/2")
    '$n=1/2$'
    """
    return r"$n=\infty$" if text == "inf" else f"$n={text}$"
