"""The figures of a report, each a pure function of the record.

If a study lacks columns that its figure needs, the figure is left out; the report still has the table.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from kernelproof.reference.plain_text import one_line
from kernelproof.reports.summary import badness, dtype_key, order_key, order_label
from kernelproof.reports.svg import COLOR, MARKERS, SERIES, drawing, power, svg
from kernelproof.verify.judging.grades import GRADE_LIMITS
from kernelproof.verify.record.schema import Results, Table, Target

_FLOOR = 1e-2  # a smaller κ is drawn here: the scale is logarithmic, and an exact result has κ = 0
_LIMIT = 1e30  # no study has numbers beyond this or below its inverse; larger ones are left out, smaller are 0
Cell = float | int | str


@dataclass(frozen=True)
class Drawn:
    """A figure for a page: `svg` is our own markup, `caption` is plain text."""

    svg: str
    caption: str


def accuracy_figure(target: Target, name: str) -> Drawn | None:
    """Plot the worst κ by order, one line per dtype, over the bands of the grades; None without accuracy rows."""
    worst: dict[str, dict[str, float]] = defaultdict(dict)
    for row in target.accuracy:
        line = worst[row.dtype]
        line[row.order] = max(line.get(row.order, 0.0), badness(row.kappa_max))
    if not worst:
        return None
    orders = sorted({row.order for row in target.accuracy}, key=order_key)
    finite = [error for line in worst.values() for error in line.values() if error < math.inf]
    # Leave about a decade above the data and always show grade A; what is not finite is drawn at the upper edge.
    top = 10.0 ** math.ceil(math.log10(min(max([*finite, 20.0]), _LIMIT)) + 0.35)
    with drawing() as axes:
        _bands(axes, top)
        for at, dtype in enumerate(sorted(worst, key=dtype_key)):
            line = worst[dtype]
            style: dict[str, Any] = {"color": SERIES[at % len(SERIES)], "marker": MARKERS[at % len(MARKERS)]}
            xs = [x for x, order in enumerate(orders) if order in line]
            ys = [min(max(line[orders[x]], _FLOOR), top) for x in xs]
            axes.plot(xs, ys, label=_short(dtype), clip_on=False, zorder=3, **style)
            lost = [x for x in xs if line[orders[x]] > top]
            axes.plot(lost, [top] * len(lost), "x", color=COLOR["grade-f"], ms=10, mew=2.5, clip_on=False, zorder=4)
        axes.set_ylim(_FLOOR, top)
        axes.set_ylabel("worst κ")
        _order_axis(axes, orders)
        _legend(axes, len(worst))
        drawn = svg(axes, name, f"Worst condition-normalized error by order on {one_line(target.name)}")
    off = any(error > top for line in worst.values() for error in line.values())
    lost_note = " A cross at the top: NaN, infinite or beyond the scale." if off else ""
    return Drawn(drawn, f"Worst κ over all ops and outputs, by order. Shaded: grades A, B and C.{lost_note}")


def _short(label: str) -> str:
    """Return a label from outside on one line, cut if it would push the axes out of the figure."""
    line = one_line(label)
    return line if len(line) <= 16 else line[:15] + "…"


def _bands(axes: Axes, top: float) -> None:
    low = _FLOOR
    for grade in "ABC":
        high = min(GRADE_LIMITS[grade], top)
        if high > low:
            axes.axhspan(low, high, color=COLOR[f"grade-{grade.lower()}"], alpha=0.13, lw=0)
            axes.text(1.01, math.sqrt(max(low, 0.05) * high), grade, transform=axes.get_yaxis_transform(), va="center")
        low = high
    _log(axes, "y", 10)


def _log(axes: Axes, which: Literal["x", "y"], base: int) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    drawn = [np.asarray(line.get_xdata() if which == "x" else line.get_ydata(), dtype=float) for line in axes.lines]
    shown = np.concatenate([*drawn, np.zeros(0)])
    shown = shown[shown > 0]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (1.0, 1.0)
    # Set the limits, with a margin, before the scale: a locator cannot place ticks if nothing is positive.
    room = max((high / low) ** 0.05, base**0.25)
    (axes.set_xlim if which == "x" else axes.set_ylim)(low / room, high * room)
    (axes.set_xscale if which == "x" else axes.set_yscale)("log", base=base, nonpositive="mask")
    axis.set_major_formatter(lambda value, _: power(value, base))
    axes.minorticks_off()


def _order_axis(axes: Axes, orders: list[str]) -> None:
    labels = [_short(order_label(order)) for order in orders]
    crowded = sum(map(len, labels)) > 30
    axes.set_xticks(range(len(orders)), labels, rotation=45 if crowded else 0)
    axes.set_xlim(-0.4, len(orders) - 0.6)
    axes.set_xlabel("order n")


def _legend(axes: Axes, count: int) -> None:
    if count:
        columns = 2 if count in {2, 4} else min(count, 3)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2, columnspacing=1.2)


def study_figure(study: Table, name: str) -> Drawn | None:
    """Draw the figure of a study; None if there is none for its id, or it lacks columns that the figure needs."""
    draw = _STUDIES.get(study.id)
    if draw is None:
        return None
    columns, plot, caption = draw
    try:
        rows = [[row[study.columns.index(column)] for column in columns] for row in study.rows]
    except (ValueError, IndexError):
        return None
    if not rows:
        return None
    with drawing() as axes:
        plot(axes, rows)
        return Drawn(svg(axes, name, one_line(study.title)), caption)


def _real(cell: Cell) -> float:
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    if not math.isfinite(value) or abs(value) > _LIMIT:
        return math.nan
    return value if abs(value) > 1 / _LIMIT else 0.0


def _groups(rows: list[list[Cell]], *at: int) -> dict[tuple[str, ...], list[list[Cell]]]:
    found: dict[tuple[str, ...], list[list[Cell]]] = defaultdict(list)
    for row in rows:
        found[tuple(str(row[i]) for i in at)].append(row)
    return found


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _dots(axes: Axes, x: float, values: list[float], color: str) -> None:
    """Draw a dot for every head, side by side in the order of the heads, and a bar at their mean."""
    width = 0.5
    xs = [x + width * ((i + 0.5) / len(values) - 0.5) for i in range(len(values))]
    axes.plot(xs, values, "o", color=color, ms=5, alpha=0.75, mew=0)
    axes.plot([x - width / 2, x + width / 2], [_mean(values)] * 2, color=COLOR["ink"], lw=1.6)


def _key_norms(axes: Axes, rows: list[list[Cell]]) -> None:
    layers = _groups(rows, 0)
    for x, group in enumerate(layers.values()):
        _dots(axes, x, [100 * _real(row[1]) for row in group], SERIES[0])
    axes.set_xticks(range(len(layers)), [f"layer {_short(layer)}" for (layer,) in layers])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("std / mean of ‖k‖, %")


def _norm_term(axes: Axes, rows: list[list[Cell]]) -> None:
    orders = sorted({str(row[1]) for row in rows}, key=order_key)
    layers = list(_groups(rows, 0))
    for at, order in enumerate(orders):
        groups = _groups([row for row in rows if str(row[1]) == order], 0)
        xs, ys = [], []
        for x, layer in enumerate(layers):
            values = [_real(row[2]) for row in groups.get(layer, [])]
            offset = 0.27 * (at - (len(orders) - 1) / 2)
            axes.plot(
                [x + offset + 0.16 * ((i + 0.5) / len(values) - 0.5) for i in range(len(values))],
                values,
                MARKERS[at % 7],
                color=SERIES[at % 7],
                ms=4,
                alpha=0.5,
                mew=0,
            )
            xs.append(x + offset)
            ys.append(_mean(values))
        label = f"n = {_short(order_label(order))}"
        axes.plot(xs, ys, MARKERS[at % 7], color=SERIES[at % 7], ms=9, mec=COLOR["ink"], mew=1, label=label)
    axes.set_xticks(range(len(layers)), [f"layer {_short(layer)}" for (layer,) in layers])
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("total variation")
    _legend(axes, len(orders))


def _sparsity(axes: Axes, rows: list[list[Cell]]) -> None:
    orders = sorted({str(row[1]) for row in rows}, key=order_key)
    layers = _groups(rows, 0)
    for at, ((layer,), group) in enumerate(layers.items()):
        found = {str(row[1]): _real(row[2]) for row in group}
        xs = [x for x, order in enumerate(orders) if order in found]
        style: dict[str, Any] = {"color": SERIES[at % 7], "marker": MARKERS[at % 7]}
        axes.plot(xs, [found[orders[x]] for x in xs], label=f"layer {_short(layer)}", **style)
    _log(axes, "y", 2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylabel("keys with weight, mean")
    _order_axis(axes, orders)
    _legend(axes, len(layers))


def _softmax_distance(axes: Axes, rows: list[list[Cell]]) -> None:
    layers = _groups(rows, 0)
    for at, ((layer,), group) in enumerate(layers.items()):
        for column, line in ((2, "-"), (3, "--")):
            points = sorted((_real(row[1]), _real(row[column])) for row in group)
            points = [(n, distance) for n, distance in points if n > 0 and distance > 0]
            label = f"layer {_short(layer)}" if column == 2 else None
            style: dict[str, Any] = {"color": SERIES[at % 7], "marker": MARKERS[at % 7], "ms": 3.5, "ls": line}
            axes.plot([n for n, _ in points], [distance for _, distance in points], label=label, **style)
    _log(axes, "x", 2)
    axes.xaxis.set_major_locator(FixedLocator([2.0**power for power in range(0, 41, 4)]))
    _log(axes, "y", 10)
    for column, slope in ((2, -1), (3, -2)):
        _reference(axes, [(_real(row[1]), _real(row[column])) for row in rows], slope)
    axes.set_xlabel("order n")
    axes.set_ylabel("distance to softmax")
    _legend(axes, len(layers))


def _reference(axes: Axes, points: list[tuple[float, float]], slope: int) -> None:
    """Draw a dotted line of `slope` over the last ten doublings of n, a little above the points."""
    points = [(n, distance) for n, distance in points if n > 0 and distance > 0]
    if not points:
        return
    last = max(n for n, _ in points)
    level = 8 * max(distance for n, distance in points if n == last)
    ns = [last / 2**10, last]
    axes.plot(ns, [level * (n / last) ** slope for n in ns], ":", color=COLOR["ink"], lw=1.2)
    middle = last / 2**5
    axes.annotate(
        f"slope {slope}".replace("-", "−"),
        (middle, level * (middle / last) ** slope),
        (4, 4),
        textcoords="offset points",
    )


_STUDIES: dict[str, tuple[tuple[str, ...], Callable[[Axes, list[list[Cell]]], None], str]] = {
    "key-norms": (
        ("layer", "spread"),
        _key_norms,
        "Each dot is a head, the bar their mean. Equal key norms would be 0.",
    ),
    "key-norm-term": (
        ("layer", "order", "total variation"),
        _norm_term,
        (
            "How far the weights move when ‖k‖² is left out: 0 not at all, 1 to other keys altogether. "
            "Small marks are heads, large marks their mean."
        ),
    ),
    "sparsity": (
        ("layer", "order", "mean support"),
        _sparsity,
        "Mean number of keys with a weight above 0, decided exactly.",
    ),
    "softmax-distance": (
        ("layer", "order", "total variation", "KL divergence"),
        _softmax_distance,
        "Solid: total variation. Dashed: KL(entmax‖softmax). Dotted: the slopes −1 and −2 of theory.",
    ),
}


def study_figures(results: Results) -> dict[str, Drawn]:
    """Return the figure of each study that has one, by the id of the study."""
    found = {study.id: study_figure(study, f"study{at}") for at, study in enumerate(results.studies)}
    return {key: drawn for key, drawn in found.items() if drawn is not None}
