"""Compare the vector-Jacobian product of entmax in the Numba backend with its forward pass."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from kernelproof.verify.bench.agreement import joined, parameter_agreement, product_agreement
from kernelproof.verify.bench.bench_record import Agreement, Goal
from kernelproof.verify.bench.figure import Contest, Figure, FigureFamily, FigureGroup, Sizes
from kernelproof.verify.bench.figures._rows import SHAPES, cotangents, logits, numba_backend, order_text, shape_text

ORDERS = (1.0, 2.0, 3.0, 8.0, np.inf, 2.7)


def prepare(order: float, shape: tuple[int, int], dtype: str, wrt: tuple[str, ...] | None, sizes: Sizes) -> Contest:
    """Prepare both on the same logits; the product starts from the logits, as it does for a user of the library."""
    found = numba_backend()
    rows = sizes.rows(shape[0])
    z, g = logits(rows, shape[1], dtype), cotangents(rows, shape[1], dtype)

    # At ∞ the derivative in the order is 0, so the derivative in α is measured.
    number: dict[str, Any] = {"alpha": 1} if np.isinf(order) and wrt is None else {"order": order}

    def check(ours: Any, _: Any) -> Agreement:
        logits_agree = product_agreement(z, g, ours["z"], order)
        if wrt is not None:
            return logits_agree
        return joined(logits_agree, parameter_agreement(z, g, ours[next(iter(number))], order))

    return Contest(lambda: found.vjp("entmax", g, z, **number, wrt=wrt), lambda: found.entmax(z, **number), check)


def _figures(dtype: str, wrt: tuple[str, ...] | None) -> tuple[Figure, ...]:
    wanted = "z and order" if wrt is None else " and ".join(wrt)
    return tuple(
        Figure(
            f"{dtype}-{order:g}-{shape[0]}x{shape[1]}{'-order' if wrt is None else ''}",
            {"order": order_text(order), "dtype": dtype, "shape": shape_text(shape)},
            f"numba vjp of entmax, in {wanted}",
            "numba entmax",
            partial(prepare, order, shape, dtype, wrt),
        )
        for shape in SHAPES
        for order in ORDERS
    )


FAMILY = FigureFamily(
    "entmax_vjp",
    "Vector-Jacobian products beside the forward",
    tuple(
        FigureGroup(
            f"{name}-{dtype}", f"vjp of entmax in {what}, {dtype}", Goal(kind="times", value=1.5), _figures(dtype, wrt)
        )
        for name, what, wrt in (("vjp", "the logits", ("z",)), ("vjp-order", "logits and order", None))
        for dtype in ("float32", "float64")
    ),
    rank=4,
)
