"""The vector-Jacobian product of entmax beside its forward, on the Numba backend."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from kernelproof.verify.bench.agreement import product_agreement
from kernelproof.verify.bench.figure import Claim, Contest, Family, Figure, Sizes
from kernelproof.verify.bench.figures._rows import SHAPES, cotangents, logits, numba_backend, order_text, shape_text
from kernelproof.verify.bench.records import Agreement, Goal

ORDERS = (1.0, 2.0, 3.0, 8.0, np.inf, 2.7)


def prepare(order: float, shape: tuple[int, int], dtype: str, sizes: Sizes) -> Contest:
    """Both on the same logits; the product is taken from the logits, as a user of the library takes it."""
    found = numba_backend()
    rows = sizes.rows(shape[0])
    z, g = logits(rows, shape[1], dtype), cotangents(rows, shape[1], dtype)

    def check(ours: Any, _: Any) -> Agreement:
        return product_agreement(z, g, ours["z"], order)

    return Contest(lambda: found.vjp("entmax", g, z, order=order), lambda: found.entmax(z, order=order), check)


def _figures(dtype: str) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            f"{dtype}-{order:g}-{shape[0]}x{shape[1]}",
            {"order": order_text(order), "dtype": dtype, "shape": shape_text(shape)},
            "numba vjp of entmax, in z and order",
            "numba entmax",
            partial(prepare, order, shape, dtype),
        )
        for shape in SHAPES
        for order in ORDERS
    )


FAMILY = Family(
    "entmax_vjp",
    "Vector-Jacobian products beside the forward",
    tuple(
        Claim(f"vjp-{dtype}", f"vjp of entmax, {dtype}", Goal(kind="times", value=1.5), _figures(dtype))
        for dtype in ("float32", "float64")
    ),
    rank=4,
)
