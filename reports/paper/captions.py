"""Captions that state the numbers of a figure, in LaTeX and as plain text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from kernelproof.reports.paper.curves import SHORT
from kernelproof.reports.paper.tables import kappa_text, power, rounded, span, tex, upward
from kernelproof.theory.convergence.norms import Norm
from kernelproof.theory.convergence.pictures import PictureRecord
from kernelproof.theory.convergence.records import CurveState, ErrorCurve, StudyRecord, Window
from kernelproof.verify.studies.backend_records import BackendCurve, BackendStudy, Verdict


def study_caption(study: StudyRecord) -> str:
    """State what is shown, what is proved and what agrees with it, and what was not judged."""
    parts = [rf"\textbf{{{study.title}.}} {study.says}"]
    for norm in study.norms:
        curves = [curve for curve in study.curves if curve.norm is norm and curve.state is CurveState.HOLDS]
        if curves:
            parts.append(_proved("" if len(study.norms) == 1 else f"{SHORT[norm]}: ", norm, curves))
    parts.append(
        r"(a) Certified errors, whose enclosures are narrower than the lines, with the first-order term $c\,n^{s}$ "
        r"dotted. (b) Slopes between neighbouring orders; dotted: the limits."
    )
    degenerate = {curve.datum: curve.degenerate for curve in study.curves if curve.state is CurveState.DEGENERATE}
    for datum, reason in degenerate.items():
        parts.append(f"Not judged is ``{tex(datum)}'': {tex(reason)}, so its first coefficient is exactly 0.")
    for state, words in _OTHERS.items():
        named = sorted({curve.datum for curve in study.curves if curve.state is state})
        if named:
            parts.append(f"{words}: {tex('; '.join(named))}.")
    empty = sorted({curve.datum for curve in study.curves if curve.absent})
    if empty:
        parts.append(f"At the smallest orders the ball is empty for {tex('; '.join(empty))}.")
    return " ".join(parts) + "\n"


_OTHERS = {
    CurveState.FAILS: "Not as stated",
    CurveState.UNDECIDED: "Undecided",
    CurveState.UNPROVED: "Without a proved bound",
    CurveState.SHORT: "Too few orders to judge",
}


def _proved(name: str, norm: Norm, curves: Sequence[ErrorCurve]) -> str:
    windows = [curve.window for curve in curves if curve.window is not None]
    slopes = [float(end) for each in windows if each.slopes is not None for end in (each.slopes.lo, each.slopes.hi)]
    ratios = [each.ratio.middle for each in windows if each.ratio is not None]
    rests = [curve.remainder_fit.slope.middle for curve in curves if curve.remainder_fit is not None]
    largest = max((float(each.relative) for each in windows), default=0.0)
    text = (
        f"{name}{'for' if name else 'For'} every real $n\\ge{_first(windows)}$ the error is proved to be "
        f"$c\\,n^{{{norm.slope}}}(1+r)$ with $|r|\\le C/n$, $C\\le{upward(largest, 2)}$ on {len(curves)} "
        f"{'curve' if len(curves) == 1 else 'curves'}; the certified errors there agree, with local slopes "
        f"{span(slopes, 4)}, and at the largest order they are {span(ratios, 4)} times $c\\,n^{{{norm.slope}}}$"
    )
    return text + (f"; less the first-order term, least squares have the slopes {span(rests, 4)}." if rests else ".")


def _first(windows: Sequence[Window]) -> int:
    return max((int(each.first) for each in windows), default=0)


def backends_caption(study: BackendStudy) -> str:
    """State what is shown, where the floors are met, which curves turn upward, and which have not passed and why."""
    what = (
        r"\textbf{Backends.} Total variation between softmax and the weights that each implementation returns for one "
        f"row of {len(study.row)} logits $N(0, 2^2)$, rounded to its dtype. Dotted: the predicted rounding floor, the "
        r"unit roundoff $u$ times the condition unit of the row ($\kappa=1$); stars: where $c_1/n$ meets it."
    )
    panels = (
        r"(a) Distance to softmax. (b) Distance to the certified weights of the same order, over the predicted floor."
    )
    parts = [what, panels]
    meets = {curve.dtype: curve.meets for curve in study.curves if curve.meets is not None}
    if meets:
        where = ", ".join(f"$n={power(order)}$ in {tex(dtype)}" for dtype, order in meets.items())
        parts.append(f"The floor is met at {where}.")
    passed = [curve.kappa or 0.0 for curve in study.curves if curve.verdict is Verdict.PASSED]
    if passed:
        which = "" if len(passed) == len(study.curves) else "Of the curves that passed, "
        parts.append(
            f"{which}{'every' if which else 'Every'} weight at every order is within the grade promised: "
            rf"$\kappa$ is at most {kappa_text(max(passed))}."
        )
    parts += [_turned(curve) for curve in study.curves if curve.turns is not None]
    parts += [_not_passed(curve) for curve in study.curves if curve.verdict is not Verdict.PASSED]
    fits = [curve.fit for curve in study.curves if curve.fit is not None]
    if fits:
        slopes = span([fit.slope.middle for fit in fits], 4)
        parts.append(f"Slopes of the points above their floors (own error below 0.1\\,\\%): {slopes}.")
    return " ".join(parts) + "\n"


def _turned(curve: BackendCurve) -> str:
    return f"{tex(curve.target)} in {tex(curve.dtype)} turns upward at $n={rounded(curve.turns or '0')}$."


def _not_passed(curve: BackendCurve) -> str:
    """The verdict and why; of a missing answer only that, because why may depend on the speed of the machine."""
    if curve.verdict is Verdict.NO_ANSWER:
        return f"{tex(curve.label)}: no answer."
    kappa = "" if curve.kappa is None else rf" ($\kappa$ up to {kappa_text(curve.kappa)}, promised is {curve.grade})"
    return f"{tex(curve.label)}: {curve.verdict.value}{kappa}, {tex(curve.why)}."


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
    (r"\\ge(?![a-zA-Z])", "≥"),
    (r"\\le(?![a-zA-Z]) ?", "≤"),
    (r"\\pm", "±"),
    (r"\\,", " "),
    (r"\\([_%&#])", r"\1"),
    (r"``|''", '"'),
    (r"--", "–"),
    (r"([${])-(?=\d)", r"\1−"),
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
