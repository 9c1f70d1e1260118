"""Binary floating-point formats, and correct rounding into them directly from the exact number.

A number is never rounded through another format: going from float64 to bfloat16 by way of float32 would round twice.

Source: IEEE 754-2019; OCP 8-bit floating point specification 1.0 (float8).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.errors import DomainError, shown

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Format:
    """A binary format with `precision` significant bits and least normal number ``2**emin``.

    Attributes:
        largest: the largest finite number.
        overflow: the result for a finite number that rounds above `largest` (inf, or nan in formats without inf).
    """

    name: str
    precision: int
    emin: int
    largest: float
    overflow: float
    dtype: np.dtype[Any]

    @property
    def unit_roundoff(self) -> float:
        """u = 2**−precision, the largest relative error of one rounding."""
        return 2.0**-self.precision

    @property
    def smallest(self) -> Fraction:
        """The smallest positive (subnormal) number."""
        return Fraction(2) ** (self.emin - self.precision + 1)

    def round_fraction(self, value: Fraction) -> float:
        """`value` rounded to nearest, ties to even, as a float64 that holds it exactly.

        >>> FORMATS["bfloat16"].round_fraction(Fraction(257, 256))
        1.0
        """
        if value == 0:
            return 0.0
        magnitude = abs(value)
        step = self._step(magnitude)
        units = round(magnitude / step)
        rounded = units * step
        result = self.overflow if rounded > Fraction(self.largest) else float(rounded)
        return -result if value < 0 else result

    def _step(self, magnitude: Fraction) -> Fraction:
        exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
        if magnitude < Fraction(2) ** exponent:
            exponent -= 1
        return Fraction(2) ** (max(exponent, self.emin) - self.precision + 1)

    def round_floats(self, values: Floats) -> Floats:
        """Round float64 numbers, taken as exact, to nearest, ties to even; any shape.

        >>> FORMATS["float16"].round_floats(np.array([2049.0, 2051.0]))
        array([2048., 2052.])
        """
        if self.precision == 53:
            return values
        exponent = np.frexp(values)[1] - 1
        shift = np.maximum(exponent, self.emin) - self.precision + 1
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = np.ldexp(np.rint(np.ldexp(values, -shift)), shift)
            over = np.abs(rounded) > self.largest
        return np.where(over, np.copysign(self.overflow, values), rounded)

    def adjacent(self, low: float, high: float) -> bool:
        """Whether no number of this format lies strictly between `low` < `high`, of which at most one is infinite."""
        if not np.isfinite(low) and not np.isfinite(high):
            return False
        return self.round_fraction(self.midpoint(low, high)) in {low, high}

    def midpoint(self, low: float, high: float) -> Fraction:
        """The number halfway between two neighbours of this format; the upper one may be infinite."""
        if np.isfinite(low) and np.isfinite(high):
            return (Fraction(low) + Fraction(high)) / 2
        finite = Fraction(low) if np.isfinite(low) else Fraction(high)
        half_step = self._step(abs(finite)) / 2
        return finite + half_step if finite > 0 else finite - half_step


def _format(name: str, precision: int, emin: int, largest: float, dtype: Any, overflow: float = np.inf) -> Format:
    return Format(name, precision, emin, largest, overflow, np.dtype(dtype))


FORMATS: dict[str, Format] = {
    item.name: item
    for item in (
        _format("float64", 53, -1022, float(np.finfo(np.float64).max), np.float64),
        _format("float32", 24, -126, float(np.finfo(np.float32).max), np.float32),
        _format("float16", 11, -14, 65504.0, np.float16),
        _format("bfloat16", 8, -126, (2 - 2.0**-7) * 2.0**127, ml_dtypes.bfloat16),
        _format("float8_e4m3fn", 4, -6, 448.0, ml_dtypes.float8_e4m3fn, overflow=np.nan),
        _format("float8_e5m2", 3, -14, 57344.0, ml_dtypes.float8_e5m2),
    )
}


def format_of(dtype: Any) -> Format:
    """The format called `dtype`: a name, a NumPy or ml_dtypes dtype, or a torch dtype.

    Raises:
        DomainError: not one of `FORMATS`.
    """
    name = dtype if isinstance(dtype, str) else str(dtype).removeprefix("torch.")
    if name not in FORMATS and dtype is not None:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = ""
    if name not in FORMATS:
        msg = f"dtype must be one of {', '.join(FORMATS)}; got {shown(dtype)}"
        raise DomainError(msg)
    return FORMATS[name]
