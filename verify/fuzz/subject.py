"""What is judged: a case with the inputs of its recipe, or with explicit arrays that a shrinker made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.records import Array, Failure


@dataclass(frozen=True)
class Answer:
    """What the checks said of one subject.

    Attributes:
        failures: the worst failure of every check that failed; under `CRASH` what ended the process or the call.
        kappa: the worst κ of the outputs that was decided; 0 if none was.
        decided: comparisons decided.
        undecided: comparisons not decided.
        compared: numbers held against the truth.
        called: whether the target was called at all.
        rejected: why no family can build the recipe, or "".
        seconds: processor time that truth, target and checks took.
    """

    failures: dict[str, Failure] = field(default_factory=dict)
    kappa: float = 0.0
    decided: int = 0
    undecided: int = 0
    compared: int = 0
    called: bool = False
    rejected: str = ""
    seconds: float = 0.0


def kind(failure: Failure) -> str:
    """What sort of failure it is: a value, an exception, or what ended a call."""
    for word, name in (
        ("no answer in", "hang"),
        ("out of memory", "memory"),
        ("the process ended", "death"),
        ("the call gave no output: ", "exception"),
    ):
        if word in failure.message:
            return name
    return "value" if failure.kappa is None or math.isfinite(failure.kappa) else "not finite"


def size_of(subject: Subject) -> tuple[int, int, int, str]:
    """The smaller, the simpler: how many numbers, how many bits and letters they take."""
    if subject.inputs is None:
        return (subject.elements, 10**9, len(subject.case.text), subject.case.text)
    bits = sum(complexity(value) for array in subject.inputs.arrays.values() for value in floats(array).flat)
    return (subject.elements, bits, len(subject.case.text), subject.case.text)


def floats(array: Array) -> Array:
    """`array` as float64, which holds every dtype exactly."""
    return np.asarray(array).astype(np.float64)


def complexity(value: float) -> int:
    """How far `value` is from the simplest numbers: 0, then 1, −1, small integers, powers of two, short mantissas.

    >>> [complexity(value) for value in (0.0, 1.0, -1.0, 2.0, 0.5, 3.0, 0.1)]
    [0, 1, 2, 2, 3, 3, 56]
    """
    if value == 0:
        return 0 if math.copysign(1.0, value) > 0 else 1
    if not math.isfinite(value):
        return 1 if value == -math.inf else 2
    mantissa, exponent = math.frexp(abs(value))
    scaled = int(mantissa * 2**53)
    bits = 53 - ((scaled & -scaled).bit_length() - 1)
    # The distance of the exponent from that of 1 counts by its length, so that 2^100 is simpler than 0.1.
    return bits + abs(exponent - 1).bit_length() + (exponent < 1) + (value < 0)
