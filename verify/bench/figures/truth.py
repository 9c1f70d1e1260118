"""Truth in bulk on one core: certified weights per second, compared with arb and with bisection in mpmath."""

from __future__ import annotations

from functools import partial
from typing import Any

import mpmath
import numpy as np

from kernelproof import reference
from kernelproof.reference import bulk
from kernelproof.verify.bench.agreement import both, exact_agreement
from kernelproof.verify.bench.bench_record import Agreement, Goal
from kernelproof.verify.bench.figure import Contest, Figure, FigureFamily, FigureGroup, Sizes
from kernelproof.verify.bench.figures._rows import cotangents, logits, module, order_text

KEYS = 1024
ROWS = {"float32": 512, "float64": 128}
"""Rows in a call, such that it takes about a tenth of a second."""
ARB_ROWS, MPMATH_ROWS = 4, 1
BITS = 120
"""Bits of precision of the bisection in mpmath."""
INTEGERS = (1.0, 2.0, 3.0, 8.0, 64.0, np.inf)
REALS = (2.7,)
GOALS = {("float32", True): 3e6, ("float32", False): 1e6, ("float64", True): 3e5, ("float64", False): 1e5}
"""Weights per second, by dtype and whether the order is an integer (or ∞)."""


def beside_arb(order: float, dtype: str, sizes: Sizes) -> Contest:
    """Prepare rounded weights of the same logits by both; arb computes fewer rows."""
    z = logits(sizes.rows(ROWS[dtype]), KEYS, "float32")
    few = z[:ARB_ROWS]

    def check(ours: Any, rival: Any) -> Agreement:
        agreed = exact_agreement(ours.values[: len(few)], rival, f"{rival.size} rounded weights beside arb")
        share = ours.statistics.arb_elements / z.size
        return both(agreed, f"{100 * share:.2g} % of all went to arb")

    return Contest(
        lambda: bulk.round_entmax(z, order, dtype, workers=1, small=0),
        lambda: reference.entmax(few, order=order).weights.round(dtype),
        check,
        ours_work=z.size,
        rival_work=few.size,
    )


def beside_mpmath(order: float, sizes: Sizes) -> Contest:
    """Prepare float32 weights; mpmath computes one row from the definition."""
    z = logits(sizes.rows(ROWS["float32"]), KEYS, "float32")

    def check(ours: Any, rival: Any) -> Agreement:
        # mpmath's result is rounded to float64 first, and this double rounding may cost an ulp of float32.
        second = np.array(rival).astype(np.float32)
        apart = np.abs(ours.values[0].astype(np.float64) - second) / np.spacing(np.maximum(second, 2.0**-126))
        worst = float(apart.max())
        return Agreement(
            passed=worst <= 1,
            compared=second.size,
            what=f"{second.size} weights beside mpmath: at most {worst:.2g} ulp",
        )

    return Contest(
        lambda: bulk.round_entmax(z, order, "float32", workers=1, small=0),
        lambda: bisection(z[0], order),
        check,
        ours_work=z.size,
        rival_work=MPMATH_ROWS * KEYS,
    )


def bisection(row: Any, order: float, bits: int = BITS) -> list[float]:
    """Compute entmax of one row from its definition, in mpmath.

    >>> bisection([0.0, 0.5], 1.0)
    [0.25, 0.75]
    """
    with mpmath.workprec(bits):
        if order == np.inf:
            powers = [mpmath.exp(mpmath.mpf(float(x)) - float(max(row))) for x in row]
            total = mpmath.fsum(powers)
            return [float(x / total) for x in powers]
        n = mpmath.mpf(order)
        scaled = [mpmath.mpf(float(x)) / n for x in row]
        low, high = max(scaled) - 1, max(scaled)
        for _ in range(bits):
            tau = (low + high) / 2
            if mpmath.fsum((x - tau) ** n for x in scaled if x > tau) >= 1:
                low = tau
            else:
                high = tau
        return [float((x - low) ** n) if x > low else 0.0 for x in scaled]


def gradients(order: float, sizes: Sizes) -> Contest:
    """Prepare everything that `verify` needs of a row, with and without the certified gradients."""
    bulk_rows = module("kernelproof.reference.bulk.bulk_rows")
    z = logits(sizes.rows(ROWS["float64"]), KEYS, "float32").astype(np.float64)
    g = cotangents(len(z), KEYS, "float32").astype(np.float64)
    kernel, rule = reference.Kernel(order), reference.Adaptive()

    def check(ours: Any, _: Any) -> Agreement:
        found = ours.gradients["scores"]
        head, tail, _radius = reference.entmax_vjp(z[:2], g[:2], order=order)["z"].split()
        apart = np.abs((found.head[:2] - head) + (found.tail[:2] - tail))
        # Both are within their radii of the exact number; arb's radius at 170 bits and the split are below 2^-100.
        allowed = found.radius[:2] + 2.0**-100 * np.abs(head)
        passed = bool((apart <= allowed).all())
        told = "inside their radii" if passed else f"outside by up to {float((apart - allowed).max()):.2g}"
        return Agreement(passed=passed, compared=int(head.size), what=f"{head.size} gradients beside arb: {told}")

    return Contest(
        lambda: bulk_rows.certify(z, kernel, rule, g, workers=1),
        lambda: bulk_rows.certify(z, kernel, rule, workers=1),
        check,
    )


def _figure(slug: str, order: float, rival: str, prepare: Any, dtype: str, ours: str = "bulk truth") -> Figure:
    setting = {"order": order_text(order), "dtype": dtype, "shape": f"rows of {KEYS}"}
    return Figure(f"{slug}-{dtype}-{order:g}", setting, ours, rival, prepare)


def _rates(dtype: str, *, integer: bool) -> FigureGroup:
    orders, words = (INTEGERS, "integer orders and ∞") if integer else (REALS, "a real order")
    figures = tuple(_figure("arb", order, "arb", partial(beside_arb, order, dtype), dtype) for order in orders)
    goal = Goal(kind="rate", value=GOALS[dtype, integer])
    return FigureGroup(f"rate-{'integer' if integer else 'real'}-{dtype}", f"truth, {words}, {dtype}", goal, figures)


FAMILY = FigureFamily(
    "truth",
    "Truth in bulk, one core",
    (
        *(_rates(dtype, integer=integer) for dtype in ("float32", "float64") for integer in (True, False)),
        FigureGroup(
            "gradients",
            "truth of gradients beside that of the forward",
            Goal(kind="times", value=3.0),
            tuple(
                _figure(
                    "gradients",
                    order,
                    "bulk description",
                    partial(gradients, order),
                    "float64",
                    "bulk description with gradients",
                )
                for order in (*INTEGERS, *REALS)
            ),
        ),
        FigureGroup(
            "mpmath",
            "truth beside bisection in mpmath",
            None,
            tuple(
                _figure("mpmath", order, f"mpmath, {BITS} bits", partial(beside_mpmath, order), "float32")
                for order in (*INTEGERS, *REALS)
            ),
        ),
    ),
)
