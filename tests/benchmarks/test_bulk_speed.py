"""Truth in bulk beside arb in the same run: weights per second on one core, certified and rounded, and their ratio.

Run with ``make benchmarks``; nothing here runs in the ordinary tests. `extra_info` holds the ratio, the weights per
second and the share that went to arb; the outputs are compared first.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import bulk
from kernelproof.reference.bulk.bulk_rows import certify
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.truth import truth as truth_module

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


def seconds(function: Any) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def apart(found: Any, truth: Any) -> bool:
    """Whether numbers are beyond both radii, and beyond the rounding of this subtraction."""
    heads, tails, radii = truth.split()
    distance = np.abs((found.head - heads) + (found.tail - tails))
    return bool((distance > found.radius + radii + 2.0**-104 * np.abs(heads) + 1e-323).any())


@pytest.mark.parametrize("keys", [64, KEYS])
@pytest.mark.parametrize("order", ORDERS)
def test_gradients_on_one_core(benchmark: Any, order: str, keys: int) -> None:
    """Truth with its vector-Jacobian product beside truth alone and beside arb, in turns."""
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled here; run make benchmarks")
    z = logits().astype(np.float64).reshape(-1, keys)
    g = np.random.default_rng(1).normal(size=z.shape)
    kernel, rule = reference.Kernel(order), reference.Adaptive()
    few = max(ARB_ROWS * KEYS // keys // 4, 1)
    found = certify(z[:few], kernel, rule, g[:few], workers=1)
    truth = reference.weights_vjp(z[:few], g[:few], kernel, rule)
    assert found.gradients is not None
    assert not any(apart(found.gradients[name], truth[name]) for name in truth)

    def forward() -> Any:
        return certify(z, kernel, rule, workers=1)

    def backward() -> Any:
        return certify(z, kernel, rule, g, workers=1)

    benchmark.pedantic(backward, rounds=5, warmup_rounds=1)
    ours = min(seconds(backward) for _ in range(5)), min(seconds(forward) for _ in range(5))
    slow = seconds(lambda: reference.weights_vjp(z[:few], g[:few], kernel, rule)) / few
    benchmark.extra_info.update(
        times_forward=round(ours[0] / ours[1], 2),
        times_faster_than_arb=round(slow / (ours[0] / len(z)), 1),
        weights_per_second=round(z.size / ours[0]),
    )


@pytest.mark.parametrize("gradients", [False, True], ids=["forward", "gradients"])
@pytest.mark.parametrize("order", ["1", "3/2", "2", "64", "inf"])
def test_truth_of_cases_with_units(benchmark: Any, order: str, gradients: bool) -> None:
    """What fuzzing asks for: everything `verify` knows of rows of 64 keys, beside the same by arb."""
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled here; run make benchmarks")
    case = Case(
        "entmax", order, None, "adaptive:1", dtype="float32", family="random", shape=(256, 64), feature="2", seed=0
    )
    inputs = inputs_of(case)
    inputs = inputs if gradients else replace(inputs, cotangent=None)

    def by(filtered: bool) -> Any:
        with mock.patch.object(truth_module, "pays", return_value=filtered):
            return truth_module.truth_of(case, inputs)

    fast, slow = by(True), by(False)
    np.testing.assert_array_equal(fast.support, slow.support)
    np.testing.assert_allclose(fast.output.head, slow.output.head, rtol=2.0**-52)
    benchmark.pedantic(lambda: by(True), rounds=5, warmup_rounds=1)
    quick, long = min(seconds(lambda: by(True)) for _ in range(5)), min(seconds(lambda: by(False)) for _ in range(2))
    benchmark.extra_info.update(times_faster_than_arb=round(long / quick, 1), rows_per_second=round(256 / quick))


@pytest.mark.parametrize("order", ["2", "201/2"])
def test_certified_weights_on_all_cores(benchmark: Any, order: str) -> None:
    record(benchmark, order, "float32", os.cpu_count() or 1)
