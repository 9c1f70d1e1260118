"""Subjects: a case with the inputs of its recipe, or with explicit arrays in place of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families.layouts import layer
from kernelproof.verify.cases.inputs import each_once, inputs_of, resolve
from kernelproof.verify.cases.layout import Layout, packed
from kernelproof.verify.records import Array, Contract, Inputs


@dataclass(frozen=True)
class Subject:
    """A case, and its inputs if they are not those of the recipe.

    Attributes:
        case: the case; with explicit inputs, its shape is their shape, and its family says which checks apply.
        inputs: explicit arrays in C order; None for those of the recipe.
    """

    case: Case
    inputs: Inputs | None = None

    def built(self, contract: Contract) -> Inputs:
        """The inputs, resolved by `contract`; laid out in memory as the case says."""
        if self.inputs is None:
            return inputs_of(self.case, contract)
        inputs = resolve(self.inputs, contract)
        if (lay := layer(self.case)) is None:
            return inputs
        upstream = inputs.cotangent
        return replace(
            inputs,
            arrays=each_once(lay, inputs.arrays),
            cotangent=None if upstream is None else lay(upstream),
        )

    @property
    def elements(self) -> int:
        """The number of numbers in the inputs; for a recipe, the product of its shape."""
        if self.inputs is None:
            return prod(self.case.shape)
        return sum(array.size for array in self.inputs.arrays.values())


def explicit(subject: Subject) -> Subject:
    """`subject` with its inputs written out, in C order and writeable."""
    inputs = inputs_of(subject.case) if subject.inputs is None else subject.inputs
    upstream = inputs.cotangent
    return Subject(
        subject.case,
        replace(
            inputs,
            arrays=each_once(plain, inputs.arrays),
            cotangent=None if upstream is None else plain(upstream),
        ),
    )


def plain(array: Array) -> Array:
    """A writeable copy of `array` in C order."""
    return Layout(array.reshape(-1).copy(), packed(array.shape), 0).view(array.shape)
