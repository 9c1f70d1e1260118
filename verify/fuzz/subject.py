"""The answer of a judge, the kind of a failure, and the size of a subject, by which shrinking compares witnesses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.records import Array, Failure


@dataclass(frozen=True)
class Answer:
    """The outcome of the checks on one subject.

    Attributes:
        failures: the worst failure of every check that failed; under `CRASH`, what ended the process or the call.
        kappa: the worst decided κ of the outputs; 0 if none was decided.
        decided: how many comparisons were decided.
        undecided: how many comparisons were not decided.
        compared: how many numbers were compared with the truth.
        called: whether the target was called at all.
        rejected: why no family can build the recipe, or "".
        lost: how the process that judges ended, or "": then nothing was decided.
        seconds: processor time of truth, target and checks.
    """

    failures: dict[str, Failure] = field(default_factory=dict)
    kappa: float = 0.0
    decided: int = 0
    undecided: int = 0
    compared: int = 0
    called: bool = False
    rejected: str = ""
    lost: str = ""
    seconds: float = 0.0


def kind(failure: Failure) -> str:
    """The kind of a failure: a wrong value, a value that is not finite, an exception, or what ended the call."""
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
    """A sort key, the simplest subject first: how many numbers, their bits, and the text of the case."""
    if subject.inputs is None:
        return (subject.elements, 10**9, len(subject.case.text), subject.case.text)
    bits = sum(complexity(value) for array in subject.inputs.arrays.values() for value in floats(array).flat)
    return (subject.elements, bits, len(subject.case.text), subject.case.text)


def floats(array: Array) -> Array:
    """`array` as float64, which holds every dtype exactly."""
    return np.asarray(array).astype(np.float64)


def complexity(value: float) -> int:
    """How complex a number is; simplest is 0, then 1, −1, small integers, powers of two and short mantissas.

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
    # The exponent's distance from that of 1 counts by its bit length, so that 2^100 is simpler than 0.1.
    return bits + abs(exponent - 1).bit_length() + (exponent < 1) + (value < 0)
