"""Validation of arguments: each function returns, or raises DomainError with one line that names the value given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from kernelproof.reference.errors import DomainError
from kernelproof.reference.exact_numbers import exact_index
from kernelproof.verify.backends.torch.rounding import DTYPES

EMPTY = ("raise", "zeros", "nan", "uniform", "nearest")
_ALLOWED = ", ".join(DTYPES)
P = ParamSpec("P")
R = TypeVar("R")


def outside_graph(function: Callable[P, R]) -> Callable[P, R]:
    """Keep `function` out of compiled graphs: it inspects values, so Python runs it even if its caller is compiled."""
    result: Callable[P, R] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return result


def floating(value: Any, name: str, least_dim: int) -> Tensor:
    """`value`, if it is a tensor of a supported floating dtype with at least `least_dim` axes."""
    if not isinstance(value, Tensor):
        msg = f"{name} must be a torch.Tensor; got {type(value).__module__}.{type(value).__qualname__}"
        raise DomainError(msg)
    if value.dtype not in DTYPES.values():
        got = str(value.dtype).removeprefix("torch.")
        msg = f"{name} must be a floating array; got dtype {got}; allowed: {_ALLOWED}"
        raise DomainError(msg)
    if value.layout != torch.strided:
        msg = f"{name} must be a dense tensor; got layout {value.layout}"
        raise DomainError(msg)
    if value.dim() < least_dim:
        msg = f"{name} must have at least {least_dim} axes; got shape {tuple(value.shape)}"
        raise DomainError(msg)
    return value


def axis_of(dim: Any, axis: Any, rank: int) -> int:
    """The axis that `dim`, `axis` or both name, of a tensor of `rank` axes; the last one if neither does."""
    given = {name: _index(value, name, rank) for name, value in (("dim", dim), ("axis", axis)) if value is not None}
    if len(set(given.values())) > 1:
        msg = f"dim and axis name one axis; pass one of them; got dim={dim!r}, axis={axis!r}"
        raise DomainError(msg)
    return next(iter(given.values()), -1)


def _index(value: Any, name: str, rank: int) -> int:
    # A compiled graph sees plain comparisons where it can.
    plain = type(value) is int and -rank <= value < rank
    return int(value if plain else exact_index(value, name, -rank, rank - 1)) % rank


def policy(empty: Any) -> str:
    """`empty`, if it is one of EMPTY."""
    if not isinstance(empty, str) or empty not in EMPTY:
        msg = f"empty must be one of {', '.join(EMPTY)}; got {empty!r}"
        raise DomainError(msg)
    return empty


def flag(value: Any, name: str) -> bool:
    """`value`, if it is a bool."""
    if not isinstance(value, bool):
        msg = f"{name} must be True or False; got {value!r}"
        raise DomainError(msg)
    return value


def number(value: Any, name: str) -> None:
    """Check that `value` is None, a finite number or a tensor of one number."""
    if isinstance(value, float) and not math.isfinite(value):
        msg = f"{name} must be finite; got {value!r}"
        raise DomainError(msg)
    fits = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if not fits and not (isinstance(value, Tensor) and value.numel() == 1):
        msg = f"{name} must be a number or None; got {value!r}"
        raise DomainError(msg)


def triple(q: Any, k: Any, v: Any, least_dim: int) -> None:
    """Check that queries, keys and values share dtype and device and have matching shapes, apart from their heads."""
    q, k, v = floating(q, "q", least_dim), floating(k, "k", least_dim), floating(v, "v", least_dim)
    if not q.dtype == k.dtype == v.dtype:
        msg = f"q, k and v must share one dtype; got {q.dtype}, {k.dtype}, {v.dtype}"
        raise DomainError(msg)
    if not q.device == k.device == v.device:
        msg = f"q, k and v must be on one device; got {q.device}, {k.device}, {v.device}"
        raise DomainError(msg)
    got = f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if q.shape[-1] != k.shape[-1]:
        msg = f"q and k must have the same last axis; {got}"
        raise DomainError(msg)
    if k.shape[-2] != v.shape[-2]:
        msg = f"k and v must have the same number of keys; {got}"
        raise DomainError(msg)
    leading = -3 if least_dim == 3 else -2
    if not q.shape[:leading] == k.shape[:leading] == v.shape[:leading]:
        msg = f"q, k and v must have the same leading axes; {got}"
        raise DomainError(msg)


def heads(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Check the heads of attention: k and v have equally many, q a multiple of that."""
    ours, theirs = q.shape[-3], k.shape[-3]
    if theirs != v.shape[-3] or theirs == 0 or ours % theirs:
        msg = f"H of q must be a multiple of Hk of k and v; got q {ours}, k {theirs}, v {v.shape[-3]} heads"
        raise DomainError(msg)


def mask(value: Any, shape: tuple[int, ...]) -> Tensor:
    """`value`, if it is a bool or floating tensor that broadcasts to `shape` (..., H, T, S)."""
    if not isinstance(value, Tensor):
        msg = f"mask must be a torch.Tensor; got {type(value).__module__}.{type(value).__qualname__}"
        raise DomainError(msg)
    if value.dtype != torch.bool and value.dtype not in DTYPES.values():
        msg = f"mask must be bool (True = may attend) or floating (added to the scores); got {value.dtype}"
        raise DomainError(msg)
    fits = value.dim() <= len(shape)
    for ours, theirs in zip(reversed(value.shape), reversed(shape), strict=False):
        fits = fits and ours in {1, theirs}
    if not fits:
        msg = f"mask must broadcast to {shape}; got shape {tuple(value.shape)}"
        raise DomainError(msg)
    if value.dtype != torch.bool:
        no_nan(value)
    return value


@outside_graph
def no_nan(bias: Tensor) -> None:
    """Check that an additive mask has neither NaN nor +inf."""
    wide = bias.float()
    if bool((torch.isnan(wide) | torch.isposinf(wide)).any()):
        msg = "mask must be finite or -inf everywhere, where it is added to the scores; got NaN or +inf in it"
        raise DomainError(msg)


@outside_graph
def lengths(value: Any, batch: tuple[int, ...], keys: int, device: torch.device) -> Tensor:
    """`value` as an int64 tensor of shape `batch`, each in [0, keys]."""
    try:
        result = torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError):
        msg = f"lengths must be ints of shape {batch}; got {value!r}"
        raise DomainError(msg) from None
    if result.is_floating_point() or result.is_complex() or result.dtype == torch.bool:
        msg = f"lengths must be ints of shape {batch}; got dtype {result.dtype}"
        raise DomainError(msg)
    if tuple(result.shape) != batch:
        msg = f"lengths must have the shape {batch} of the leading axes; got {tuple(result.shape)}"
        raise DomainError(msg)
    if bool(((result < 0) | (result > keys)).any()):
        msg = f"lengths must be in [0, {keys}]; got {result.tolist()!r}"
        raise DomainError(msg)
    return result.to(torch.int64)


@outside_graph
def no_empty_row(empty: Tensor) -> None:
    """Raise DomainError if a row is empty."""
    if bool(empty.any()):
        first = [int(i) for i in empty.nonzero()[0]]
        msg = f"row {first!r} is empty: no key is in its ball; pass empty='nan', 'zeros', 'uniform' or 'nearest'"
        raise DomainError(msg)
