"""Layouts: where the elements of an array lie in memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from kernelproof.verify.records import Array

_ALIGNMENT = 64
"""Bytes: what PyTorch gives its tensors. Kernels may add in another order on memory that begins elsewhere."""


@dataclass(frozen=True)
class Layout:
    """Where the elements of an array lie in flat memory, counted in elements.

    Attributes:
        memory: (n,) the array that holds them, of the same dtype.
        strides: the distance from an element to the next along each axis; 0 along an axis that repeats one element.
        offset: the position of the first element.
        writeable: whether the array may be written to.
    """

    memory: Array
    strides: tuple[int, ...]
    offset: int
    writeable: bool = True

    def view(self, shape: tuple[int, ...]) -> Array:
        """The array of `shape` with this layout; its base is the memory."""
        size = self.memory.itemsize
        found: Array = np.ndarray(
            shape,
            self.memory.dtype,
            buffer=self.memory,
            offset=self.offset * size,
            strides=tuple(stride * size for stride in self.strides),
        )
        found.flags.writeable = self.writeable
        return found


def packed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array of `shape` in C order.

    >>> packed((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def aligned(flat: Array) -> Array:
    """A copy of the flat array `flat` whose memory begins at a multiple of 64 bytes.

    >>> aligned(np.arange(3.0)).ctypes.data % 64
    0
    """
    if not flat.size:
        return flat.copy()
    held = np.empty(flat.nbytes + _ALIGNMENT, np.uint8)
    first = -held.ctypes.data % _ALIGNMENT
    # From a buffer, so that the base of its views is this array, rather than the longer one.
    found: Array = np.frombuffer(held.data[first : first + flat.nbytes], flat.dtype)
    found[...] = flat
    return found


def layout_of(array: Array) -> Layout:
    """The layout of `array` in a private copy of its memory; in C order if it is not a view of an array of its dtype.

    >>> layout_of(np.arange(12.0).reshape(3, 4)[:, 1::2]).strides
    (4, 2)
    """
    owner = array.base if isinstance(array.base, np.ndarray) else array
    size = array.itemsize
    exact = not any(stride % size for stride in array.strides)
    if not array.size or owner.dtype != array.dtype or not owner.flags.c_contiguous or not exact:
        return Layout(aligned(array.reshape(-1)), packed(array.shape), 0, array.flags.writeable)
    offset = (array.ctypes.data - owner.ctypes.data) // size
    strides = tuple(stride // size for stride in array.strides)
    return Layout(aligned(owner.reshape(-1)), strides, offset, array.flags.writeable)


def same_layout(array: Array) -> Array:
    """A private copy of `array` that has the same strides and offset, and is read-only if `array` is."""
    return layout_of(array).view(array.shape)
