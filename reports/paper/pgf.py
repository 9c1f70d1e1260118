"""Write a figure as PGF without LaTeX: matplotlib's own PGF renderer, with text measured by its mathtext.

The measurements serve only the layout; the LaTeX of the paper sets the text in its own fonts. The file needs the
packages pgf and amsmath, and is included with ``input``.
"""

from __future__ import annotations

import io
import re
from typing import Any

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.backends.backend_pgf import RendererPgf
from matplotlib.figure import Figure

from kernelproof.reference.plain_text import one_line

_SPECIAL = {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#"}


class _Renderer(RendererPgf):
    """A PGF renderer that measures text by mathtext."""

    def __init__(self, figure: Figure, fh: Any) -> None:
        super().__init__(figure, fh)  # type: ignore[no-untyped-call]
        width, height = figure.get_size_inches() * figure.dpi
        self._measure = RendererAgg(width, height, figure.dpi)  # type: ignore[no-untyped-call]

    def get_text_width_height_descent(self, s: Any, prop: Any, ismath: Any) -> Any:
        """Return width, height and descent in pixels, measured by mathtext."""
        return self._measure.get_text_width_height_descent(s, prop, ismath)  # type: ignore[no-untyped-call]

    def draw_text(
        self, gc: Any, x: Any, y: Any, s: Any, prop: Any, angle: Any, ismath: Any = False, mtext: Any = None
    ) -> None:
        """Draw text; outside mathematics, characters that are special to LaTeX are escaped."""
        super().draw_text(gc, x, y, escaped(s), prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]


def unmarked(text: str) -> str:
    r"""Return text from outside on one line, without characters that LaTeX or mathtext would read as markup.

    >>> unmarked("a$b^{c}\x00")
    'ab(c)/x00'
    """
    text = one_line(text)
    for mark, plain in (("\\", "/"), ("{", "("), ("}", ")"), ("~", "-"), ("^", ""), ("$", "")):
        text = text.replace(mark, plain)
    return text


def escaped(text: str) -> str:
    r"""Return text for LaTeX: mathematics unchanged, and special characters outside it escaped.

    >>> escaped("entmax_bisect, $p_1$")
    'entmax\\_bisect, $p_1$'
    """
    parts = re.split(r"(\$[^$]*\$)", text)
    return "".join(
        part if part.startswith("$") else "".join(_SPECIAL.get(letter, letter) for letter in part) for part in parts
    )


_HEAD = r"""%% Needs \usepackage{pgf} (and amsmath) in the preamble; include with \input{%(name)s.pgf}.
\begingroup
\makeatletter
\providecommand{\mathdefault}[1]{#1}
\begin{pgfpicture}
\pgfpathrectangle{\pgfpointorigin}{\pgfqpoint{%(width)fin}{%(height)fin}}
\pgfusepath{use as bounding box, clip}
"""
_TAIL = r"""\end{pgfpicture}
\makeatother
\endgroup
"""


def pgf(figure: Figure, name: str) -> str:
    """Return the PGF text of a figure whose layout is done and which has no images."""
    width, height = figure.get_size_inches()
    stream = io.StringIO()
    stream.write(_HEAD % {"name": name, "width": width, "height": height})
    figure.draw(_Renderer(figure, stream))
    return stream.getvalue() + _TAIL
