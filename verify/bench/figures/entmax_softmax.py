"""Compare entmax of the Numba backend with torch.softmax: does the sparse transform cost more than the dense one?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from kernelproof.verify.bench.agreement import both, weights_agreement, weights_kappa
from kernelproof.verify.bench.bench_record import Agreement, Goal
from kernelproof.verify.bench.figure import Contest, Figure, FigureFamily, FigureGroup, Sizes
from kernelproof.verify.bench.figures._rows import SHAPES, logits, numba_backend, order_text, shape_text, torch

GROUPS: tuple[tuple[str, str, float, tuple[float, ...]], ...] = (
    ("low", "orders 1, 2, 3", 1.5, (1.0, 2.0, 3.0)),
    ("integers", "orders 5, 8, ∞", 3.0, (5.0, 8.0, np.inf)),
    ("real", "orders 0.5, 1.5, 2.7, 64", 8.0, (0.5, 1.5, 2.7, 64.0)),
)


def prepare(order: float, shape: tuple[int, int], dtype: str, sizes: Sizes) -> Contest:
    """Prepare both on the same logits."""
    found, library = numba_backend(), torch()
    z = logits(sizes.rows(shape[0]), shape[1], dtype)
    tensor = library.from_numpy(z.copy())

    def check(ours: Any, rival: Any) -> Agreement:
        kappa, _, _ = weights_kappa(z, rival.numpy(), np.inf)
        return both(weights_agreement(z, ours, order), f"torch.softmax: worst κ {kappa:.2g} as softmax")

    return Contest(lambda: found.entmax(z, order=order), lambda: library.softmax(tensor, -1), check)


def _claim(group: tuple[str, str, float, tuple[float, ...]], dtype: str) -> FigureGroup:
    slug, title, bound, orders = group
    figures = tuple(
        Figure(
            f"{dtype}-{order:g}-{shape[0]}x{shape[1]}",
            {"order": order_text(order), "dtype": dtype, "shape": shape_text(shape)},
            "numba entmax",
            "torch.softmax",
            partial(prepare, order, shape, dtype),
        )
        for shape in SHAPES
        for order in orders
    )
    return FigureGroup(f"{slug}-{dtype}", f"entmax, {title}, {dtype}", Goal(kind="times", value=bound), figures)


FAMILY = FigureFamily(
    "entmax_softmax",
    "Entmax beside softmax",
    tuple(_claim(group, dtype) for dtype in ("float32", "float64") for group in GROUPS),
    rank=1,
)
