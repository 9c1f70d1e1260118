"""How the cost of truth grows, in bulk and by arb: certified weights rounded to float32, on one core."""

from __future__ import annotations

import os

from kernelproof import reference
from kernelproof.reference import bulk
from kernelproof.verify.bench.figure import Call, CostCurve, CostPicture, FigureFamily, Sizes
from kernelproof.verify.bench.figures._rows import logits


def in_bulk(rows: int, keys: int, order: float, workers: int = 1) -> Call:
    """A call of the filter, which leaves undecided elements to arb."""
    z = logits(rows, keys, "float32")
    return lambda: bulk.round_entmax(z, order, "float32", workers=workers, small=0)


def by_arb(keys: int, order: float) -> Call:
    """A call of arb on one row."""
    z = logits(1, keys, "float32")
    return lambda: reference.entmax(z, order=order).weights.round("float32")


def lengths(sizes: Sizes) -> tuple[float, ...]:
    """The numbers of keys: 2^6 to 2^14."""
    return tuple(float(2**power) for power in range(6, 15, 4 if sizes.quick else 2))


def cores(_: Sizes) -> tuple[float, ...]:
    """The numbers of cores to try: 1, 2, 4, … and all."""
    count = os.cpu_count() or 1
    return tuple(float(x) for x in sorted({*(2**p for p in range(count.bit_length())), count}))


FAMILY = FigureFamily(
    "truth_cost",
    "How the cost of truth grows",
    pictures=(
        CostPicture(
            "length",
            "Truth of one row, by its length",
            "keys in a row",
            lengths,
            (
                CostCurve("bulk, order 2, 16 rows", lambda x, _: in_bulk(16, int(x), 2.0)),
                CostCurve("bulk, order 2.7, 16 rows", lambda x, _: in_bulk(16, int(x), 2.7)),
                CostCurve("arb, order 2", lambda x, _: by_arb(int(x), 2.0)),
                CostCurve("arb, order 2.7", lambda x, _: by_arb(int(x), 2.7)),
            ),
            fit_from=256,
            caption="float32, N(0, 2²), one core; bulk does 16 rows in its time, arb one. Fitted from 256 keys on.",
        ),
        CostPicture(
            "cores",
            "Truth in bulk, by threads",
            "threads",
            cores,
            (
                CostCurve("order 8", lambda x, _: in_bulk(256, 1024, 8.0, int(x))),
                CostCurve("order 2.7", lambda x, _: in_bulk(256, 1024, 2.7, int(x))),
            ),
            caption="256 rows of 1024 keys, float32. An exponent of −1 would be a perfect speed-up.",
        ),
    ),
    rank=7,
)
