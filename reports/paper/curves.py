"""Figures of convergence: errors with their first-order terms, local slopes, and backends with rounding floors."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kernelproof.reports.paper.panels import legend_below, letter, log_axis, panels, series
from kernelproof.reports.paper.pgf import unmarked
from kernelproof.reports.paper.style import COLORS, INK, MARKERS, SOFT, Look
from kernelproof.theory.convergence.norms import Norm
from kernelproof.theory.convergence.records import CurveState, ErrorCurve, Point, StudyRecord
from kernelproof.verify.studies.backend_records import BackendCurve, BackendStudy

AXIS = {
    Norm.L1: r"$\ell_1$ distance to the limit",
    Norm.MAX: r"largest difference",
    Norm.VARIATION: "total variation",
    Norm.DIVERGENCE: "KL divergence",
    Norm.SIZE: "distance to the limit",
}
SHORT = {Norm.L1: r"$\ell_1$", Norm.MAX: "sup", Norm.VARIATION: "TV", Norm.DIVERGENCE: "KL", Norm.SIZE: "abs."}
SLOPES = (4.0, 2.0**14)
"""The range of orders in the panel of local slopes: below it, supports change and errors follow no law yet."""


def number(text: str) -> float:
    """Return an order as a float, for an axis."""
    top, _, bottom = text.partition("/")
    return float(top) / float(bottom or 1)


def drawn_curves(study: StudyRecord) -> list[ErrorCurve]:
    """Return the curves to draw: in the norms that the study shows, and with a first coefficient other than 0."""
    return [curve for curve in study.curves if curve.norm in study.norms and curve.state is not CurveState.DEGENERATE]


def study_figure(study: StudyRecord, look: Look) -> Figure:
    """Draw two panels: errors with their first-order terms, and local slopes."""
    figure, (errors, slopes) = panels(look, 2, aspect=0.76 if look.narrow else 0.86)
    curves = drawn_curves(study)
    names = list(dict.fromkeys(curve.datum for curve in curves))
    for curve in curves:
        style = _style(study, curve, names)
        x = [number(point.order) for point in curve.points]
        errors.plot(x, [point.error.middle for point in curve.points], **style)
        errors.plot(x, [_stated(point) for point in curve.points], **_first_order(look))
        known = [(n, point.slope.middle) for n, point in zip(x, curve.points, strict=True) if point.slope is not None]
        slopes.plot(*np.array(known or [(np.nan, np.nan)]).T, **{**style, "markevery": (names.index(curve.datum), 6)})
    limits = sorted({norm.slope for norm in study.norms})
    for limit in limits:
        slopes.axhline(limit, color=INK, lw=0.5 * look.scale, ls=(0, (1, 1)), zorder=1)
    slopes.set_ylim(limits[0] - 0.6, 0.3)
    slopes.set_yticks(range(limits[0], 1))
    # Beyond this range, no slope differs visibly from its limit.
    first, last = SLOPES
    shown = [n for curve in curves for n in (number(point.order) for point in curve.points) if first <= n <= last]
    slopes.set_xlim(min(shown, default=first) / 1.3, max(shown, default=last) * 1.3)
    log_axis(errors, "x")
    log_axis(slopes, "x")
    log_axis(errors, "y", ticks=5)
    errors.set_ylabel(AXIS[study.norms[0]] if len(study.norms) == 1 else "distance to the limit")
    slopes.set_ylabel("local slope")
    for axes in (errors, slopes):
        axes.set_xlabel("order $n$")
    letter([errors, slopes], ["error", "slope of log error against log $n$"])
    handles, labels = _legend(study, names, look)
    legend_below(figure, handles, labels, 2 if look.narrow else 4)
    return figure


def _stated(point: Point) -> float:
    """Return the first-order term if it is below 1, else NaN: a larger one predicts nothing yet."""
    return point.prediction if point.prediction < 1 else np.nan


def _first_order(look: Look) -> dict[str, Any]:
    return {"color": INK, "lw": 0.7 * look.scale, "ls": (0, (1, 2)), "zorder": 4}


def _style(study: StudyRecord, curve: ErrorCurve, names: list[str]) -> dict[str, Any]:
    at, second = names.index(curve.datum), study.norms.index(curve.norm)
    style = series(at, every=(2 * at + 3 * second, 12))
    return {**style, "ls": "-" if second == 0 else (0, (3.5, 1.5)), "mfc": style["color"] if second == 0 else "white"}


def _legend(study: StudyRecord, names: list[str], look: Look) -> tuple[list[Line2D], list[str]]:
    single = len(names) == 1
    handles = [] if single else [Line2D([], [], color=COLORS[at], marker=MARKERS[at]) for at in range(len(names))]
    labels = [] if single else list(names)
    if len(study.norms) > 1:
        ink = COLORS[0] if single else INK
        handles += [
            Line2D([], [], color=ink, marker="o", mfc="white" if second else ink, ls=(0, (3.5, 1.5)) if second else "-")
            for second in range(len(study.norms))
        ]
        labels += [SHORT[norm] for norm in study.norms]
    handles.append(Line2D([], [], **_first_order(look)))
    labels.append("first-order term")
    return handles, labels


DTYPES = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def backends_figure(study: BackendStudy, look: Look) -> Figure:
    """Draw two panels: distances to softmax with predicted floors, and the backends' own errors in units of those."""
    figure, (errors, own) = panels(look, 2, aspect=0.86, share=True)
    curves = [curve for curve in study.curves if curve.points]
    targets = list(dict.fromkeys(curve.target for curve in curves))
    dtypes = [dtype for dtype in DTYPES if any(curve.dtype == dtype for curve in curves)]
    x = [number(point.order) for point in study.truth.points]
    errors.plot(x, [point.error.middle for point in study.truth.points], color=INK, lw=1.4 * look.scale, zorder=2)
    for curve in curves:
        _floor(errors, curve, dtypes, look)
        style = _backend_style(curve, targets, dtypes)
        x = [number(point.order) for point in curve.points]
        errors.plot(x, [point.error.middle for point in curve.points], **style)
        kappas = [point.own.middle / point.floor for point in curve.points]
        own.plot(x, [kappa if kappa > 1e-6 else np.nan for kappa in kappas], **style)
    own.axhline(1, color=INK, lw=0.6 * look.scale, ls=(0, (1, 1)), zorder=1)
    for axes in (errors, own):
        log_axis(axes, "x")
        log_axis(axes, "y", ticks=6)
        if axes is own or not look.narrow:
            axes.set_xlabel("order $n$")
    errors.set_ylabel("total variation to softmax")
    own.set_ylabel("error over predicted floor")
    letter([errors, own], ["distance to softmax", "own error"])
    handles: list[Any] = [Line2D([], [], color=INK, lw=1.4 * look.scale)]
    handles += [Line2D([], [], color=_color(dtype, dtypes)) for dtype in dtypes]
    handles += [Line2D([], [], color=SOFT, marker=_mark(at), mfc="white", ls="none") for at in range(len(targets))]
    handles += [
        Line2D([], [], color=SOFT, ls=(0, (1, 1.5))),
        Line2D([], [], color=SOFT, marker="*", ms=7 * look.scale, ls="none"),
    ]
    labels = ["truth", *dtypes, *map(unmarked, targets), r"predicted floor, $\kappa=1$", "where it meets $c_1/n$"]
    legend_below(figure, handles, labels, 2 if look.narrow else 4)
    return figure


def _color(dtype: str, dtypes: list[str]) -> str:
    return COLORS[dtypes.index(dtype) % len(COLORS)]


def _mark(at: int) -> str:
    return MARKERS[at % len(MARKERS)]


def _backend_style(curve: BackendCurve, targets: list[str], dtypes: list[str]) -> dict[str, Any]:
    at = targets.index(curve.target)
    return {
        "color": _color(curve.dtype, dtypes),
        "marker": _mark(at),
        "mfc": "white",
        "markevery": (3 * at, 12) if len(curve.points) > 24 else (at % 2, 3),
        "lw": 0.9,
    }


def _floor(axes: Axes, curve: BackendCurve, dtypes: list[str], look: Look) -> None:
    color = _color(curve.dtype, dtypes)
    last = curve.points[-1]
    axes.axhline(last.floor, color=color, lw=0.8 * look.scale, ls=(0, (1, 1.5)), zorder=1)
    if curve.meets is not None and curve.meets < number(last.order) * 10:
        axes.plot([curve.meets], [last.floor], marker="*", ms=7 * look.scale, color=color, mec=INK, ls="none", zorder=5)
