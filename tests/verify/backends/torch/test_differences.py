"""Differences of queries and keys are held a few at a time, with the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernelproof.reference.model import Adaptive, Kernel
from kernelproof.verify.backends.torch import BACKEND as TORCH

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'kernelproof[torch]'")

BACKEND: Any = TORCH
U = 2.0**-53


@pytest.mark.parametrize("most", [1, 40, 10**6])
def test_differences_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    rng = np.random.default_rng(3)
    q, k, v = (torch.from_numpy(rng.normal(size=(2, 3, rows, 4))).requires_grad_() for rows in (5, 7, 7))
    whole = BACKEND.attention(q, k, v, Kernel(1), Adaptive(1), key_norm_term=True)
    expected = torch.autograd.grad(whole.sum(), (q, k, v))
    monkeypatch.setattr("kernelproof.verify.backends.torch.ops.DIFFERENCES", most)
    split, calls = torch.split, list[int]()

    def counted(*given: Any, **named: Any) -> Any:
        parts = split(*given, **named)
        calls.append(len(parts))
        return parts

    monkeypatch.setattr(torch, "split", counted)
    parts = BACKEND.attention(q, k, v, Kernel(1), Adaptive(1), key_norm_term=True)
    assert calls == [5 if most < 10**6 else 1]
    assert torch.equal(parts, whole)
    # Gradients in the keys are sums over the queries, part by part: up to the rounding of five terms.
    for got, want in zip(torch.autograd.grad(parts.sum(), (q, k, v)), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=8 * U, atol=8 * U * float(want.abs().max()))
