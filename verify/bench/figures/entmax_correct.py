"""Compare entmax with ``rounding="correct"``, which proves every element the nearest float32, with the fast mode."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from kernelproof.reference import bulk
from kernelproof.verify.bench.agreement import both, exact_agreement
from kernelproof.verify.bench.bench_record import Agreement, Goal
from kernelproof.verify.bench.figure import Contest, Figure, FigureFamily, FigureGroup, Sizes
from kernelproof.verify.bench.figures._rows import SHAPES, logits, numba_backend, order_text, shape_text

ORDERS = (1.0, 2.0, 3.0, 5.0, 8.0, 64.0, np.inf, 0.5, 1.5, 2.7)
CHECKED = 1 << 18
"""Elements to compare with the truth, in whole rows from the first on."""


def prepare(order: float, shape: tuple[int, int], sizes: Sizes) -> Contest:
    """Prepare both modes on the same float32 logits."""
    found = numba_backend("rounding")
    z = logits(sizes.rows(shape[0]), shape[1], "float32")

    def check(ours: Any, rival: Any) -> Agreement:
        rows = max(1, CHECKED // shape[1])
        truth = bulk.round_entmax(z[:rows], order, "float32").values
        wrong = float(np.mean(rival[:rows] != truth))
        told = f"the fast mode differs from it in {wrong:.2g} of them"
        return both(exact_agreement(ours[:rows], truth, f"{truth.size} correctly rounded weights"), told)

    return Contest(
        lambda: found.entmax(z, order=order, rounding="correct"), lambda: found.entmax(z, order=order), check
    )


def _figures() -> tuple[Figure, ...]:
    return tuple(
        Figure(
            f"{order:g}-{shape[0]}x{shape[1]}",
            {"order": order_text(order), "dtype": "float32", "shape": shape_text(shape)},
            'numba entmax, rounding="correct"',
            "numba entmax",
            partial(prepare, order, shape),
        )
        for shape in SHAPES
        for order in ORDERS
    )


FAMILY = FigureFamily(
    "entmax_correct",
    "Correct rounding beside the fast mode",
    (FigureGroup("correct", "entmax, correctly rounded, float32", Goal(kind="times", value=2.0), _figures()),),
    rank=3,
)
