"""Attention of the Numba backend beside the same op in torch, written densely, in the same run: time and memory.

Run with ``make benchmarks``; nothing here runs in the ordinary tests. `extra_info` holds the ratios of the fastest
rounds, taken in turns, and the memory that each needs beyond its inputs, on outputs of which sampled rows are
compared with the truth.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import Adaptive, Kernel
from kernelproof.verify.backends.numba import BACKEND

torch = pytest.importorskip("torch")

HEADS, TOKENS, WIDTH = 8, 4096, 64
TURNS = 3


def dense(order: float, *, causal: bool) -> Callable[..., Any]:
    """Attention of torch with all scores at once; the threshold of entmax (orders 1 and 2) by sorting."""

    def weights(z: Any) -> Any:
        if order == np.inf:
            return torch.softmax(z, -1)
        z = (z - z.amax(-1, keepdim=True)) / order
        if causal:
            z = z.clamp_min(-4.0)  # a gap of 1 already has no weight, and -inf would spoil the sums
        ranked, sizes = z.sort(dim=-1, descending=True).values, torch.arange(1, z.shape[-1] + 1, dtype=z.dtype)
        sums = ranked.cumsum(-1)
        if order == 1:
            size = (1 + sizes * ranked > sums).sum(-1, keepdim=True)
            edge = (sums.gather(-1, size - 1) - 1) / size
        else:
            mean, spread = sums / sizes, (ranked * ranked).cumsum(-1) / sizes
            edges = mean - torch.sqrt((1 / sizes - (spread - mean * mean)).clamp_min(0))
            edge = edges.gather(-1, (edges <= ranked).sum(-1, keepdim=True) - 1)
        return (z - edge).clamp_min(0) ** order

    def attention(q: Any, k: Any, v: Any) -> Any:
        scores = q @ k.transpose(-1, -2) / WIDTH**0.5
        if causal:
            scores = scores.masked_fill(torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1), -torch.inf)
        return weights(scores) @ v

    return attention


def seconds(function: Callable[[], Any]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def check_sampled_rows(inputs: Any, order: float, y: Any, *, causal: bool, slack: float) -> None:
    """Queries 0, 2049 and −1 of two heads within `slack` roundings of ``|y| + Σ w|v|`` of certified attention."""
    q, k, v = inputs
    for head, row in ((0, 0), (0, TOKENS // 2 + 1), (HEADS - 1, TOKENS - 1)):
        end = row + 1 if causal else TOKENS
        part = q[:, head : head + 1, row : row + 1], k[:, head : head + 1, :end], v[:, head : head + 1, :end]
        truth = reference.attention(*part, Kernel(order), Adaptive()).y.round("float32")[0, 0, 0]
        size = reference.attention(*part[:2], np.abs(part[2]), Kernel(order), Adaptive()).y.round("float32")[0, 0, 0]
        apart = np.abs(y[0, head, row] - truth)
        assert np.all(apart <= slack * FORMATS["float32"].unit_roundoff * (np.abs(truth) + size))


def peak(function: Callable[[], Any]) -> int:
    """Bytes that NumPy holds at most during a call; the compiled loops hold some rows more."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("order", [1.0, 2.0, np.inf])
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_attention_beside_torch(benchmark: Any, order: float, causal: bool) -> None:
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled here; run make benchmarks")
    rng = np.random.default_rng(0)
    q, k, v, g = (rng.normal(size=(1, HEADS, TOKENS, WIDTH)).astype(np.float32) for _ in range(4))
    tensors = [torch.from_numpy(array).requires_grad_() for array in (q, k, v)]
    theirs = dense(order, causal=causal)
    arguments = (q, k, v, Kernel(order), Adaptive())

    def forward() -> Any:
        return BACKEND.attention(*arguments, causal=causal)

    def backward() -> Any:
        return BACKEND.vjp("attention", g, *arguments, causal=causal)

    def torch_forward() -> Any:
        with torch.no_grad():
            return theirs(*tensors)

    def torch_backward() -> Any:
        return torch.autograd.grad(theirs(*tensors), tensors, torch.from_numpy(g))

    y = benchmark.pedantic(forward, rounds=1, warmup_rounds=1)
    gradients = backward()
    # Errors of scores move a query by σ_i too, which is left out here: it only makes the allowed error smaller.
    check_sampled_rows((q, k, v), order, y, causal=causal, slack=4)
    check_sampled_rows((q, k, v), order, torch_forward().numpy(), causal=causal, slack=1e3)
    for name, theirs_of in zip("qkv", torch_backward(), strict=True):
        # The rival is written in float32, so this tells a wrong gradient, not a rounded one.
        scale = float(np.abs(gradients[name]).max())
        assert np.quantile(np.abs(theirs_of.numpy() - gradients[name]), 0.99) <= 1e-2 * scale
    calls = (forward, backward, torch_forward, torch_backward)
    turns = [[seconds(call) for call in calls] for _ in range(TURNS)]
    ours, pulled, dense_time, dense_pulled = (min(column) for column in zip(*turns, strict=True))
    benchmark.extra_info.update(
        times_torch=round(ours / dense_time, 2),
        vjp_times_torch=round(pulled / dense_pulled, 2),
        vjp_times_forward=round(pulled / ours, 2),
        torch_vjp_times_forward=round(dense_pulled / dense_time, 2),
        torch_ms=round(1e3 * dense_time),
        peak_mib=round(peak(forward) / 2**20),
        vjp_peak_mib=round(peak(backward) / 2**20),
        # Scores and weights of all heads, and the temporaries of entmax, cannot be less than this.
        torch_scores_mib=round(2 * HEADS * TOKENS * TOKENS * 4 / 2**20),
    )
