"""Precision: the dtype in which a target stores numbers, and the one in which it computes (docs/theory.md §4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from kernelproof.reference.formats import FORMATS, Format
from kernelproof.verify.records import Contract, Floats

NARROW = 11
"""Formats with at most this many significant bits, float16 among them, compute in float32 by default."""

USUAL: Mapping[str, tuple[str, ...]] = {
    "entmax": ("probabilities",),
    "weights": ("probabilities",),
    "regression": ("weights",),
    "attention": ("weights", "scores", "scaled_scores"),
}
"""Op -> the storage roundings that are usual in formats of at most 16 bits; measured in docs/roundings.md."""


@dataclass(frozen=True)
class Precision:
    """How a target rounds.

    Attributes:
        storage: the dtype of the arrays.
        compute: the dtype of the computation.
        flush: whether subnormal results may be 0.
        roundings: the intermediate results that are stored in `storage` although it is narrower than `compute`.
    """

    storage: Format
    compute: Format
    flush: bool
    roundings: frozenset[str]

    @property
    def unit(self) -> float:
        """u_c, the unit roundoff of the computation."""
        return self.compute.unit_roundoff

    @property
    def stored(self) -> float:
        """u_s, the unit roundoff of the arrays."""
        return self.storage.unit_roundoff

    @property
    def narrow(self) -> bool:
        """Whether storing rounds what was computed."""
        return self.storage.precision < self.compute.precision

    @property
    def flushed(self) -> float:
        """What flushing may add to a stored number: the smallest normal number, or 0."""
        return 2.0**self.storage.emin if self.flush else 0.0

    @property
    def flushed_inside(self) -> float:
        """What flushing may add to an intermediate result, which is in `storage` only where roundings say so."""
        held = max(self.storage.emin, self.compute.emin) if self.roundings else self.compute.emin
        return 2.0**held if self.flush else 0.0

    def half_ulp(self, values: Floats) -> Floats:
        """Half the spacing of `storage` at each value, and that of its subnormal numbers below them.

        >>> half = precision_of("bfloat16", Contract()).half_ulp(np.array([1.0, 0.75, 0.0]))
        >>> [float(each) for each in half[:2]], float(half[2]) == 2.0**-134
        ([0.00390625, 0.001953125], True)
        """
        # Half the smallest subnormal of float64 is no float64.
        return np.asarray(np.maximum(0.5 * ulp_of(values, self.storage), 5e-324))

    def half_step(self, value: Fraction) -> Fraction:
        """`half_ulp` of one exact number."""
        size, emin = abs(value), self.storage.emin
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        exponent -= size < Fraction(2) ** exponent
        return Fraction(2) ** (max(exponent if size else emin, emin) - self.storage.precision)


def eta(target: Format) -> float:
    """η: half the smallest subnormal as a float64; for float64 the whole of it, because its half is no float64."""
    return max(float(target.smallest / 2), 5e-324)


def ulp_of(values: Floats, target: Format) -> Floats:
    """The spacing of `target` at each value, at least that of its subnormals."""
    exponent = np.frexp(np.abs(values))[1] - 1
    exponent = np.maximum(np.where(values == 0, target.emin, exponent), target.emin)
    return np.asarray(np.ldexp(1.0, exponent - target.precision + 1))


def precision_of(dtype: str, contract: Contract, op: str = "entmax") -> Precision:
    """The precision of a target with this contract on arrays of `dtype`.

    A rounding to the storage dtype is counted by κ where the computation is no finer, so it is none of `roundings`.

    >>> found = precision_of("bfloat16", Contract(), "attention")
    >>> found.compute.name, sorted(found.roundings)
    ('float32', ['scaled_scores', 'scores', 'weights'])
    >>> precision_of("float32", Contract(), "attention").roundings
    frozenset()
    """
    storage = FORMATS[dtype]
    compute = storage if storage.precision > NARROW else FORMATS["float32"]
    if contract.compute is not None:
        compute = FORMATS[contract.compute]
    held = USUAL[op] if contract.roundings is None else contract.roundings
    narrow = storage.precision < compute.precision
    return Precision(storage, compute, contract.flush_to_zero, frozenset(held if narrow else ()))
