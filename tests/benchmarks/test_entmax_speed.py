"""Entmax of the Numba backend beside torch.softmax in the same run: float32 and float64, short rows and long ones.

Run with ``make benchmarks``; nothing here runs in the ordinary tests. `extra_info` holds the ratio of the fastest
rounds, taken in turns, on outputs of which sampled rows are compared with the truth.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.backends.numba import BACKEND

torch = pytest.importorskip("torch")

SHAPES = ((4096, 1024), (64, 65536))
# A weight this far below the largest may lie so near the edge of the support that its own digits are lost.
COMPARED = 1e-6
TURNS = 7


def seconds(function: Any, *args: Any) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    function(*args)
    return time.perf_counter() - started


def check_sampled_rows(z: Any, weights: Any, order: str) -> None:
    """Rows 0 and −1 against certified weights: the support, and every weight to one ulp (float32) or to κ ≤ 4."""
    for row in (0, -1):
        truth = reference.entmax(z[row], order=order).weights.round(z.dtype.name)
        compared = truth > COMPARED * truth.max()
        np.testing.assert_array_equal(weights[row] > 0, truth > 0)
        apart = np.abs(weights[row] - truth)[compared]
        if z.dtype == np.float32:
            assert np.all(apart <= np.spacing(truth)[compared])
            continue
        # κ = 4 on a gap d moves a weight by at most 4·u·(1 + 2d·w/p), with d < n·û ≤ max z − min z of the support and
        # w/p = p^(−1/n) ≤ COMPARED^(−1/n)·max p^(−1/n).
        depth = float(z[row].max() - z[row][compared].min())
        steepest = 1.0 if order == "inf" else float(truth[compared].min()) ** (-1.0 / float(order))
        assert np.all(apart <= 4 * FORMATS["float64"].unit_roundoff * (1 + 2 * depth * steepest) * truth[compared])


@pytest.mark.parametrize("order", ["1", "2", "3", "5", "8", "0.5", "1.5", "2.7", "64", "inf"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_entmax_beside_softmax(benchmark: Any, order: str, shape: tuple[int, int], dtype: str) -> None:
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled here; run make benchmarks")
    z = np.random.default_rng(0).normal(0, 2, shape).astype(dtype)
    tensor = torch.from_numpy(z)

    def entmax() -> Any:
        return BACKEND.entmax(z, order=float(order))

    weights = benchmark.pedantic(entmax, rounds=TURNS, warmup_rounds=1)
    check_sampled_rows(z, weights, order)
    turns = [(seconds(entmax), seconds(torch.softmax, tensor, -1)) for _ in range(TURNS)]
    ours, theirs = (min(column) for column in zip(*turns, strict=True))
    benchmark.extra_info.update(times_softmax=round(ours / theirs, 2), softmax_ms=round(1e3 * theirs, 2))
