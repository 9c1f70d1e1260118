r"""Split text at ``$math$`` and ``\[display\]`` into pieces; write each piece as HTML, its mathematics as MathML.

MathML needs no script and no extra font, so that a page with mathematics opens offline like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from latex2mathml.converter import convert
from markupsafe import Markup, escape

from kernelproof.reference.plain_text import clean

_MATH = re.compile(r"\\\[(?P<display>.+?)\\\]|(?<!\\)\$(?P<inline>.+?)(?<!\\)\$", re.DOTALL)

_ELEMENTS = frozenset(
    [
        "math",
        "mrow",
        "mi",
        "mo",
        "mn",
        "mtext",
        "mspace",
        "mfrac",
        "msqrt",
        "mroot",
        "msub",
        "msup",
        "msubsup",
        "munder",
        "mover",
        "munderover",
        "mtable",
        "mtr",
        "mtd",
        "mstyle",
        "mpadded",
        "mphantom",
        "menclose",
    ]
)
_ATTRIBUTES = frozenset(
    [
        "xmlns",
        "display",
        "stretchy",
        "fence",
        "form",
        "separator",
        "width",
        "height",
        "depth",
        "lspace",
        "rspace",
        "columnalign",
        "rowspacing",
        "columnspacing",
        "mathvariant",
        "accent",
        "accentunder",
        "linethickness",
        "displaystyle",
        "scriptlevel",
        "largeop",
        "movablelimits",
        "symmetric",
        "minsize",
        "maxsize",
        "notation",
    ]
)


class Piece(NamedTuple):
    """A piece of prose: `kind` is "text", "inline" or "display"; mathematics is without its delimiters."""

    kind: str
    body: str


def pieces(text: str) -> Iterator[Piece]:
    r"""Yield the pieces of `text` in order.

    >>> [piece.kind for piece in pieces(r"for $n > 0$: \[x = 1\]")]
    ['text', 'inline', 'text', 'display']
    """
    end = 0
    for found in _MATH.finditer(text):
        if found.start() > end:
            yield Piece("text", text[end : found.start()])
        kind = "display" if found["display"] is not None else "inline"
        yield Piece(kind, found[kind])
        end = found.end()
    if end < len(text):
        yield Piece("text", text[end:])


def html(text: str) -> Markup:
    """Return `text` as HTML, its mathematics as MathML; a formula that is not valid LaTeX is shown as written."""
    return Markup("").join(_piece(piece) for piece in pieces(clean(text)))


def _piece(piece: Piece) -> Markup:
    if piece.kind == "text":
        return escape(piece.body)
    # The converter copies the inside of \\text unchanged, so no angle bracket may reach it.
    formula = piece.body.replace("<", r"\lt ").replace(">", r"\gt ")
    try:
        found = convert(formula, display="block" if piece.kind == "display" else "inline")
    except Exception:  # noqa: BLE001 (a formula from outside may be anything, and the converter raises anything)
        found = ""
    if found and _is_plain(found):
        return Markup(found)  # noqa: S704 (it has only the MathML elements and attributes named above)
    return Markup("<code>{}</code>").format(piece.body)


def _is_plain(mathml: str) -> bool:
    """Whether `mathml` has only elements and attributes that typeset and do nothing else."""
    tags = re.findall(r"<(/?)([^\s/>]*)([^>]*)>", mathml)
    attributes = [name for _, _, rest in tags for name in re.findall(r"([^\s=\"]+)=\"[^\"]*\"", rest)]
    left = "".join(re.sub(r"[^\s=\"]+=\"[^\"]*\"", "", rest) for _, _, rest in tags)
    return (
        all(name in _ELEMENTS for _, name, _ in tags)
        and all(name in _ATTRIBUTES for name in attributes)
        and not left.strip(" /")
    )
