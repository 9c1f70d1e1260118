"""A Triton kernel: sparsemax, one program per row, in registers.

    TRITON_INTERPRET=1 kernelproof verify examples/sparsemax_triton.py:sparsemax

Triton's interpreter runs it on a CPU; on a CUDA device leave TRITON_INTERPRET out. It declares that it has no gradient.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

import kernelproof


@triton.jit
def _rows(z, weights, keys, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    logits = tl.load(z + row * keys + column, mask=column < keys, other=-float("inf"))
    gaps = tl.max(logits, axis=0) - logits
    # Michelot's algorithm: `top` is the largest weight if every key inside has one; the set shrinks until it stays.
    top = 1.0
    before = keys + 1
    inside = gaps < top
    count = tl.sum(inside.to(tl.int32), axis=0)
    while (count < before) & (count > 0):
        top = (1 + tl.sum(tl.where(inside, gaps, 0.0), axis=0)) / count
        before = count
        inside = gaps < top
        count = tl.sum(inside.to(tl.int32), axis=0)
    # A row with a NaN or +inf, or with nothing but −inf, has a gap of NaN: then the whole row becomes NaN.
    broken = tl.sum((gaps != gaps).to(tl.int32) * (column < keys).to(tl.int32), axis=0) > 0
    found = tl.where(broken, float("nan"), tl.where(inside, top - gaps, 0.0))
    tl.store(weights + row * keys + column, found, mask=column < keys)


@kernelproof.declare(order=1, dtypes=["float32"], gradients=[], grade="B")
def sparsemax(z: Tensor) -> Tensor:
    """Weights of the rows of `z` (..., m)."""
    rows = z.contiguous()
    weights = torch.empty_like(rows)
    if rows.numel():
        keys = rows.shape[-1]
        _rows[(rows.numel() // keys,)](rows, weights, keys, BLOCK=triton.next_power_of_2(keys))
    return weights
