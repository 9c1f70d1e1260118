"""The numbers behind each figure: CSV with enclosures as decimals, and a LaTeX table that needs no package."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from kernelproof.reference.plain_text import clean
from kernelproof.reports.paper.curves import SHORT
from kernelproof.reports.paper.pgf import escaped, unmarked
from kernelproof.theory.convergence.pictures import PictureRecord
from kernelproof.theory.convergence.records import ErrorCurve, LineFit, StudyRecord
from kernelproof.verify.studies.convergence import BackendCurve, BackendStudy

STUDY_COLUMNS = (
    "datum",
    "source",
    "norm",
    "n",
    "error_lo",
    "error_hi",
    "first_order_term",
    "remainder_lo",
    "remainder_hi",
    "local_slope_lo",
    "local_slope_hi",
)
BACKEND_COLUMNS = (
    "target",
    "device",
    "dtype",
    "n",
    "error_lo",
    "error_hi",
    "own_error_lo",
    "own_error_hi",
    "predicted_floor",
    "above_floor",
)


def study_csv(study: StudyRecord) -> str:
    """Return every point of every curve; enclosures are decimal and rounded outward."""
    rows = (
        [
            curve.datum,
            curve.source,
            curve.norm,
            point.order,
            point.error.lo,
            point.error.hi,
            repr(point.prediction),
            point.remainder.lo,
            point.remainder.hi,
            *(("", "") if point.slope is None else (point.slope.lo, point.slope.hi)),
        ]
        for curve in study.curves
        for point in curve.points
    )
    return _csv(STUDY_COLUMNS, rows)


def backends_csv(study: BackendStudy) -> str:
    """Return the truth of the float64 row, then every point of every target."""
    truth = [["truth", "", "", p.order, p.error.lo, p.error.hi, "0", "0", "", ""] for p in study.truth.points]
    rows = [
        [
            curve.target,
            curve.device,
            curve.dtype,
            point.order,
            point.error.lo,
            point.error.hi,
            point.own.lo,
            point.own.hi,
            repr(point.floor),
            str(point.kept).lower(),
        ]
        for curve in study.curves
        for point in curve.points
    ]
    return _csv(BACKEND_COLUMNS, [*truth, *rows])


def picture_csv(record: PictureRecord) -> str:
    """Return the numbers of the picture as they are drawn."""
    rows = ([cell if isinstance(cell, str) else repr(cell) for cell in row] for row in record.rows)
    return _csv(record.columns, rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([clean(cell) for cell in row] for row in rows)
    return stream.getvalue()


def study_table(study: StudyRecord) -> str:
    """One row per curve: coefficient, asymptotic orders, slope with its interval, intercept, slope of the remainder."""
    head = ("datum", "error", "$c$", "from $n$", "slope", r"95\,\% interval", "intercept$/c$", "remainder")
    rows = [_curve_cells(curve) for curve in study.curves if curve.norm in study.norms]
    return _table("llrrrcrr", head, rows)


def _curve_cells(curve: ErrorCurve) -> list[str]:
    first = [tex(curve.datum), SHORT[curve.norm]]
    if curve.fit is None or curve.coefficient is None:
        reason = curve.degenerate or "too few orders to fit"
        return [*first, rf"\multicolumn{{6}}{{l}}{{{tex(reason)}}}"]
    rest = "--" if curve.remainder_fit is None else signed(curve.remainder_fit.slope.middle)
    return [
        *first,
        f"${power(curve.coefficient.middle, 5)}$",
        f"${rounded(curve.fit.first)}$",
        *_fit_cells(curve.fit),
        rest,
    ]


def _fit_cells(fit: LineFit) -> list[str]:
    low, high = fit.interval
    ratio = "--" if fit.ratio is None else f"{fit.ratio.middle:.4f}"
    return [signed(fit.slope.middle), f"$[{low:.5f},\\,{high:.5f}]$", ratio]


def backends_table(study: BackendStudy) -> str:
    """One row per target and dtype: where it meets its floor, its κ, where it turns, and the fit above the floor."""
    head = ("target", "dtype", "meets floor", r"$\kappa$ seen", "turns up", "fitted", "slope", "intercept$/c_1$")
    return _table("llrrrcrr", head, [_backend_cells(curve) for curve in study.curves])


def _backend_cells(curve: BackendCurve) -> list[str]:
    first = [tex(curve.target), tex(curve.dtype)]
    if curve.failure or curve.kappa is None or curve.meets is None:
        return [*first, rf"\multicolumn{{6}}{{l}}{{{tex(curve.failure or curve.refused)}}}"]
    turns = "no" if curve.turns is None else f"$n={rounded(curve.turns)}$"
    found = [f"${power(curve.meets)}$", f"${power(curve.kappa)}$", turns]
    if curve.fit is None:
        return [*first, *found, "--", "--", "--"]
    fitted = f"${rounded(curve.fit.first)}$ to ${rounded(curve.fit.last)}$"
    cells = _fit_cells(curve.fit)
    return [*first, *found, fitted, cells[0], cells[2]]


def _table(columns: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", " & ".join(head) + r" \\", r"\hline"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def tex(text: str) -> str:
    r"""Return plain text as LaTeX.

    >>> tex("a_b, 5 % of α")
    'a\\_b, 5 \\% of $\\alpha$'
    """
    text = unmarked(text)
    for letter, name in (("α", "alpha"), ("∞", "infty"), ("κ", "kappa")):
        text = text.replace(letter, f"$\\{name}$")
    return escaped(text)


def signed(value: float) -> str:
    """Return a slope as LaTeX mathematics, which has a true minus sign."""
    return f"${value:.5f}$"


def rounded(order: str) -> str:
    """Return an order to four digits, for use inside LaTeX mathematics.

    >>> rounded("90.50966799187809"), rounded("4/3")
    ('90.51', '1.333')
    """
    top, _, bottom = order.partition("/")
    value = float(top) / float(bottom or 1)
    return f"{value:.4g}" if value < 1e5 else power(value, 4)


def power(value: float, digits: int = 2) -> str:
    r"""Return a number for LaTeX mathematics, in scientific notation if it is large or small.

    >>> power(17157985.8), power(0.47)
    ('1.7\\cdot10^{7}', '0.47')
    """
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        # Write whole numbers in full: the format would give them an exponent.
        return f"{value:.{digits}g}" if abs(value) < 10 ** (digits - 1) else f"{value:.0f}"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}\\cdot10^{{{int(exponent)}}}"


def span(values: Sequence[float], digits: int) -> str:
    """Return the least and the largest of some numbers, or the only one."""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return f"${low}$" if low == high else f"${low}$ to ${high}$"
