"""The numbers behind each figure: CSV with enclosures as decimals, and a LaTeX table that needs no package."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from kernelproof.reference.plain_text import clean
from kernelproof.reports.paper.curves import SHORT
from kernelproof.reports.paper.pgf import escaped, unmarked
from kernelproof.theory.convergence.pictures import PictureRecord
from kernelproof.theory.convergence.records import CurveState, ErrorCurve, StudyRecord
from kernelproof.verify.studies.backend_records import BackendCurve, BackendStudy, Verdict

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
    """One row per curve: coefficient, what is proved from which order on, slopes, the last error, the remainder."""
    head = ("datum", "error", "$c$", "from $n$", "$C$", "local slopes", "slope", "last$/c$", "remainder")
    rows = [_curve_cells(curve) for curve in study.curves if curve.norm in study.norms]
    return _table("llrrrcrrr", head, rows)


def _curve_cells(curve: ErrorCurve) -> list[str]:
    first, window = [tex(curve.datum), SHORT[curve.norm]], curve.window
    if curve.state is not CurveState.HOLDS or window is None or curve.coefficient is None:
        return [*first, rf"\multicolumn{{7}}{{l}}{{{tex(curve.degenerate or curve.state.value)}}}"]
    slopes = "--"
    if window.slopes is not None:
        slopes = f"$[{float(window.slopes.lo):.5f},\\,{float(window.slopes.hi):.5f}]$"
    return [
        *first,
        f"${power(curve.coefficient.middle, 5)}$",
        f"${window.first}$",
        f"${upward(float(window.relative), 3)}$",
        slopes,
        "--" if curve.fit is None else signed(curve.fit.slope.middle),
        "--" if window.ratio is None else f"{window.ratio.middle:.4f}",
        "--" if curve.remainder_fit is None else signed(curve.remainder_fit.slope.middle),
    ]


def backends_table(study: BackendStudy) -> str:
    """One row per target and dtype: verdict and κ, where it meets its floor and turns, and the line above the floor."""
    head = ("target", "dtype", "verdict", r"$\kappa$", "meets floor", "turns up", "fitted", "slope", "intercept$/c_1$")
    return _table("lllrrrcrr", head, [_backend_cells(curve) for curve in study.curves])


def _backend_cells(curve: BackendCurve) -> list[str]:
    first = [tex(curve.target), tex(curve.dtype), curve.verdict.value]
    if curve.meets is None or curve.kappa is None:
        # Why there is no answer may depend on the speed of the machine.
        why = "" if curve.verdict is Verdict.NO_ANSWER else curve.why or curve.refused
        return [*first, rf"\multicolumn{{6}}{{l}}{{{tex(why)}}}"]
    turns = "no" if curve.turns is None else f"$n={rounded(curve.turns)}$"
    found = [kappa_text(curve.kappa), f"${power(curve.meets)}$", turns]
    if curve.fit is None:
        return [*first, *found, "--", "--", "--"]
    fitted = f"${rounded(curve.fit.first)}$ to ${rounded(curve.fit.last)}$"
    ratio = "--" if curve.fit.ratio is None else f"{curve.fit.ratio.middle:.4f}"
    return [*first, *found, fitted, signed(curve.fit.slope.middle), ratio]


def kappa_text(kappa: float) -> str:
    r"""Return a κ as LaTeX; it is ∞ where an answer is missing or not finite.

    >>> kappa_text(1234567.0), kappa_text(float("inf"))
    ('$1.2\\cdot10^{6}$', '$\\infty$')
    """
    return rf"${power(kappa)}$" if kappa < float("inf") else r"$\infty$"


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


def upward(value: float, digits: int) -> str:
    """Return a positive number as `power` does, rounded upward: a bound that is printed is a bound.

    >>> upward(2.4412, 3), upward(386.02, 2)
    ('2.45', '390')
    """
    scale = 10.0 ** (math.floor(math.log10(value)) - digits + 1) if value > 0 else 1.0
    return power(math.ceil(value / scale) * scale, digits)


def span(values: Sequence[float], digits: int) -> str:
    """Return the least and the largest of some numbers, or the only one."""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return f"${low}$" if low == high else f"${low}$ to ${high}$"
