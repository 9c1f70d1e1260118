"""What case families build with: reproducible numbers, values of a dtype, steps by ulps, arguments of an op.

Random numbers are made from the raw 64-bit words of Philox with integer arithmetic and sums only, so that a
recipe gives the same bytes on every machine and with every NumPy: distributions of `numpy.random` may change
between versions, and a logarithm differs between C libraries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.errors import DomainError
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import INFINITY, Adaptive, Anchored, Fixed
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.naming import nominal_reach
from kernelproof.verify.seams import Array, Contract, Flags, Floats, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.case import Case

GRADIENT_KEYS = 130
"""Rows of at most so many keys get a cotangent: the real tensors have 128, and units take the square of it."""
WITHOUT_INFINITY = frozenset({"float8_e4m3fn"})
"""Formats in which nothing can be masked by −∞."""
BULK = 1 << 22
"""Inputs of more numbers are asked for once: what a second call on changed inputs tells, smaller ones tell too."""
_WORD = 64


def one_of(case: Case, allowed: tuple[str, ...]) -> str:
    """The feature of `case`.

    Raises:
        DomainError: it is not in `allowed`.
    """
    if case.feature not in allowed:
        msg = f"feature of the family {case.family} must be one of {', '.join(allowed)}; got {case.feature!r}"
        raise DomainError(msg)
    return case.feature


def whole_number(case: Case, least: int, most: int) -> int:
    """The feature of `case` as an integer.

    Raises:
        DomainError: it is none, or outside [least, most].
    """
    digits = case.feature[1:] if case.feature[:1] in {"-", "+"} else case.feature
    number = int(case.feature) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
    if number is None or not least <= number <= most:
        msg = f"feature of the family {case.family} must be an integer in [{least}, {most}]; got {case.feature!r}"
        raise DomainError(msg)
    return number


def words(generator: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """(count,) raw words of the bit generator, whose stream NumPy promises never to change."""
    raw: Any = generator.bit_generator.random_raw(count)
    return np.asarray(raw, dtype=np.uint64).reshape(count)


def uniforms(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Uniform multiples of 2^−53 in [0, 1)."""
    return (words(generator, prod(shape)) >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def integers(generator: np.random.Generator, bound: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Integers in [0, bound), uniform but for a bias of bound·2^−64."""
    return (words(generator, prod(shape)) % np.uint64(max(bound, 1))).astype(np.int64).reshape(shape)


def normals(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Nearly normal numbers of mean 0 and variance 1: sums of twelve 16-bit uniforms, and bits down to 2^−50.

    Exact in float64, and using all of it: what computes in float32 must lose something.
    """
    raw = words(generator, 3 * prod(shape)).reshape(-1, 3)
    low = (words(generator, prod(shape)) >> np.uint64(31)).astype(np.float64) * 2.0**-50
    parts = raw[:, :, None] >> (np.uint64(16) * np.arange(4, dtype=np.uint64)) & np.uint64(0xFFFF)
    total = parts.astype(np.int64).sum(axis=(1, 2)) * 2 + 12  # each part stands for the middle of its cell
    return np.asarray((total - 12 * 2**16) * 2.0**-17 + (low - 2.0**-18), dtype=np.float64).reshape(shape)


def shuffled(generator: np.random.Generator, count: int) -> NDArray[np.intp]:
    """A permutation of range(count)."""
    return np.argsort(words(generator, count), kind="stable")


def shuffle_rows(generator: np.random.Generator, rows: Floats) -> Floats:
    """(R, m) rows, each in an order of its own."""
    return np.array([row[shuffled(generator, row.size)] for row in rows]).reshape(rows.shape)


def cast(values: Floats, dtype: str) -> Array:
    """`values` rounded once to `dtype`, kept finite where they are finite: nothing overflows."""
    target = FORMATS[dtype]
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.clip(values, -target.largest, target.largest)
        rounded = target.round_floats(np.where(np.isfinite(values), finite, values))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return rounded.astype(target.dtype)


def on_grid(values: Floats, dtype: str) -> Floats:
    """`cast` as float64."""
    return cast(values, dtype).astype(np.float64)


def step(values: Floats, ulps: int, dtype: str) -> Floats:
    """`values`, which `dtype` holds, moved up by a number of its ulps (down if negative), but not to infinity."""
    array = cast(values, dtype)
    bits = array.itemsize * 8
    raw = array.view(f"u{array.itemsize}").astype(object)
    sign = 1 << (bits - 1)
    top = int(np.asarray(FORMATS[dtype].largest, dtype=array.dtype).view(f"u{array.itemsize}"))
    ordered = np.clip(np.where(raw >= sign, sign - raw, raw) + ulps, -top, top)
    back = np.where(ordered < 0, sign - ordered, ordered)
    return np.asarray(back.astype(f"u{array.itemsize}").view(array.dtype), dtype=np.float64).reshape(np.shape(values))


def reach_of(case: Case) -> float:
    """The gap beyond which a key has no weight if the best score of its row is 0; infinite at order ∞."""
    rule = case.inner_rule
    if isinstance(rule, Variant):
        return nominal_reach(rule)
    order = float(case.kernel.order)
    if order == INFINITY:
        return INFINITY
    if isinstance(rule, Adaptive):
        return order / float(rule.exact)
    return float(rule.exact) if isinstance(rule, Anchored) else float(rule.exact) ** 2 / 2


def settle(case: Case, rows: Floats) -> Floats:
    """Rows of logits as scores: for a fixed bandwidth the best of each lies at −1/2, so that its ball has keys.

    A ball too small for that has its best key halfway to its edge.
    """
    rule = case.inner_rule
    if not isinstance(rule, Fixed) or not rows.size:
        return rows
    finite = np.where(np.isfinite(rows), rows, -np.inf)
    top = finite.max(axis=-1, keepdims=True)
    return rows - np.where(np.isfinite(top), top, 0.0) - min(0.5, float(rule.exact) ** 2 / 4)


def scored(case: Case, values: Floats, rows: NDArray[np.intp] | None = None) -> Inputs:
    """Scores (..., m) as the inputs of entmax or weights."""
    name = "z" if case.op == "entmax" else "scores"
    return Inputs({name: cast(values.reshape(case.shape), case.dtype)}, rows=rows)


def additive(case: Case, values: Floats) -> Array:
    """An additive mask in the dtype of the queries, as attention kernels take it; float32 where that has no −∞."""
    return cast(values, "float32" if case.dtype in WITHOUT_INFINITY else case.dtype)


def mixed_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """The shapes of q, k and v of a case of regression or attention."""
    if case.op == "regression":
        *batch, count, size, width, out = case.shape
        lead = key_lead = tuple(batch)
    else:
        *batch, heads, groups, count, size, width, out = case.shape
        lead, key_lead = (*batch, heads), (*batch, groups)
    return {"q": (*lead, count, width), "k": (*key_lead, size, width), "v": (*key_lead, size, out)}


def mixed(case: Case, generator: np.random.Generator, scale: float = 1.0) -> dict[str, Array]:
    """Normal q, k and v in the dtype of the case, q and k of standard deviation `scale`."""
    factor = {"q": scale, "k": scale, "v": 1.0}
    return {
        name: cast(factor[name] * normals(generator, shape), case.dtype) for name, shape in mixed_shapes(case).items()
    }


def output_shape(case: Case, inputs: Inputs) -> tuple[int, ...]:
    """The shape of what the op returns."""
    arrays = inputs.arrays
    if case.op in {"entmax", "weights"}:
        return next(iter(arrays.values())).shape
    return (*arrays["q"].shape[:-1], arrays["v"].shape[-1])


def bulky(inputs: Inputs) -> bool:
    """Whether `inputs` are more than `BULK` numbers."""
    return max((array.size for array in inputs.arrays.values()), default=0) > BULK


def cotangent_for(case: Case, inputs: Inputs) -> Array | None:
    """Seeded normals in the shape of the output; None for long rows, for rows that are sampled, and without numbers."""
    if case.size > GRADIENT_KEYS or inputs.rows is not None:
        return None
    if any(bool((np.isnan(a) | (a == np.inf)).any()) for a in (x.astype(np.float64) for x in inputs.arrays.values())):
        return None
    return cast(normals(case.generator("cotangent"), output_shape(case, inputs)), case.dtype)


def spared(inputs: Inputs, empty: Flags, contract: Contract) -> Inputs:
    """`inputs` without an upstream gradient for rows with nothing to attend to, if those may be anything.

    A mean of all values is such a row, and adds to the gradients of all values what the truth has no share of.

    Args:
        inputs: with a cotangent or without.
        empty: (R,) the rows with nothing to attend to.
        contract: whose `empty_row` says what they are.
    """
    if inputs.cotangent is None or inputs.rows is not None or contract.empty_row != "any" or not empty.any():
        return inputs
    given = inputs.cotangent
    upstream = np.where(empty.reshape(*given.shape[:-1], 1), np.zeros((), given.dtype), given)
    return replace(inputs, cotangent=upstream)


def sampled_rows(generator: np.random.Generator, count: int, wanted: int) -> NDArray[np.intp] | None:
    """Every row at the edge of a block of 2^k, k ≥ 4, and `wanted` seeded ones of the others; None means all."""
    edges = {0, count - 1, *(row for k in range(4, 32) for row in (2**k - 1, 2**k) if row < count)}
    if count <= len(edges) + wanted:
        return None
    others = [row for row in shuffled(generator, count).tolist() if row not in edges]
    return np.array(sorted([*edges, *others[:wanted]]), dtype=np.intp)


@dataclass(frozen=True)
class Layout:
    """Where the elements of an array lie in flat memory, counted in elements.

    Attributes:
        memory: (n,) what holds them, of the same dtype.
        strides: from an element to the next along each axis; 0 along an axis that repeats itself.
        offset: of the first element.
        writeable: whether the array may be written to.
    """

    memory: Array
    strides: tuple[int, ...]
    offset: int
    writeable: bool = True

    def view(self, shape: tuple[int, ...]) -> Array:
        """The array of `shape` that lies so; its base is the memory."""
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


def layout_of(array: Array) -> Layout:
    """The layout of `array` in a private copy of its memory; in C order where it is no view of an array of its dtype.

    >>> layout_of(np.arange(12.0).reshape(3, 4)[:, 1::2]).strides
    (4, 2)
    """
    owner = array.base if isinstance(array.base, np.ndarray) else array
    size = array.itemsize
    exact = not any(stride % size for stride in array.strides)
    if not array.size or owner.dtype != array.dtype or not owner.flags.c_contiguous or not exact:
        return Layout(array.reshape(-1).copy(), packed(array.shape), 0, array.flags.writeable)
    offset = (array.ctypes.data - owner.ctypes.data) // size
    strides = tuple(stride // size for stride in array.strides)
    return Layout(owner.reshape(-1).copy(), strides, offset, array.flags.writeable)


def same_layout(array: Array) -> Array:
    """A private copy of `array` with its strides, its offset and whether it may be written to."""
    return layout_of(array).view(array.shape)
