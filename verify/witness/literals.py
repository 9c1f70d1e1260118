"""Arrays as literals: plain data from which a script makes the same arrays, bit for bit and in the same layout."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.layout import layout_of, packed
from kernelproof.verify.records import Array
from kernelproof.verify.targets.arrays import Kind

WRITTEN = 4096
"""Arrays of more elements are compressed instead of written as lists."""
LARGEST = 2**17
"""Arrays of more elements are not put into a script."""
_NATIVE = frozenset({"float64", "float32", "float16"})


@dataclass(frozen=True)
class Literal:
    """One array, as a view of its memory.

    Attributes:
        library: of the array.
        device: of a tensor.
        dtype: as the script names it.
        shape: of the array.
        strides: in bytes, for a tensor in elements; None if the array fills its memory in C order.
        offset: of the first element, in the same unit.
        memory_shape: the shape of the memory.
        values: the elements of the memory, as nested lists; "" if they are compressed.
        packed: the compressed bytes of the memory as lines of base 85; empty if `values` has them.
        read_only: whether the array may not be written to.
    """

    library: Kind
    device: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    offset: int
    memory_shape: tuple[int, ...]
    values: str
    packed: list[str]
    read_only: bool

    @property
    def void(self) -> bool:
        """Whether the memory has no elements, so that nested lists do not give its shape."""
        return 0 in self.memory_shape


def literal(array: Array, library: Kind, device: str = "cpu") -> Literal:
    """Return `array` as a target gets it whose arrays are of `library`."""
    if library in {"jax", "cupy"}:
        array = np.ascontiguousarray(array)
    memory, strides, offset = array, None, 0
    layout = layout_of(array)
    if library == "torch":
        # PyTorch has no negative strides, and no read-only tensors.
        if array.size and min(layout.strides, default=0) >= 0 and layout.strides != packed(array.shape):
            memory, strides, offset = layout.memory, layout.strides, layout.offset
    elif not (array.flags.c_contiguous and array.flags.writeable):
        size = array.itemsize
        memory, strides, offset = layout.memory, tuple(step * size for step in layout.strides), layout.offset * size
    compress = memory.size > WRITTEN
    return Literal(
        library=library,
        device=device,
        dtype=_dtype(array, library),
        shape=array.shape,
        strides=strides,
        offset=offset,
        memory_shape=memory.shape,
        values="" if compress else numbers(memory),
        packed=packed_lines(memory.tobytes()) if compress else [],
        read_only=not array.flags.writeable,
    )


def dtype_name(name: str) -> str:
    """Return the NumPy source of the dtype called `name`.

    >>> dtype_name("float32"), dtype_name("bfloat16"), dtype_name("bool")
    ('np.float32', 'ml_dtypes.bfloat16', 'bool')
    """
    if name == "bool":
        return name
    return f"ml_dtypes.{name}" if name in FORMATS and name not in _NATIVE else f"np.{name}"


def _dtype(array: Array, library: Kind) -> str:
    return f"torch.{array.dtype.name}" if library == "torch" else dtype_name(array.dtype.name)


def numbers(array: Array) -> str:
    """Return the elements of `array` as nested lists of literals that read back to the same bits.

    >>> numbers(np.array([[0.1, -0.0]], dtype=np.float32))
    '[[0.10000000149011612, -0.0]]'
    """
    kept = array if array.dtype.kind in "bi" else array.astype(np.float64)
    return repr(kept.tolist())


def packed_lines(data: bytes) -> list[str]:
    """Compress `data`; return it as lines of 100 characters of base 85.

    >>> zlib.decompress(base64.b85decode("".join(packed_lines(bytes(1000))))) == bytes(1000)
    True
    """
    text = base64.b85encode(zlib.compress(data, 9)).decode()
    return [text[at : at + 100] for at in range(0, len(text), 100)]
