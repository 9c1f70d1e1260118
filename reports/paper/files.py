"""Save one figure in four formats; the same figure gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kernelproof.reports.paper.pgf import pgf

FORMATS = ("pdf", "pgf", "svg", "png")
_METADATA: Mapping[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": "kernelproof"},
    "svg": {"Date": None, "Creator": "kernelproof"},
    "png": {"Software": "kernelproof"},
}
"""Metadata without dates, so that equal figures give equal bytes."""


def saved(figure: Figure, name: str) -> dict[str, bytes]:
    """Return the files ``name.pdf``, ``.pgf``, ``.svg`` and ``.png`` of a figure; call it inside its `Look`."""
    FigureCanvasAgg(figure)
    # Lay the figure out once, so that all formats share the layout.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    found = {f"{name}.pgf": pgf(figure, name).encode("utf-8")}
    for kind, metadata in _METADATA.items():
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, metadata=metadata)
        found[f"{name}.{kind}"] = stream.getvalue()
    return found
