"""Rows of a few keys, with each stored number moved as far as its rounding may move it, by every choice of signs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.judging.precision import eta
from kernelproof.verify.records import Contract, Floats, Inputs, Truth, Values
from kernelproof.verify.truth.roundings import with_roundings
from kernelproof.verify.truth.truth import truth_of

KEYS, WIDTH = 4, 2
NOISE = 2.0**-44
"""R and the changes are sums of some tens of terms in float64; relative to the sizes of these terms."""
FINITE = ("3/2", "2", "8", "64")


def signs(count: int) -> Floats:
    return np.array(list(product((-1.0, 1.0), repeat=count)))


def weigh(z: Floats, order: float) -> Floats:
    """(..., S) weights of logits by the definition: exponentials, or powers of what is left above a threshold."""
    gaps = z.max(axis=-1, keepdims=True) - z
    if order == np.inf:
        terms = np.exp(-gaps)
        return np.asarray(terms / terms.sum(axis=-1, keepdims=True))
    low, high = np.zeros((*gaps.shape[:-1], 1)), np.ones((*gaps.shape[:-1], 1))
    for _ in range(80):
        middle = (low + high) / 2
        small = (np.clip(middle - gaps / order, 0, None) ** order).sum(axis=-1, keepdims=True) < 1
        low, high = np.where(small, middle, low), np.where(small, high, middle)
    return np.asarray(np.clip(high - gaps / order, 0, None) ** order)


@dataclass(frozen=True)
class Query:
    """One query of attention, in the numbers of `dtype`."""

    case: Case
    inputs: Inputs
    truth: Truth
    scale: float

    @property
    def order(self) -> float:
        return float(self.case.kernel.order)

    def array(self, name: str) -> Floats:
        found: Floats = np.asarray(self.inputs.arrays[name]).astype(np.float64)[0]
        return found

    @property
    def q(self) -> Floats:
        return np.asarray(self.array("q")[0])

    @property
    def g(self) -> Floats:
        found: Floats = np.asarray(self.inputs.cotangent).astype(np.float64)[0, 0]
        return found

    @property
    def scores(self) -> Floats:
        return np.asarray(self.array("k") @ self.q)

    @property
    def u(self) -> float:
        return float(FORMATS[self.case.dtype].unit_roundoff)

    @property
    def eta(self) -> float:
        return eta(FORMATS[self.case.dtype])

    def rounded(self, *names: str) -> Truth:
        return with_roundings(self.case, self.inputs, self.truth, Contract(roundings=names))

    def stored(self, *names: str) -> Floats:
        """(e,) R of the output."""
        found: Floats = np.asarray(self.rounded(*names).output.stored)[0]
        return found

    def stored_gradient(self, name: str, *names: str) -> Floats:
        gradients = self.rounded(*names).gradients
        assert gradients is not None
        found: Floats = np.asarray(gradients[name].stored)[0]
        return found


def query(seed: int, *, dtype: str = "bfloat16", order: str = "inf", size: float = 1.5, scale: float = 0.5) -> Query:
    generator = np.random.default_rng(seed)
    sizes = {"q": (1, 1, 3), "k": (1, KEYS, 3), "v": (1, KEYS, WIDTH)}
    arrays: dict[str, Any] = {
        name: generator.normal(0, 1 if name == "v" else size, shape).astype(FORMATS[dtype].dtype)
        for name, shape in sizes.items()
    }
    cotangent = generator.normal(size=(1, 1, WIDTH)).astype(FORMATS[dtype].dtype)
    case = Case("attention", order, None, "adaptive:1", dtype, "random", (1, 1, 1, KEYS, 3, WIDTH), "1", 0)
    inputs = Inputs(arrays, {"scale": scale}, cotangent)
    truth = truth_of(case, inputs)
    assert truth is not None
    return Query(case, inputs, truth, scale)


def covers(stored: Floats, change: Floats, size: float, factor: float) -> None:
    """R is at least the change and at most `factor` times it; both are known to `NOISE` of `size`."""
    assert (change <= stored * (1 + NOISE) + NOISE * size).all(), (stored, change)
    assert (stored <= factor * change + NOISE * size).all(), (stored, change, stored / change)


def query_of_box(generator: np.random.Generator, size: float) -> Query:
    """A query without its proof: with the weights of `weigh`, which serve as well for R."""
    shapes = {"q": (1, 1, 3), "k": (1, KEYS, 3), "v": (1, KEYS, WIDTH)}
    kind = FORMATS["bfloat16"].dtype
    arrays: dict[str, Any] = {
        name: generator.normal(0, 1 if name == "v" else size, shape).astype(kind) for name, shape in shapes.items()
    }
    case = Case("attention", "inf", None, "adaptive:1", "bfloat16", "random", (1, 1, 1, KEYS, 3, WIDTH), "1", 0)
    inputs = Inputs(arrays, {"scale": 1.0})
    q, k, v = (array.astype(np.float64)[0] for array in arrays.values())
    weights = weigh(q @ k.T, np.inf)
    yes, no = np.ones((1, KEYS), dtype=bool), np.zeros(1, dtype=bool)
    zeros = np.zeros((1, WIDTH))
    output = Values(weights @ v, zeros, zeros, zeros)
    endless = np.full((1, KEYS), np.inf)
    return Query(case, inputs, Truth(output, yes, ~yes, no, no, no, endless, 0 * weights, weights), 1.0)
