"""How the cost of entmax in the Numba backend, and of torch.softmax, grows with rows, length, order, support, cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from kernelproof.verify.bench.figure import Call, CostCurve, CostPicture, FigureFamily, Sizes
from kernelproof.verify.bench.figures._rows import logits, module, numba_backend, torch

KEYS = 1024


def entmax(z: Any, order: float) -> Call:
    """A call of the Numba backend on float32 rows."""
    found = numba_backend()
    return lambda: found.entmax(z, order=order)


def softmax(z: Any) -> Call:
    """A call of torch.softmax on the same rows."""
    library = torch()
    tensor = library.from_numpy(z.copy())
    return lambda: library.softmax(tensor, -1)


MADE: tuple[tuple[str, Callable[[Any], Call]], ...] = (
    ("order 1", partial(entmax, order=1.0)),
    ("order 2", partial(entmax, order=2.0)),
    ("order 2.7", partial(entmax, order=2.7)),
    ("order ∞", partial(entmax, order=np.inf)),
    ("torch.softmax", softmax),
)


def curves(rows: Callable[[float, Sizes], Any]) -> tuple[CostCurve, ...]:
    """One line for each order and one for softmax, on the logits that `rows` returns."""
    return tuple(CostCurve(label, partial(_on, rows, make)) for label, make in MADE)


def _on(rows: Callable[[float, Sizes], Any], make: Callable[[Any], Call], x: float, sizes: Sizes) -> Call:
    return make(rows(x, sizes))


def powers(first: int, last: int, step: int = 1) -> Callable[[Sizes], tuple[float, ...]]:
    """Powers of two, with exponents from `first` to `last` in steps of `step`, doubled in a quick run."""
    return lambda sizes: tuple(float(2**power) for power in range(first, last + 1, 2 * step if sizes.quick else step))


def planted(support: float, _: Sizes) -> Any:
    """(512, 1024) rows in which entmax of order 2 keeps `support` keys: these are nearly tied at 0, the rest at −8."""
    size = int(support)
    draw = np.random.default_rng(0)
    z = np.full((512, KEYS), -8.0, np.float32)
    # With S keys within g of the maximum û = S^(-1/2) and γ = 2û; gaps of a tenth of γ keep all S.
    kept = -draw.random((512, size)) * 0.2 * size**-0.5
    for row, values in zip(z, kept, strict=True):
        row[draw.permutation(KEYS)[:size]] = values
    return z


def by_order(label: str, reals: bool) -> CostCurve:
    """The line of entmax on 512 rows at order x, or at order x + 1/2."""
    z = logits(512, KEYS, "float32")
    return CostCurve(label, lambda x, _: entmax(z, x + 0.5 if reals else x))


def on_cores(make: Callable[[Any], Call], x: float, _: Sizes) -> Call:
    """A call with x threads, set in both Numba and torch."""
    count, z = int(x), logits(2048, KEYS, "float32")
    numba, library, call = module("numba", "pip install numba"), torch(), make(z)

    def limited() -> Any:
        # Set on every call, because calls with other numbers of threads take turns with this one.
        numba.set_num_threads(count)
        library.set_num_threads(count)
        return call()

    return limited


def cores(_: Sizes) -> tuple[float, ...]:
    """The numbers of cores to try: 1, 2, 4, … and all."""
    count = os.cpu_count() or 1
    return tuple(float(x) for x in sorted({*(2**p for p in range(count.bit_length())), count}))


def all_cores() -> None:
    """Restore the default number of threads of both libraries."""
    numba, library = module("numba", "pip install numba"), torch()
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    library.set_num_threads(os.cpu_count() or 1)


FAMILY = FigureFamily(
    "entmax_cost",
    "How the cost of entmax grows",
    pictures=(
        CostPicture(
            "rows",
            "Rows of 1024 keys",
            "rows",
            powers(4, 13),
            curves(lambda x, _: logits(int(x), KEYS, "float32")),
            fit_from=256,
            caption="float32, N(0, 2²). Fitted from 256 rows on: below, the cost of a call hides that of the rows.",
        ),
        CostPicture(
            "length",
            "64 rows of growing length",
            "keys in a row",
            powers(8, 17),
            curves(lambda x, _: logits(64, int(x), "float32")),
            fit_from=4096,
            caption="float32, N(0, 2²). Fitted from 4096 keys on.",
        ),
        CostPicture(
            "order",
            "512 rows of 1024 keys, by order",
            "order n",
            powers(0, 8),
            (by_order("order n", reals=False), by_order("order n + 1/2", reals=True)),
            fit_from=1,
            caption="float32, N(0, 2²). Orders that are integers have powers of their own.",
        ),
        CostPicture(
            "support",
            "512 rows of 1024 keys, by the size of the support",
            "keys with weight",
            powers(0, 10),
            (
                CostCurve("order 2", lambda x, sizes: entmax(planted(x, sizes), 2.0)),
                CostCurve("torch.softmax", lambda x, sizes: softmax(planted(x, sizes))),
            ),
            fit_from=16,
            caption="float32; the keys with weight are planted, and the others far below. Fitted from 16 keys on.",
        ),
        CostPicture(
            "cores",
            "2048 rows of 1024 keys, by cores",
            "threads",
            cores,
            tuple(CostCurve(label, partial(on_cores, make)) for label, make in MADE),
            fit_from=1,
            caption="float32, N(0, 2²). An exponent of −1 would be a perfect speed-up; two points have no interval.",
            done=all_cores,
        ),
    ),
    rank=6,
)
