"""Truth in bulk beside arb in the same run: weights per second on one core, certified and rounded, and their ratio.

Run with ``make benchmarks``; nothing here runs in the ordinary tests. `extra_info` holds the ratio, the weights per
second and the share that went to arb; the outputs are compared first.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import bulk

ROWS, KEYS, ARB_ROWS = 256, 1024, 4
ORDERS = ("1", "2", "3", "8", "64", "3/2", "27/10", "201/2", "100000000", "inf")


def logits() -> Any:
    return np.random.default_rng(0).normal(0, 2, (ROWS, KEYS)).astype(np.float32)


def record(benchmark: Any, order: str, dtype: str, workers: int) -> None:
    z = logits()
    found = bulk.round_entmax(z, order, dtype, workers=workers)
    started = time.perf_counter()
    truth = reference.entmax(z[:ARB_ROWS], order=order).weights.round(dtype)
    slow = (time.perf_counter() - started) / truth.size
    np.testing.assert_array_equal(found.values[:ARB_ROWS], truth)
    benchmark.pedantic(
        lambda: bulk.round_entmax(z, order, dtype, workers=workers), rounds=5, warmup_rounds=1, iterations=1
    )
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled here; run make benchmarks")
    fast = benchmark.stats.stats.median / z.size
    benchmark.extra_info.update(
        times_faster_than_arb=round(slow / fast, 1),
        weights_per_second=round(1 / fast),
        share_to_arb=found.statistics.arb_elements / z.size,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", ORDERS)
def test_certified_weights_on_one_core(benchmark: Any, order: str, dtype: str) -> None:
    record(benchmark, order, dtype, 1)


@pytest.mark.parametrize("order", ["2", "201/2"])
def test_certified_weights_on_all_cores(benchmark: Any, order: str) -> None:
    record(benchmark, order, "float32", os.cpu_count() or 1)
