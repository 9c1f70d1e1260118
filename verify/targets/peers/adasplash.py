"""adasplash 0.2.2: Triton kernels for α-entmax and for α-entmax attention; they run on CUDA only.

The kernels assert that their inputs are contiguous, so the functions here copy inputs that are not. `adasplash_v2`
computes causal attention only.

Source: Gonçalves, Treviso and Martins, ICML 2025 (AdaSplash), and the README of the package for AdaSplash-2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelproof.verify.targets.peers import peer

if TYPE_CHECKING:
    from torch import Tensor

_NEEDS = ("torch", "triton", "adasplash")
_ROWS: dict[str, Any] = {
    "op": "entmax",
    "array_library": "torch",
    "devices": ["cuda"],
    "dtypes": ["float32"],
    "gradients": ["z"],
    "least_keys": 1,
}
_HEADS: dict[str, Any] = {
    "op": "attention",
    "array_library": "torch",
    "devices": ["cuda"],
    "dtypes": ["float32", "float16"],
    "rule": "adaptive:1",
    "gradients": ["q", "k", "v"],
    "square": True,
    "equal_widths": True,
    "head_sizes": [16, 32, 64, 128, 256],
    "options": ["causal"],
}
_ABOVE_ONE = "0..1000000000000"
"""Orders for every α > 1, the range in the documentation of the package."""


@peer(*_NEEDS, **_ROWS, order=1)
def triton_sparsemax(z: Tensor) -> Tensor:
    """Order 1, with the defaults of the package."""
    import adasplash  # noqa: PLC0415 (an extra)

    found: Tensor = adasplash.triton_sparsemax(z.contiguous())
    return found


@peer(*_NEEDS, **_ROWS, order=2)
def triton_entmax15(z: Tensor) -> Tensor:
    """Order 2, with the defaults of the package."""
    import adasplash  # noqa: PLC0415 (an extra)

    found: Tensor = adasplash.triton_entmax15(z.contiguous())
    return found


@peer(*_NEEDS, **_ROWS, orders=_ABOVE_ONE)
def triton_entmax_v1(z: Tensor, alpha: float = 1.5) -> Tensor:
    """Any order above α = 1, by the solver of version 1, with its defaults."""
    import adasplash  # noqa: PLC0415 (an extra)

    found: Tensor = adasplash.triton_entmax_v1(z.contiguous(), alpha=alpha)
    return found


@peer(*_NEEDS, **_ROWS, orders=_ABOVE_ONE)
def triton_entmax_v2(z: Tensor, alpha: float = 1.5) -> Tensor:
    """Any order above α = 1, by the solver of version 2, with its defaults."""
    import adasplash  # noqa: PLC0415 (an extra)

    found: Tensor = adasplash.triton_entmax_v2(z.contiguous(), alpha=alpha)
    return found


@peer(*_NEEDS, **_HEADS, orders="1..1000000000000", grouped_heads=False, length_power=True)
def adasplash_v1(q: Tensor, k: Tensor, v: Tensor, alpha: float = 1.5, causal: bool = False) -> Tensor:
    """Attention for 1 < α ≤ 2, with as many key heads as query heads."""
    import adasplash  # noqa: PLC0415 (an extra)

    parts = (_batched(each) for each in (q, k, v))
    found: Tensor = adasplash.adasplash_v1(*parts, alpha=alpha, is_causal=causal).reshape(*q.shape[:-1], v.shape[-1])
    return found


@peer(*_NEEDS, **_HEADS, order=2, requires=["causal"], least_keys=64, length_multiple=64)
def adasplash_v2(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """Causal attention of order 2.

    Raises:
        ValueError: the attention is not causal.
    """
    import adasplash  # noqa: PLC0415 (an extra)

    if not causal:
        msg = "adasplash_v2 is causal; got causal=False"
        raise ValueError(msg)
    parts = (_batched(each) for each in (q, k, v))
    found: Tensor = adasplash.adasplash_v2(*parts).reshape(*q.shape[:-1], v.shape[-1])
    return found


def _batched(array: Tensor) -> Tensor:
    """(B, H, T, d), contiguous."""
    return array.reshape(-1, *array.shape[-3:]).contiguous()
