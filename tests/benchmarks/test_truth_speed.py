"""Truth per second: certified entmax rounded to float32, beside mpmath bisection at 120 bits in the same run.

Run with ``make benchmarks``; nothing here runs in the ordinary tests. Each row of the table is one order;
`extra_info` holds the ratio and the weights per second, measured on outputs that are compared first.
"""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from kernelproof import reference

ROWS, KEYS = 8, 1024


def bisection(row: Any, order: Fraction, bits: int = 120) -> list[float]:
    """Entmax of one row from its definition, in mpmath."""
    with mpmath.workprec(bits):
        n = mpmath.mpf(order.numerator) / order.denominator
        scaled = [mpmath.mpf(float(x)) / n for x in row]
        low, high = max(scaled) - 1, max(scaled)
        for _ in range(bits):
            tau = (low + high) / 2
            if mpmath.fsum((x - tau) ** n for x in scaled if x > tau) >= 1:
                low = tau
            else:
                high = tau
        return [float((x - low) ** n) if x > low else 0.0 for x in scaled]


@pytest.mark.parametrize("order", ["1", "2", "3", "2.7", "8", "64"])
def test_certified_float32_weights(benchmark: Any, order: str) -> None:
    z = np.random.default_rng(0).normal(0, 2, (ROWS, KEYS)).astype(np.float32)
    exact = reference.Kernel(order).order
    assert isinstance(exact, Fraction)

    def certified() -> Any:
        return reference.entmax(z, order=order).weights.round("float32")

    weights = benchmark.pedantic(certified, rounds=5, warmup_rounds=1)
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled here; run make benchmarks")
    started = time.perf_counter()
    second = np.array(bisection(z[0], exact)).astype(np.float32)
    slow = time.perf_counter() - started
    # Both are rounded from at least 100 good bits; a double rounding through float64 may cost one ulp.
    assert np.all(np.abs(weights[0] - second) <= np.spacing(second))
    fast = benchmark.stats.stats.median / ROWS
    benchmark.extra_info.update(times_faster_than_mpmath=round(slow / fast, 1), weights_per_second=round(KEYS / fast))
