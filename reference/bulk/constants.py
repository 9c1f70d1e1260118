"""The constants of exp and log as double words, each the certified rounding of a ball of 300 bits.

The double word (h, g) of a real c has h = RN(c) and g = RN(c − h); it is off by at most 2^-106·|c|.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from kernelproof.reference.bulk.double_word import Word

Floats = NDArray[np.float64]
BITS = 300


def _word(value: arb) -> Word:
    head = float(value.mid())
    tail = float((value - head).mid())
    return head, tail


def _to_bits(value: arb, bits: int) -> arb:
    """`value` rounded to `bits` bits, so that products with small integers are exact in float64."""
    with ctx.workprec(bits):
        return (value.mid() + arb(0)).mid()


def logarithm_of_two() -> Word:
    """log 2."""
    with ctx.workprec(BITS):
        return _word(arb(2).log())


def step_of_exp(steps: int) -> tuple[float, float, float]:
    """``log 2/steps`` as C₁ + C₂ + C₃: C₁ and C₂ of 33 bits, the rest within 2^-53 of C₃."""
    with ctx.workprec(BITS):
        step = arb(2).log() / steps
        first = _to_bits(step, 33)
        second = _to_bits(step - first, 33)
        return float(first), float(second), float((step - first - second).mid())


def powers_of_two(steps: int) -> tuple[Floats, Floats]:
    """``2^(j/steps)`` for 0 ≤ j < steps."""
    with ctx.workprec(BITS):
        return _columns([_word(arb(2) ** (arb(j) / steps)) for j in range(steps)])


def reciprocals(cells: int) -> tuple[Floats, Floats, Floats, Floats]:
    """(r, h, g, c) for the cells [1 + i/cells, 1 + (i+1)/cells) of [1, 2), with r a float near 1/m in the cell.

    In the upper cells, beyond √2, the carry c is 1, else 0; (h, g) is ``−log r − c·log 2``. In the first cell r = 1
    and in the last r = 1/2, so that (h, g) is exactly 0 there, and nothing cancels for m near 1 and near 2.
    """
    with ctx.workprec(BITS):
        middle = [1 + (i + 0.5) / cells for i in range(cells)]
        r = np.array([np.round(1024 / m) / 1024 for m in middle])
        r[0], r[-1] = 1.0, 0.5
        carry = np.array([1.0 if m > 1.4142 else 0.0 for m in middle])
        words = [_word(-arb(float(a)).log() - arb(2).log() * int(c)) for a, c in zip(r, carry, strict=True)]
        words[0] = words[-1] = (0.0, 0.0)
        head, tail = _columns(words)
        return r, head, tail, carry


def words_of(fractions: Sequence[tuple[int, int]]) -> tuple[Word, ...]:
    """The rationals p/q as double words."""
    with ctx.workprec(BITS):
        return tuple(_word(arb(p) / q) for p, q in fractions)


def _columns(words: Sequence[Word]) -> tuple[Floats, Floats]:
    return np.array([h for h, _ in words]), np.array([g for _, g in words])
