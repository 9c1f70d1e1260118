"""The other pictures of a paper: kernels, two logits, supports, balls, attention maps and Lorenz curves."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from kernelproof.reports.paper.panels import legend_below, letter, log_axis, order_math, panels, series
from kernelproof.reports.paper.style import COLORS, INK, MARKERS, SOFT, Look
from kernelproof.theory.convergence.pictures import Cell, PictureRecord

BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#a6cee8", "#0072b2", "#00263b"])
"""White is 0; larger values are always darker, so that a print in grey keeps their order."""


def _grouped(record: PictureRecord, *names: str) -> dict[tuple[str, ...], list[list[Cell]]]:
    """Group rows by the text of some columns, in the order of the table."""
    at = [record.columns.index(name) for name in names]
    found: dict[tuple[str, ...], list[list[Cell]]] = {}
    for row in record.rows:
        found.setdefault(tuple(str(row[i]) for i in at), []).append(row)
    return found


def _floats(rows: list[list[Cell]], at: int) -> list[float]:
    return [float(row[at]) for row in rows]


def _kernels(record: PictureRecord, look: Look) -> Figure:
    figure, axes = panels(look, 2, aspect=0.66 if look.narrow else 0.74)
    orders = list(dict.fromkeys(str(cell) for cell in record.column("n")))
    for (panel, order), rows in _grouped(record, "panel", "n").items():
        style = _kernel_style(orders, order)
        target = axes[0] if panel == "h = 1" else axes[1]
        target.plot(_floats(rows, 2), _floats(rows, 3), **style)
    axes[0].set_xlim(0, 1.15)
    axes[1].set_xlim(0, 3)
    for each, unit in zip(axes, (r"distance $\|q-k\|/h$", r"distance $\|q-k\|/\sigma$"), strict=True):
        each.set_ylim(-0.02, 1.04)
        each.set_xlabel(unit)
        each.set_ylabel("kernel")
    letter(axes, ["fixed bandwidth, $h=1$", r"scaled, $h^2=2n\sigma^2$"])
    handles = [axes[1].plot([], [], **_kernel_style(orders, order))[0] for order in orders]
    legend_below(figure, handles, [order_math(order) for order in orders], 4 if look.narrow else 7)
    return figure


def _kernel_style(orders: list[str], order: str) -> dict[str, Any]:
    if order == "inf":
        return {"color": INK, "ls": "-"}
    at = orders.index(order)
    return {**series(at, every=(4 * at, 45)), "color": COLORS[at % 6]}


def _two_logits(record: PictureRecord, look: Look) -> Figure:
    figure, (axes,) = panels(look, 1, aspect=0.85)
    for at, ((order,), rows) in enumerate(_grouped(record, "n").items()):
        style = {"color": INK} if order == "inf" else {**series(at, every=(5 * at, 32)), "color": COLORS[at % 6]}
        axes.plot(_floats(rows, 1), _floats(rows, 2), label=order_math(order), **style)
    axes.set_xlim(-4, 4)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("difference of the logits, $t$")
    axes.set_ylabel("first weight")
    legend_below(figure, *axes.get_legend_handles_labels(), 4)
    return figure


def _support(record: PictureRecord, look: Look) -> Figure:
    figure, axes = panels(look, 2, aspect=0.8 if look.narrow else 0.86)
    for panel, each in zip(("order", "beta"), axes, strict=True):
        groups = {key: rows for key, rows in _grouped(record, "panel", "series").items() if key[0] == panel}
        for at, ((_, name), rows) in enumerate(groups.items()):
            x = _floats(rows, 2)
            style = series(at, every=2)
            each.plot(x, _floats(rows, 3), label=f"${name}$" if name.startswith("n") else name, **style)
            if panel == "order":
                each.fill_between(x, _floats(rows, 4), _floats(rows, 5), color=style["color"], alpha=0.12, lw=0)
        log_axis(each, "x", 2)
        log_axis(each, "y", 2)
        each.set_ylabel("keys with weight")
        each.legend(loc="upper left" if panel == "order" else "upper right")
    axes[0].set_xlabel("order $n$")
    axes[1].set_xlabel(r"inverse temperature, in units of $1/\sqrt{d}$")
    letter(axes, ["against the order", "against the inverse temperature"])
    return figure


def _ball(record: PictureRecord, look: Look) -> Figure:
    orders = list(dict.fromkeys(str(row[1]) for row in record.rows if row[0] == "query"))
    figure, axes = panels(look, len(orders), aspect=0.86)
    grid = {n: [row for row in record.rows if row[0] == "grid" and row[1] == n] for n in orders}
    heights = [float(row[4]) for rows in grid.values() for row in rows]
    levels = np.arange(np.floor(min(heights) * 4), np.ceil(max(heights) * 4) + 1) / 4
    points = np.array([[float(row[2]), float(row[3])] for row in record.rows if row[0] == "key"])
    for n, each in zip(orders, axes, strict=True):
        xs = sorted({float(row[2]) for row in grid[n]})
        field = np.array([float(row[4]) for row in grid[n]]).reshape(len(xs), len(xs))
        filled = each.contourf(xs, xs, field, levels=levels, cmap=BLUES, alpha=0.75)
        each.contour(xs, xs, field, levels=levels, colors=SOFT, linewidths=0.3 * look.scale)
        _, _, x, y, h = next(row for row in record.rows if row[0] == "query" and row[1] == n)
        centre, radius = np.array([float(x), float(y)]), float(h)
        inside = ((points - centre) ** 2).sum(axis=1) < radius**2
        each.add_patch(Circle(tuple(centre), radius, fill=False, ec=COLORS[1], lw=1.3 * look.scale, zorder=3))
        each.plot(*points[inside].T, "o", color=COLORS[1], mec=INK, zorder=4)
        each.plot(*points[~inside].T, "o", color="white", mec=INK, zorder=4)
        each.plot(*centre, "P", ms=5.5 * look.scale, color="white", mec=INK, zorder=5)
        each.set_aspect("equal")
        each.set_xlim(-2.5, 2.5)
        each.set_ylim(-2.5, 2.5)
        each.grid(visible=False)
        each.set_xlabel("first coordinate")
        each.set_ylabel("second coordinate")
    figure.colorbar(filled, ax=axes, label="bandwidth $h(q)$", shrink=0.8, format="%.2f")
    letter(axes, [order_math(n) for n in orders])
    return figure


def _maps(record: PictureRecord, look: Look) -> Figure:
    orders = list(dict.fromkeys(str(cell) for cell in record.column("n")))
    rows, columns = (2, 2) if look.narrow else (1, 4)
    figure = Figure(figsize=(look.width, look.width * (0.95 if look.narrow else 0.3)), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True).ravel()
    scale = Normalize(0, 1)
    for at, (order, each) in enumerate(zip(orders, grid, strict=True)):
        chosen = [row for row in record.rows if str(row[0]) == order]
        size = 1 + int(max(float(row[2]) for row in chosen))
        # Draw vector squares, none for the weight 0: an image would be a second file beside the PGF.
        shown = [(float(q), float(k), float(w)) for _, _, q, k, w in chosen if float(w) > 0]
        squares = [[(k, q), (k + 1, q), (k + 1, q + 1), (k, q + 1)] for q, k, _ in shown]
        colors = BLUES(scale(np.sqrt([w for _, _, w in shown])))
        each.add_collection(PolyCollection(squares, facecolors=colors, edgecolors=colors, linewidths=0.1))
        each.set_xlim(0, size)
        each.set_ylim(size, 0)
        each.set_aspect("equal")
        each.grid(visible=False)
        each.set_xticks([0.5, size / 2 + 0.5, size - 0.5], ["1", str(size // 2 + 1), str(size)])
        each.set_yticks([0.5, size / 2 + 0.5, size - 0.5], ["1", str(size // 2 + 1), str(size)])
        for side in each.spines.values():
            side.set_visible(True)
        if at >= len(orders) - columns:
            each.set_xlabel("key")
        if at % columns == 0:
            each.set_ylabel("query")
    letter(list(grid), [order_math(order) for order in orders])
    ticks = [0, 0.05, 0.2, 0.5, 1]
    bar = figure.colorbar(ScalarMappable(scale, BLUES), ax=list(grid), label="weight", ticks=np.sqrt(ticks), shrink=0.9)
    bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    if bar.solids is not None:
        # Without this, viewers show gaps between the steps.
        bar.solids.set_edgecolor("face")
    return figure


def _lorenz(record: PictureRecord, look: Look) -> Figure:
    figure, (axes,) = panels(look, 1, aspect=0.85)
    for at, ((order,), rows) in enumerate(_grouped(record, "n").items()):
        style = {"color": INK} if order == "inf" else {**series(at), "color": COLORS[at % 6]}
        x, y = _floats(rows, 1), _floats(rows, 2)
        full = next(i for i, share in enumerate(y) if share > 1 - 1e-12)
        style["marker"] = MARKERS[at % len(MARKERS)] if order != "inf" else "none"
        axes.plot(x[1:], y[1:], label=order_math(order), markevery=[min(full, len(x) - 1) - 1], **style)
    log_axis(axes, "x", 2)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("number of largest weights, $k$")
    axes.set_ylabel("their share")
    legend_below(figure, *axes.get_legend_handles_labels(), 3)
    return figure


def _axis(record: PictureRecord, look: Look) -> Figure:
    figure, axes = panels(look, 2, aspect=0.7 if look.narrow else 0.8)
    weights = [(name, rows) for (what, name), rows in _grouped(record, "what", "z").items() if what == "weight"]
    for at, (name, rows) in enumerate(weights):
        style = series(at, every=(8 + 3 * at, 24))
        axes[0].plot(_floats(rows, 2), _floats(rows, 3), label=f"$z={name}$", **style)
    for (what, _), rows in _grouped(record, "what", "z").items():
        x, y = _floats(rows, 2), _floats(rows, 3)
        if what == "tangent":
            axes[0].plot(x, y, color=INK, ls=":", lw=0.8 * look.scale)
        elif what == "variation":
            axes[1].plot(x, y, color=COLORS[0])
        elif what == "first order":
            axes[1].plot(x, y, color=INK, ls=":", lw=0.8 * look.scale)
    axes[0].set_ylabel("weight")
    axes[1].set_ylabel("total variation to softmax")
    axes[1].text(-0.95, 0.02, "heavy tails", color=SOFT, ha="left")
    axes[1].text(0.95, 0.02, "compact kernels", color=SOFT, ha="right")
    axes[1].text(0.04, 0.95, "softmax", color=SOFT, ha="left", va="top", transform=axes[1].get_xaxis_transform())
    for each in axes:
        each.axvline(0, color=SOFT, lw=0.6 * look.scale, zorder=1)
        each.set_xlim(-1, 1)
        each.set_xticks([-1, -0.5, 0, 0.5, 1])
        each.set_ylim(bottom=0)
        each.set_xlabel("$1/n$")
    letter(axes, ["weights of one row", "distance from softmax"])
    legend_below(figure, *axes[0].get_legend_handles_labels(), 3 if look.narrow else 5)
    return figure


DRAW: MappingProxyType[str, Callable[[PictureRecord, Look], Figure]] = MappingProxyType(
    {
        "kernels": _kernels,
        "two-logits": _two_logits,
        "support": _support,
        "ball": _ball,
        "attention-maps": _maps,
        "lorenz": _lorenz,
        "axis": _axis,
    }
)
"""The function that draws each picture, by its slug."""


def picture_figure(record: PictureRecord, look: Look) -> Figure:
    """Draw the figure of a picture."""
    return DRAW[record.slug](record, look)
