"""Convert NumPy arrays to the arrays of a target and back, bit for bit, including bfloat16 and float8."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

import numpy as np

from kernelproof.reference.errors import TargetError
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.layout import layout_of, same_layout
from kernelproof.verify.records import Array
from kernelproof.verify.targets.declaration import BHTD

Kind = Literal["numpy", "torch", "jax", "cupy"]
KINDS: tuple[Kind, ...] = ("numpy", "torch", "jax", "cupy")
_FOREIGN = frozenset(FORMATS) - {"float64", "float32", "float16"}
"""Formats that NumPy has from ml_dtypes; torch takes them as integers of their size."""
HALF = frozenset(name for name, each in FORMATS.items() if each.precision < FORMATS["float32"].precision)
"""Dtypes in which JAX, which has no wider 0-d arrays beside them, would lose most of a number."""
_PLAIN = (np.ndarray, np.memmap)
CARRIES_NONE = "the output carries no gradient"


def give(array: Array, kind: Kind, device: str) -> Any:
    """Copy `array` to an array of `kind` on `device`, with its strides and its offset.

    For NumPy a read-only array stays read-only; PyTorch has no read-only arrays. An array with negative strides, which
    PyTorch does not have either, is copied in C order there; JAX and CuPy always get a copy in C order.
    """
    if kind == "numpy":
        return same_layout(array)
    if kind != "torch":
        return import_module("jax.numpy" if kind == "jax" else "cupy").asarray(array.copy())
    torch = import_module("torch")
    layout = layout_of(array)
    if min(layout.strides, default=0) < 0:
        layout = layout_of(array.copy())
    name = array.dtype.name
    if name in _FOREIGN:
        carrier = np.int16 if array.itemsize == 2 else np.uint8
        memory = torch.from_numpy(layout.memory.view(carrier)).view(getattr(torch, name))
    else:
        memory = torch.from_numpy(layout.memory)
    return memory.to(device).as_strided(array.shape, layout.strides, layout.offset)


def take(value: Any, kind: Kind) -> Array:
    """Convert `value`, which a target returned, to a NumPy array of the same dtype, shape and bits.

    Raises:
        TargetError: it is not an array of `kind`.
    """
    if kind == "torch":
        torch = import_module("torch")
        if isinstance(value, torch.Tensor):
            if value.is_complex() or value.layout is not torch.strided or value.is_meta:
                what = "meta" if value.is_meta else f"{value.layout} {value.dtype}".replace("torch.", "")
                msg = f"the target must return a dense tensor of real numbers; got a {what} tensor"
                raise TargetError(msg)
            held = value.detach().cpu().contiguous()
            name = str(held.dtype).removeprefix("torch.")
            if name in _FOREIGN:
                carrier = torch.int16 if held.element_size() == 2 else torch.uint8
                foreign: Array = held.view(carrier).numpy().view(FORMATS[name].dtype)
                return foreign
            plain: Array = held.numpy()
            return _real(plain)
    elif kind != "numpy":
        module = import_module(kind)
        if isinstance(value, module.Array if kind == "jax" else module.ndarray):
            return np.asarray(value) if kind == "jax" else np.asarray(value.get())
    elif type(value) in _PLAIN or isinstance(value, np.generic):
        # Subclasses are not accepted: a masked array hides values, and a matrix gives shapes another meaning.
        return _real(np.asarray(value))
    elif isinstance(value, np.ma.MaskedArray):
        msg = "the target must return a plain array; got a masked one, whose numbers may not be meant"
        raise TargetError(msg)
    if isinstance(value, float | int) and not isinstance(value, bool):
        return np.asarray(float(value))
    came = f"{type(value).__module__}.{type(value).__qualname__}"
    msg = f"the target must return a {kind} array; got {came}, given {kind} arrays"
    raise TargetError(msg)


def transposed(array: Array, layout: str) -> Array:
    """Change `array` (..., heads, tokens, width) to `layout`, or back; fewer than three axes have no heads.

    An array in C order is copied to C order, because that is how a target of this layout gets its arrays; any other is
    a view, so that its strides are as unusual as before.
    """
    if layout == BHTD or array.ndim < 3:
        return array
    turned: Array = np.swapaxes(array, -3, -2)
    return turned.copy(order="C") if array.flags.c_contiguous else turned


def picked(returned: Any, output: int | str | None) -> Any:
    """Pick the output from the value that a target returned: the declared item, or else the first item of a tuple.

    Raises:
        TargetError: the value has no such item.

    >>> picked(("weights", "threshold"), None), picked(("weights", "threshold"), 1), picked({"y": 3}, "y")
    ('weights', 'threshold', 3)
    """
    if output is None:
        return returned[0] if isinstance(returned, tuple) and returned else returned
    try:
        if isinstance(output, int) or isinstance(returned, Mapping):
            return returned[output]
        return getattr(returned, output)
    except (LookupError, TypeError, AttributeError):
        msg = f"the target must return something with an item {output!r}; got {type(returned).__qualname__}"
        raise TargetError(msg) from None


def _real(array: Array) -> Array:
    if array.dtype.kind in "biuf" or array.dtype.name in FORMATS:
        return array
    msg = f"the target must return an array of real numbers; got one of dtype {array.dtype}"
    raise TargetError(msg)


def same_bits(left: Array, right: Array) -> bool:
    """Whether two arrays have the same dtype, shape and content; NaNs are compared by their bits."""
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def differentiated(
    kind: Kind, function: Any, leaves: dict[str, Any], numbers: dict[str, Any], cotangent: Any
) -> dict[str, Any]:
    """Pull `cotangent` back through ``function(leaves, numbers)`` by the autograd of PyTorch or JAX.

    Args:
        kind: the library, torch or jax.
        function: takes arrays by name, and 0-d arrays by role.
        leaves: the arrays.
        numbers: 0-d arrays, see `as_leaf`.
        cotangent: the upstream gradient, in the shape of the output.

    Raises:
        TargetError: with torch, the output carries no gradient.
    """
    return (_by_torch if kind == "torch" else _by_jax)(function, leaves, numbers, cotangent)


def as_leaf(value: float, like: Any, kind: str, *, wide: bool = False) -> Any:
    """A number as a differentiable 0-d array in the dtype of `like`; with torch in float64 if that does not hold it.

    With `wide`, torch gets float64 in any case: what a function derives from a number, such as α from the order, is
    then as exact as from a float.
    """
    if kind == "torch":
        torch = import_module("torch")
        if wide:
            return torch.tensor(float(value), dtype=torch.float64, device=like.device)
        narrow = torch.tensor(float(value), dtype=like.dtype, device=like.device)
        exact = float(narrow) == float(value)
        return narrow if exact else torch.tensor(float(value), dtype=torch.float64, device=like.device)
    return import_module("jax.numpy").asarray(float(value), dtype=like.dtype)


def _by_torch(function: Any, leaves: dict[str, Any], numbers: dict[str, Any], cotangent: Any) -> dict[str, Any]:
    held = {name: leaf.requires_grad_(True) for name, leaf in {**leaves, **numbers}.items()}
    output = function({name: held[name] for name in leaves}, {name: held[name] for name in numbers})
    if not getattr(output, "requires_grad", False):
        where = ", ".join(f"{name} of shape {tuple(each.shape)}" for name, each in leaves.items() if not each.numel())
        # With numbers to differentiate by, it never has one; without, the target may just return early.
        why = f" in the case of {where}, which has no numbers; return one that depends on the arrays there too"
        msg = CARRIES_NONE + (why if where else "; a target that gives none declares gradients = []")
        raise TargetError(msg)
    output.backward(cotangent)
    return {name: leaf.grad for name, leaf in held.items() if leaf.grad is not None}


def _by_jax(function: Any, leaves: dict[str, Any], numbers: dict[str, Any], cotangent: Any) -> dict[str, Any]:
    jax = import_module("jax")
    _, pull = jax.vjp(function, leaves, numbers)
    arrays, scalars = pull(cotangent)
    return {**arrays, **scalars}
