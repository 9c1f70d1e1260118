"""Matplotlib figures as SVG for a page: deterministic, in colors that the page sets, with text kept as text.

Colors are drawn as placeholders, which become CSS variables of the page, so that one figure fits a light and a dark
page. Identifiers contain the name of the figure, so that one page can hold many figures.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_VARIABLES = (
    "ink",
    "soft",
    "line",
    "card",
    "grade-a",
    "grade-b",
    "grade-c",
    "grade-f",
    *(f"s{i}" for i in range(1, 8)),
)
COLOR = {name: f"#0{at:x}fe0{at:x}" for at, name in enumerate(_VARIABLES)}
SERIES = tuple(COLOR[f"s{i}"] for i in range(1, 8))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# On a phone the page shows a figure about 330 px wide, so one point is about one pixel there.
WIDTH = 4.7
HEIGHT = 3.5

_STYLE = {
    "axes.edgecolor": COLOR["soft"],
    "axes.labelcolor": COLOR["ink"],
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "grid.color": COLOR["line"],
    "grid.linewidth": 0.7,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.labelcolor": COLOR["ink"],
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "svg.hashsalt": "kernelproof",
    "text.color": COLOR["ink"],
    "text.parse_math": False,
    "xtick.color": COLOR["soft"],
    "xtick.labelcolor": COLOR["ink"],
    "xtick.labelsize": 10,
    "ytick.color": COLOR["soft"],
    "ytick.labelcolor": COLOR["ink"],
    "ytick.labelsize": 10,
}


def power(value: float, base: int) -> str:
    """Return a tick of a logarithmic scale as plain text, because the page cannot typeset mathematics.

    >>> power(1e-3, 10), power(1.0, 10), power(64.0, 2)
    ('10⁻³', '1', '2⁶')
    """
    exponent = round(math.log(value, base))
    return "1" if exponent == 0 else str(base) + str(exponent).translate(_RAISED)


@contextmanager
def drawing() -> Iterator[Axes]:
    """Provide axes to draw on in our own style; the settings of the user do not matter and are restored."""
    with style.context(["default", _STYLE], after_reset=True), mpl.rc_context():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained", facecolor="none")
        axes = figure.add_subplot()
        axes.set_facecolor("none")
        axes.grid(visible=True, axis="y")
        axes.set_axisbelow(True)
        yield axes


def svg(axes: Axes, name: str, label: str) -> str:
    """Return the figure of `axes` as an ``<svg>`` element; call it inside `drawing`.

    Args:
        axes: from `drawing`.
        name: ASCII letters, digits and hyphens; unique in the page.
        label: what a screen reader says in place of the figure; escaped here.
    """
    figure = axes.get_figure()
    if not isinstance(figure, Figure):
        msg = f"axes must belong to a figure; got {figure!r}"
        raise TypeError(msg)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    return _inline(text[text.index("<svg") :], name, label)


def _inline(text: str, name: str, label: str) -> str:
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    for variable, color in COLOR.items():
        text = text.replace(color, f"var(--{variable})")
    text = re.sub(r"font: ([^']*)'[^\";]*", r"font: \1var(--sans)", text)
    text = text.replace("xlink:href", "href")
    view = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg {view[0] if view else ""} role="img" aria-label="{_attribute(label)}">'
    text = re.sub(r"^<svg[^>]*>", lambda _: head, text)
    return re.sub(r"\n\s*\n+", "\n", text).strip()


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
