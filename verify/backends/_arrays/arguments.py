"""Arguments of the ops: validate them, and convert them to the float64 arrays that the cores take."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelproof.reference.errors import DomainError
from kernelproof.reference.exact_numbers import exact_index, exact_number
from kernelproof.verify.backends._arrays.core import Array, Floats
from kernelproof.verify.backends._arrays.rounding import DTYPES

ROUNDINGS = ("fast", "correct")
EMPTY = ("raise", "zeros", "nan", "uniform", "nearest")


def as_array(values: Any, name: str) -> Array:
    """`values` as a NumPy array.

    Raises:
        DomainError: rows of different lengths.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        msg = f"{name} must be an array; got {type(values).__name__} ({error})"
        raise DomainError(msg) from None


def floating(values: Any, name: str) -> Array:
    """`values` as a NumPy array of one of DTYPES.

    Raises:
        DomainError: another dtype, or rows of different lengths.
    """
    array = as_array(values, name)
    if array.dtype.name not in DTYPES:
        msg = f"{name} must be a floating array; got dtype {array.dtype}; allowed: {', '.join(DTYPES)}"
        raise DomainError(msg)
    return array


def with_axes(array: Array, name: str, count: int) -> Array:
    """Return `array`, which must have at least `count` axes.

    Raises:
        DomainError: fewer axes.
    """
    if array.ndim < count:
        msg = f"{name} must have at least {count} axis or axes; got shape {array.shape}"
        raise DomainError(msg)
    return array


def double(array: Array) -> Floats:
    """A fresh float64 copy in C order, whatever the layout of `array`."""
    return np.array(array, dtype=np.float64, order="C")


def axis_of(dim: Any, axis: Any, ndim: int) -> int:
    """The axis that `dim`, `axis` or both name, not negative; the last one if neither does.

    Raises:
        DomainError: not an int, out of range, or two different ones.
    """
    named = {name: value for name, value in (("dim", dim), ("axis", axis)) if value is not None}
    found = {exact_index(value, name, -ndim, ndim - 1) % ndim for name, value in named.items()}
    if len(found) > 1:
        msg = f"dim and axis name one axis; pass one of them; got dim={dim!r}, axis={axis!r}"
        raise DomainError(msg)
    return found.pop() if found else ndim - 1


def check_empty(empty: Any) -> str:
    """Return `empty`, which must be one of EMPTY.

    Raises:
        DomainError: any other value.
    """
    if not isinstance(empty, str) or empty not in EMPTY:
        msg = f"empty must be one of {', '.join(EMPTY)}; got {empty!r}"
        raise DomainError(msg)
    return empty


def check_rounding(rounding: Any) -> str:
    """Return `rounding`, which must be one of ROUNDINGS.

    Raises:
        DomainError: any other value.
    """
    if not isinstance(rounding, str) or rounding not in ROUNDINGS:
        msg = f"rounding must be one of {', '.join(ROUNDINGS)}; got {rounding!r}"
        raise DomainError(msg)
    return rounding


def scale_of(scale: Any, width: int) -> float:
    """`scale` as a float; ``1/√width`` if it is None.

    Raises:
        DomainError: not a finite number.
    """
    if scale is None:
        return 1.0 / math.sqrt(width) if width else 1.0
    number = exact_number(scale, "scale")
    if isinstance(number, float):
        msg = f"scale must be finite; got {scale!r}"
        raise DomainError(msg)
    return float(number)


def flag_of(value: Any, name: str) -> bool:
    """`value` as a bool.

    Raises:
        DomainError: not a bool.
    """
    if not isinstance(value, bool | np.bool_):
        msg = f"{name} must be True or False; got {value!r}"
        raise DomainError(msg)
    return bool(value)


def cotangent_of(cotangent: Any, shape: tuple[int, ...]) -> Floats:
    """The upstream gradient in float64.

    Raises:
        DomainError: its shape is not that of the output, or its dtype is not floating.
    """
    return double(cotangent_as(cotangent, shape))


def cotangent_as(cotangent: Any, shape: tuple[int, ...]) -> Array:
    """The upstream gradient in its own dtype.

    Raises:
        DomainError: its shape is not that of the output, or its dtype is not floating.
    """
    array = floating(cotangent, "cotangent")
    if array.shape != shape:
        msg = f"cotangent must have the shape of the output, {shape}; got {array.shape}"
        raise DomainError(msg)
    return array


def chosen(gradients: dict[str, Any], wrt: Collection[str] | None) -> dict[str, Any]:
    """The gradients named in `wrt`, or all of them.

    Raises:
        DomainError: a name without a gradient.
    """
    if wrt is None:
        return gradients
    if isinstance(wrt, str) or not gradients.keys() >= set(wrt):
        msg = f"wrt must be a collection of names out of {', '.join(gradients)}; got {wrt!r}"
        raise DomainError(msg)
    return {name: gradients[name] for name in wrt}


@dataclass(frozen=True)
class Heads:
    """Queries, keys and values with all leading axes merged: F query heads, B key heads.

    Attributes:
        q: (F, T, d).
        k: (B, S, d).
        v: (B, S, e).
        dtype: the common dtype of the arguments.
        lead: all axes of the queries but the last two, (..., H).
        group: how many query heads share a key head; query head f reads key head ``f // group``.
    """

    q: Floats
    k: Floats
    v: Floats
    dtype: np.dtype[Any]
    lead: tuple[int, ...]
    group: int


def heads_of(q: Any, k: Any, v: Any, *, grouped: bool) -> Heads:
    """q (..., H, T, d), k (..., Hk, S, d), v (..., Hk, S, e) as batches; all leading axes agree unless `grouped`.

    Raises:
        DomainError: dtypes or shapes that do not match.
    """
    count = 3 if grouped else 2
    arrays = [with_axes(floating(array, name), name, count) for name, array in (("q", q), ("k", k), ("v", v))]
    q, k, v = arrays
    if not q.dtype == k.dtype == v.dtype:
        msg = f"q, k and v must share one dtype; got {q.dtype}, {k.dtype} and {v.dtype}"
        raise DomainError(msg)
    if q.shape[-1] != k.shape[-1]:
        msg = f"q and k must have the same last axis; got shapes {q.shape} and {k.shape}"
        raise DomainError(msg)
    if k.shape[:-1] != v.shape[:-1]:
        msg = f"k and v must agree in all axes but the last; got shapes {k.shape} and {v.shape}"
        raise DomainError(msg)
    outer = 3 if grouped else 2
    if q.shape[:-outer] != k.shape[:-outer]:
        msg = f"q and k must have the same leading axes; got shapes {q.shape} and {k.shape}"
        raise DomainError(msg)
    group = 1
    if grouped:
        few, many = k.shape[-3], q.shape[-3]
        if few == 0 or many % few:
            msg = f"the heads of q must be a multiple of those of k; got {many} and {few}"
            raise DomainError(msg)
        group = many // few
    batches = int(np.prod(k.shape[:-2], dtype=np.intp))
    return Heads(
        double(q).reshape(batches * group, *q.shape[-2:]),
        double(k).reshape(batches, *k.shape[-2:]),
        double(v).reshape(batches, *v.shape[-2:]),
        q.dtype,
        q.shape[:-2],
        group,
    )
