"""Captions that state the numbers of a figure, in LaTeX and as plain text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from kernelproof.reports.paper.curves import SHORT
from kernelproof.reports.paper.tables import power, rounded, span, tex
from kernelproof.theory.convergence.norms import Norm
from kernelproof.theory.convergence.pictures import PictureRecord
from kernelproof.theory.convergence.records import CurveState, ErrorCurve, LineFit, StudyRecord
from kernelproof.verify.studies.convergence import BackendCurve, BackendStudy


def study_caption(study: StudyRecord) -> str:
    """State what is shown, the slopes and intercepts with the range of the fit, and what was not fitted."""
    parts = [rf"\textbf{{{study.title}.}} {study.says}"]
    for norm in study.norms:
        curves = [curve for curve in study.curves if curve.norm is norm and curve.fit is not None]
        if curves:
            name = "" if len(study.norms) == 1 else f"{SHORT[norm]}: "
            parts.append(_fitted(name, norm, curves))
    parts.append(
        r"(a) Certified errors, whose enclosures are narrower than the lines, with the first-order term $c\,n^{s}$ "
        r"dotted. (b) Slopes between neighbouring orders; dotted: the limits."
    )
    degenerate = {curve.datum: curve.degenerate for curve in study.curves if curve.state is CurveState.DEGENERATE}
    for datum, reason in degenerate.items():
        parts.append(f"Not fitted is ``{tex(datum)}'': {tex(reason)}, so its first coefficient is exactly 0.")
    short = sorted({curve.datum for curve in study.curves if curve.state is CurveState.SHORT})
    if short:
        parts.append(f"Too few orders to fit: {tex(', '.join(short))}.")
    empty = sorted({curve.datum for curve in study.curves if curve.absent})
    if empty:
        parts.append(f"At the smallest orders the ball is empty for {tex('; '.join(empty))}.")
    return " ".join(parts) + "\n"


def _fitted(name: str, norm: Norm, curves: Sequence[ErrorCurve]) -> str:
    fits = [curve.fit for curve in curves if curve.fit is not None]
    rests = [curve.remainder_fit.slope.middle for curve in curves if curve.remainder_fit is not None]
    ratios = [fit.ratio.middle for fit in fits if fit.ratio is not None]
    latest = max(fits, key=_start)
    slopes = span([fit.slope.middle for fit in fits], 4)
    text = (
        f"{name}{'slopes' if name else 'Slopes'} {slopes} by least squares over {len(fits)} "
        f"{'curve' if len(fits) == 1 else 'curves'}, widest 95\\,\\% interval $\\pm{power(_widest(fits))}$, intercepts "
        f"{span(ratios, 4)} times the exact coefficient, every local slope within 0.01 of ${norm.slope}$ from "
        f"$n={rounded(latest.first)}$ on"
    )
    return text + (f"; after the first-order term is subtracted, slopes {span(rests, 4)}." if rests else ".")


def _start(fit: LineFit) -> float:
    top, _, bottom = fit.first.partition("/")
    return float(top) / float(bottom or 1)


def _widest(fits: Sequence[LineFit]) -> float:
    return max((fit.interval[1] - fit.interval[0]) / 2 for fit in fits)


def backends_caption(study: BackendStudy) -> str:
    """State what is shown, where the floors are met, and which curves turn upward."""
    what = (
        r"\textbf{Backends.} Total variation between softmax and the weights that each implementation returns for one "
        f"row of {len(study.row)} logits $N(0, 2^2)$, rounded to its dtype. Dotted: the predicted rounding floor, the "
        r"unit roundoff $u$ times the condition unit of the row ($\kappa=1$); stars: where $c_1/n$ meets it."
    )
    panels = (
        r"(a) Distance to softmax. (b) Distance to the certified weights of the same order, over the predicted floor: "
        r"the $\kappa$ seen."
    )
    parts = [what, panels]
    meets = {curve.dtype: curve.meets for curve in study.curves if curve.meets is not None}
    if meets:
        where = ", ".join(f"$n={power(order)}$ in {tex(dtype)}" for dtype, order in meets.items())
        parts.append(f"The floor is met at {where}.")
    steady = [curve for curve in study.curves if curve.built_in and curve.points]
    if steady:
        worst = max(curve.kappa or 0.0 for curve in steady)
        parts.append(rf"Largest $\kappa$ seen of the built-in backends: {worst:.2g}.")
    parts += [_turned(curve) for curve in study.curves if curve.turns is not None]
    parts += [f"{tex(curve.label)}: {tex(curve.failure)}." for curve in study.curves if curve.failure]
    fits = [curve.fit for curve in study.curves if curve.fit is not None]
    if fits:
        slopes = span([fit.slope.middle for fit in fits], 4)
        parts.append(f"Slopes of the points above their floors (own error below 0.1\\,\\%): {slopes}.")
    return " ".join(parts) + "\n"


def _turned(curve: BackendCurve) -> str:
    text = f"{tex(curve.target)} in {tex(curve.dtype)} turns upward at $n={rounded(curve.turns or '0')}$"
    return rf"{text} ($\kappa$ up to ${power(curve.kappa or 0.0)}$)."


def picture_caption(record: PictureRecord) -> str:
    """State what is shown."""
    return rf"\textbf{{{record.title}.}} {record.says}" + "\n"


_GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "sigma": "σ", "kappa": "κ", "ell": "ℓ"}
_PLAIN: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"\\textbf\{([^{}]*)\}|\\emph\{([^{}]*)\}|\\mathrm\{([^{}]*)\}", r"\1\2\3"),
    (r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2"),
    (r"\\cdot", "·"),
    (r"\\infty", "∞"),
    (r"\\(alpha|beta|gamma|sigma|kappa|ell)(?![a-zA-Z])", lambda m: _GREEK[m[1]]),
    (r"\\sqrt\{?(\w)\}?", r"√\1"),
    (r"\\sum", "Σ"),
    (r"\\propto", "∝"),
    (r"\\sim", "~"),
    (r"\\hat y", "ŷ"),
    (r"\\langle|\\rangle", ""),
    (r"\\\|", "‖"),
    (r"\\ge\b", "≥"),
    (r"\\pm", "±"),
    (r"\\,", " "),
    (r"\\([_%&#])", r"\1"),
    (r"``|''", '"'),
    (r"--", "–"),
    (r"\$-(?=\d)", "$−"),
    (r"\^\{([^{}]*)\}", r"^\1"),
    (r"_\{([^{}]*)\}", r"_\1"),
    (r"[${}\\]", ""),
)


def plain(latex: str) -> str:
    r"""Return a caption as plain text, for use without LaTeX.

    >>> plain(r"The order $n=\infty$ of $p_{i}$")
    'The order n=∞ of p_i'
    """
    for pattern, text in _PLAIN:
        latex = re.sub(pattern, text, latex)
    return latex
