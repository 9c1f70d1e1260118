r"""The claims as a LaTeX document: typeset statements, each with its verdict and evidence.

The document compiles by itself with pdfLaTeX, XeLaTeX or LuaLaTeX, and needs only packages that every distribution has.
For a paper, copy the table between the two comment lines. Text outside mathematics is escaped, and every symbol for
which pdfLaTeX has no glyph becomes mathematics.
"""

from __future__ import annotations

import unicodedata

from kernelproof.reference.plain_text import clean
from kernelproof.reports.theory import words as wording
from kernelproof.reports.theory.prose import pieces
from kernelproof.theory.finding import Verdict
from kernelproof.theory.results import ClaimCheckResult, ClaimResult, TheoryResults

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "…": r"\dots{}",
    "\u202f": r"\,",
    "\u00a0": "~",
}
_MATH = {
    "−": "-",
    "×": r"\times",
    "·": r"\cdot",
    "±": r"\pm",
    "÷": r"\div",
    "√": r"\surd",
    "∞": r"\infty",
    "∂": r"\partial",
    "∑": r"\sum",
    "Σ": r"\Sigma",
    "∏": r"\prod",
    "∫": r"\int",
    "∈": r"\in",
    "∉": r"\notin",
    "⊂": r"\subset",
    "⊆": r"\subseteq",
    "∪": r"\cup",
    "∩": r"\cap",
    "≤": r"\le",
    "≥": r"\ge",
    "≠": r"\ne",
    "≈": r"\approx",
    "≡": r"\equiv",
    "∝": r"\propto",
    "→": r"\to",
    "←": r"\leftarrow",
    "⇒": r"\Rightarrow",
    "⇔": r"\Leftrightarrow",
    "↦": r"\mapsto",
    "↑": r"\uparrow",
    "↓": r"\downarrow",
    "‖": r"\|",
    "⟨": r"\langle",
    "⟩": r"\rangle",
    "ℓ": r"\ell",
    "ℝ": r"\mathbb{R}",
    "ℕ": r"\mathbb{N}",
    "∀": r"\forall",
    "∃": r"\exists",
    "¬": r"\neg",
    "∧": r"\wedge",
    "∨": r"\vee",
    "⊤": r"\top",
    "ᵀ": r"{}^{\mathsf{T}}",
    "′": "'",
    "∅": r"\emptyset",
    "½": r"\tfrac12",
    "¼": r"\tfrac14",
    "≪": r"\ll",
    "≫": r"\gg",
    "₊": "{}_+",
    "⁺": "{}^+",
    "⁻": "{}^-",
    "ⁿ": "{}^n",
    "ᵢ": "{}_i",
    "ⱼ": "{}_j",
    "ₙ": "{}_n",
    "∘": r"\circ",
    "∇": r"\nabla",
    "⌈": r"\lceil",
    "⌉": r"\rceil",
    "⌊": r"\lfloor",
    "⌋": r"\rfloor",
    "≺": r"\prec",
    "≻": r"\succ",
    "≽": r"\succcurlyeq",
}
_VERDICT = {
    Verdict.PROVED: r"\textbf{proved}",
    Verdict.DERIVED: r"\textit{derived}",
    Verdict.CONSISTENT: "consistent",
    Verdict.REFUTED: r"\textbf{refuted}",
    Verdict.UNDECIDED: r"\textit{undecided}",
}
_HEAD = r"""\documentclass[10pt]{article}
\usepackage{iftex}
\ifPDFTeX\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\fi
\usepackage{amsmath,amssymb,array,longtable}
\usepackage[margin=2cm]{geometry}
\setlength{\parindent}{0pt}
\begin{document}
"""
_TABLE = r"""\renewcommand{\arraystretch}{1.25}
\begin{longtable}{>{\raggedright\arraybackslash}p{0.46\linewidth}>{\footnotesize\raggedright\arraybackslash}p{0.48\linewidth}}
\hline
Claim & Evidence\\
\hline
\endhead
"""


def latex(results: TheoryResults) -> str:
    """Return `results` as a LaTeX document without times, so that the same findings give the same bytes."""
    rows = "\n".join(_row(claim) for claim in results.claims)
    evidence = " ".join(rf"\emph{{{kind.value}}}: {escape(words)}." for kind, words in wording.EVIDENCE.items())
    return (
        f"{_HEAD}% kernelproof: the table begins\n{_TABLE}{rows}\n\\end{{longtable}}\n% kernelproof: the table ends\n\n"
        f"{escape(wording.lede(results))} Enclosures at {results.precision} bits; samples from seed {results.seed}.\n\n"
        f"{evidence}\n\\end{{document}}\n"
    )


def escape(text: str) -> str:
    r"""Return plain text as LaTeX; symbols become mathematics.

    >>> escape("50 % of γ ≥ x_1²")
    '50 \\% of $\\gamma$ $\\ge$ x\\_1${}^{2}$'
    """
    return "".join(_character(character) for character in " ".join(clean(text).split(" ")))


def _character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character in _MATH:
        return f"${_MATH[character]}$"
    if character.isascii():
        return character
    return _by_name(character)


def _by_name(character: str) -> str:
    """Translate Greek letters and raised or lowered digits by their Unicode names; leave Latin letters unchanged."""
    name = unicodedata.name(character, "")
    if name.startswith("GREEK SMALL LETTER "):
        return f"$\\{name.rsplit(' ', 1)[1].lower().replace('lamda', 'lambda')}$"
    if name.startswith("GREEK CAPITAL LETTER "):
        return f"$\\{name.rsplit(' ', 1)[1].capitalize().replace('Lamda', 'Lambda')}$"
    plain = unicodedata.normalize("NFKD", character)
    if name.startswith("SUPERSCRIPT") and plain.isascii():
        return f"${{}}^{{{plain}}}$"
    if name.startswith("SUBSCRIPT") and plain.isascii():
        return f"${{}}_{{{plain}}}$"
    if name.startswith("LATIN"):
        return character
    return rf"\texttt{{U+{ord(character):04X}}}"


def _prose(text: str) -> str:
    shapes = {"text": "{}", "inline": "${}$", "display": r"\[{}\]"}
    return "".join(
        shapes[kind].replace("{}", escape(body) if kind == "text" else body, 1) for kind, body in pieces(clean(text))
    )


def _row(claim: ClaimResult) -> str:
    name = rf"\textbf{{{escape(' '.join(filter(None, (claim.label, claim.title))))}}}"
    assumptions = "".join(rf"\par\emph{{{escape(each.name)}}}: {_prose(each.text)}" for each in claim.assumptions)
    source = rf"\par{{\footnotesize {escape(claim.source)}}}"
    why = rf"\par\emph{{Why not more:}} {_prose(claim.why_not_more)}" if claim.why_not_more else ""
    words = rf"\par\emph{{What no machine checks:}} {_prose(claim.argument)}" if claim.argument else ""
    checks = "".join(rf"\par {_check(check)}" for check in claim.checks)
    left = f"{name}.\\par {_prose(claim.statement)}{assumptions}{source}"
    return f"{left}\n& {_VERDICT[claim.verdict]}{words}{checks}{why}\\\\[1ex]\n\\hline"


def _check(check: ClaimCheckResult) -> str:
    found = check.finding
    if found is None:
        return rf"\emph{{unavailable}}: {escape(check.unavailable or '')}"
    said = f"{_prose(check.says)} ({escape(wording.domain(found))}; {escape(wording.coverage(found))})"
    return rf"\emph{{{found.evidence.value}}}, {_VERDICT[found.verdict]}: {said}."
