"""Changes of dtype for tensors: exact up to float64, and a single rounding, to nearest even, on the way back.

``Tensor.to`` converts float64 to 8 or 16 bits by way of float32, which rounds twice. Here the step to float32 rounds to
odd; the second rounding is then that of the exact value, because float32 keeps more than two bits beyond every narrower
format.

Source: Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Trans. Comput. 57 (2008), theorem 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
}

LARGEST_E4M3 = 464.0  # midway between the largest number and the next one; ties go to the former


def _to_odd(value: Tensor) -> Tensor:
    """float64 to float32 toward zero, with the last bit set where that was inexact."""
    near = value.to(torch.float32)
    back = near.to(torch.float64)
    bits = near.view(torch.int32)
    bits = bits - (back.abs() > value.abs()).to(torch.int32)
    inexact = (back != value) & ~value.isnan()
    return torch.where(inexact, bits | 1, bits).view(torch.float32)


@torch.library.custom_op("kernelproof::narrow", mutates_args=())
def _narrow(value: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype in {torch.float64, torch.float32}:
        return value.to(dtype, copy=True)
    if dtype == torch.float8_e4m3fn:
        # The format has no infinity, and versions of torch differ in their treatment of numbers that round to 480 or
        # more.
        value = torch.where(value.abs() > LARGEST_E4M3, torch.nan, value)
    return _to_odd(value).to(dtype)


@torch.library.custom_op("kernelproof::widen", mutates_args=())
def _widen(value: Tensor) -> Tensor:
    return value.to(torch.float64, copy=True)


@_narrow.register_fake
def _(value: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty_like(value, dtype=dtype)


@_widen.register_fake
def _(value: Tensor) -> Tensor:
    return torch.empty_like(value, dtype=torch.float64)


def _keep_dtype(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 (torch's signature)
    ctx.dtype = inputs[0].dtype


def _narrow_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ARG001 (torch's signature)
    return widen(grad), None


def _widen_backward(ctx: Any, grad: Tensor) -> Tensor:
    return narrow(grad, ctx.dtype)


_narrow.register_autograd(_narrow_backward)
_widen.register_autograd(_widen_backward, setup_context=_keep_dtype)


def narrow(value: Tensor, dtype: torch.dtype) -> Tensor:
    """The float64 `value` in `dtype`, of the same shape, rounded once; its gradient is widened back."""
    result: Tensor = _narrow(value, dtype)
    return result


def widen(value: Tensor) -> Tensor:
    """`value` in float64, exactly; its gradient is rounded once to the dtype of `value`."""
    result: Tensor = _widen(value)
    return result
