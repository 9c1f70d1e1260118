"""Underflow: what it may add to an error beyond u·unit, the η of docs/theory.md §4.

Two amounts are kept distinct, because one grows with κ and the other does not.

* A rounding to a subnormal number is off by up to `eta`, half the smallest of them. The first-order unit contains it
  (unit = … + η/u), so κ counts it as it counts every other rounding.
* A target that flushes returns 0 for what is subnormal, and is off by up to the smallest normal number. It does so once
  for each number that it returns or adds up, whatever κ is: `flushed` is added to what κ allows.

A slack that is added to what κ allows, such as that of the box, of sums or of pairs, includes the larger of the two
amounts once: `underflow`, or `eta_of` as a float.
"""

from __future__ import annotations

from fractions import Fraction

from kernelproof.reference.formats import Format
from kernelproof.verify.records import Contract


def underflow(target: Format, *, flush: bool) -> Fraction:
    """What underflow adds to one number: half the smallest subnormal, or the smallest normal where `flush`.

    >>> from kernelproof.reference.formats import FORMATS
    >>> float(underflow(FORMATS["float16"], flush=False)) == 2.0**-25, float(underflow(FORMATS["float16"], flush=True))
    (True, 6.103515625e-05)
    """
    return Fraction(2) ** target.emin if flush else target.smallest / 2


def eta(target: Format) -> float:
    """Half the smallest subnormal as a float64; for float64 the whole of it, because its half is no float64."""
    return max(float(underflow(target, flush=False)), 5e-324)


def flushed(target: Format, *, flush: bool) -> float:
    """The smallest normal number where `flush`, and 0 where subnormal results are not flushed."""
    return float(underflow(target, flush=True)) if flush else 0.0


def eta_of(target: Format, contract: Contract) -> float:
    """`underflow` under `contract`, as a float64."""
    return max(eta(target), flushed(target, flush=contract.flush_to_zero))
