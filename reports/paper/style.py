"""One style for every figure of a paper: widths of the venue, text in print size, colours for the colour-blind too.

The colours are those of Okabe and Ito. Every series also has its own marker and dashes, so that a print in grey can be
read. The font is STIX, which matches Times.

Source: Okabe & Ito, Color Universal Design, 2008; the style files of the venues.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib import style as mpl_style

from kernelproof.reference.errors import DomainError, meant

INK, SOFT, FAINT = "#000000", "#595959", "#c8c8c8"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Blue, vermilion, green, purple, orange, sky, black: neighbours differ in lightness too."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1)))
STYLES = ("single-column", "double-column", "slides")
VENUES = ("neurips", "icml", "jmlr")

_COLUMN = MappingProxyType({"neurips": 5.5, "icml": 3.25, "jmlr": 6.0})
_TEXT = MappingProxyType({"neurips": 5.5, "icml": 6.75, "jmlr": 6.0})
_SIZE = MappingProxyType({"neurips": 9.0, "icml": 8.0, "jmlr": 9.0})
"""Text size in points, one below that of captions: 10 in NeurIPS and JMLR, 9 in ICML."""
_SLIDE_WIDTH, _SLIDE_SIZE = 12.0, 16.0


@dataclass(frozen=True)
class Look:
    """The style and the venue for which a figure is drawn.

    Attributes:
        style: one of `STYLES`.
        venue: one of `VENUES`; slides do not depend on it.
    """

    style: str = "single-column"
    venue: str = "icml"

    def __post_init__(self) -> None:
        for name, value, allowed in (("style", self.style, STYLES), ("venue", self.venue, VENUES)):
            if value not in allowed:
                msg = f"{name} must be one of {', '.join(allowed)}; got {value!r}{meant(value, allowed)}"
                raise DomainError(msg)

    @property
    def width(self) -> float:
        """The width in inches: of a column, of the text, or of a slide."""
        if self.style == "slides":
            return _SLIDE_WIDTH
        return (_COLUMN if self.style == "single-column" else _TEXT)[self.venue]

    @property
    def size(self) -> float:
        """The size of the text in points."""
        return _SLIDE_SIZE if self.style == "slides" else _SIZE[self.venue]

    @property
    def scale(self) -> float:
        """The ratio of text, lines and marks to those of an 8-point figure."""
        return self.size / 8

    @property
    def narrow(self) -> bool:
        """Whether panels are stacked, because two would not fit side by side."""
        return self.width / self.scale < 4.5

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set matplotlib to this look, whatever the settings of the user, then restore those."""
        with mpl_style.context(["default", self._settings()], after_reset=True), mpl.rc_context():
            yield

    def _settings(self) -> dict[str, Any]:
        s, size = self.scale, self.size
        return {
            "axes.axisbelow": True,
            "axes.edgecolor": SOFT,
            "axes.grid": True,
            "axes.labelsize": size,
            "axes.linewidth": 0.6 * s,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": size,
            "axes.titlelocation": "left",
            "figure.constrained_layout.h_pad": 0.02 * s,
            "figure.constrained_layout.w_pad": 0.02 * s,
            "figure.dpi": 100,
            "font.family": "serif",
            "font.serif": ["STIXGeneral"],
            "font.size": size,
            "grid.color": "#e4e4e4",
            "grid.linewidth": 0.4 * s,
            "hatch.linewidth": 0.5 * s,
            "legend.borderaxespad": 0.2,
            "legend.borderpad": 0.2,
            "legend.columnspacing": 1.2,
            "legend.fontsize": size,
            "legend.frameon": False,
            "legend.handlelength": 2.2,
            "legend.handletextpad": 0.5,
            "legend.labelspacing": 0.25,
            "lines.linewidth": 1.0 * s,
            "lines.markersize": 3.2 * s,
            "lines.markeredgewidth": 0.5 * s,
            "mathtext.fontset": "stix",
            "pdf.fonttype": 42,
            "pgf.rcfonts": False,
            "ps.fonttype": 42,
            "savefig.dpi": 300,
            "svg.fonttype": "path",
            "svg.hashsalt": "kernelproof",
            "xtick.color": SOFT,
            "xtick.labelcolor": INK,
            "xtick.labelsize": size,
            "xtick.major.size": 2.5 * s,
            "xtick.major.width": 0.5 * s,
            "xtick.minor.size": 1.4 * s,
            "xtick.minor.width": 0.4 * s,
            "ytick.color": SOFT,
            "ytick.labelcolor": INK,
            "ytick.labelsize": size,
            "ytick.major.size": 2.5 * s,
            "ytick.major.width": 0.5 * s,
            "ytick.minor.size": 1.4 * s,
            "ytick.minor.width": 0.4 * s,
        }
