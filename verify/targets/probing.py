"""Try on a tiny input what a target does not declare: the arrays it takes, and the shapes of attention.

A file may import torch for something else than the function that is verified, and a function may compute on
tensors in a file that imports no torch. The first guess stands unless the target refuses it by type and takes
the other. Attention that raises for grouped heads alone, or for values of another width, does not take them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from kernelproof.reference.errors import TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.rules import filled, order_with
from kernelproof.verify.targets.arrays import Kind, give, picked, take
from kernelproof.verify.targets.binding import Binding
from kernelproof.verify.targets.declaration import Declaration
from kernelproof.verify.targets.shapes import fitted

Part = int | str | None
"""Which part of what a function returns is its output."""
_SHAPES = {"entmax": (1, 3), "weights": (1, 3), "regression": (1, 3, 2, 2), "attention": (1, 1, 1, 3, 2, 2)}


@dataclass(frozen=True)
class _Refusal:
    """How a function shows that arrays of a kind are not what it computes on.

    Attributes:
        text: what it raised, or what it returned in the place of an array.
        returned: whether it computed, and only what it returned is of another type.
    """

    text: str
    returned: bool


def probed(
    function: Callable[..., Any], binding: Binding, guess: Kind, dtype: str, output: int | str | None
) -> tuple[Kind, str]:
    """The kind of arrays that `function` takes, and what a note says of it ("" if it takes `guess`).

    Where it takes neither, one that computes on arrays of a kind and returns something else is likelier to be meant
    for them than one that raises.

    Args:
        function: called once, and again with the other kind only if it refuses the first by type.
        binding: of its parameters.
        guess: what its source suggests.
        dtype: one that it takes.
        output: which part of what it returns is the output.
    """
    first = _refusal(function, binding, guess, dtype, output)
    if first is None:
        return guess, ""
    other: Kind = "torch" if guess == "numpy" else "numpy"
    if other == "torch" and find_spec("torch") is None:
        return guess, f": {first.text}"
    second = _refusal(function, binding, other, dtype, output)
    if second is None:
        return other, f", for with the others: {first.text}"
    told = f"; with {guess} arrays: {first.text}; with {other} arrays: {second.text}"
    return (other if second.returned and not first.returned else guess), told


def _refusal(
    function: Callable[..., Any], binding: Binding, kind: Kind, dtype: str, output: int | str | None
) -> _Refusal | None:
    """How `function` shows that arrays of `kind` are not what it computes on; None if it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        returned = False
        try:
            found = _called(function, binding, kind, dtype, _SHAPES[binding.op])
            returned = True
            take(picked(found, output), kind)
        except (TypeError, AttributeError, TargetError) as error:
            return _Refusal(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]}", returned)
        except BaseException:  # noqa: BLE001 (another fault than that of the type is for the checks to find)
            return None
    return None


def _called(function: Callable[..., Any], binding: Binding, kind: Kind, dtype: str, shape: tuple[int, ...]) -> Any:
    """What `function` returns for a tiny case of `shape`."""
    rule = filled(binding.rules[0] if binding.rules else "adaptive:1", 0, "3")
    case = Case(binding.op, order_with(rule), None, rule, dtype, "random", shape, "1", 0)
    arrays = {name: give(array, kind, "cpu") for name, array in inputs_of(case).arrays.items()}
    positional, keywords = binding.call(case, arrays, {}) or ([*arrays.values()], {})
    return function(*positional, **keywords)


_Shape = tuple[int, ...]
_EXTRAS: Mapping[str, tuple[bool, tuple[_Shape, ...], str]] = {
    "grouped_heads": (False, ((4, 2, 2, 3, 2, 2), (6, 3, 3, 5, 4, 4)), "fewer key heads than heads"),
    "equal_widths": (True, ((4, 4, 2, 3, 2, 1), (3, 3, 3, 5, 4, 2)), "values of another width than the keys"),
}
"""By field of `Shapes`: what it is where attention does not take this, shapes of cases with it, and its name."""
_BATCHES: Mapping[int, _Shape] = {3: (), 4: (2,), 5: (2, 1)}
"""Axes of q -> the axes before those of heads."""


def refused_extras(
    function: Callable[..., Any], binding: Binding, kind: Kind, dtype: str, said: Declaration
) -> Iterator[tuple[str, Any, str]]:
    """What not every kernel of attention takes and this one raises for: (field of `Shapes`, its value, a remark).

    Nothing is told of what is declared, and nothing where it raises without any of it as well.

    Args:
        function: called for a few tiny cases.
        binding: of its parameters.
        kind: the arrays that it computes on.
        dtype: one that it takes.
        said: what is declared of it.
    """

    @cache
    def refusal(shape: _Shape) -> str | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                _called(function, binding, kind, dtype, fitted("attention", said.limits, shape))
            except Exception as error:  # noqa: BLE001 (whatever it raises, it says that it does not take them)
                return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]}"
        return None

    plain = (4, 4, 2, 3, 2, 2)
    ranks = [rank for rank, batch in _BATCHES.items() if refusal((*batch, *plain)) is None]
    if not ranks:
        return
    declared = dict(said.shapes)
    if not {"least_rank", "most_rank"} & set(declared):
        for name, rank, beyond in (
            ("least_rank", min(ranks), min(ranks) - 1),
            ("most_rank", max(ranks), max(ranks) + 1),
        ):
            if beyond in _BATCHES:
                reason = refusal((*_BATCHES[beyond], *plain))
                yield name, rank, f"not given arrays of {beyond} axes, for which it raises {reason}"
    batch = _BATCHES[min(ranks)]
    for name, (value, shapes, words) in _EXTRAS.items():
        reasons = [refusal((*batch, *shape)) for shape in shapes]
        # One that takes some of them has to take all.
        if name not in declared and all(reason is not None for reason in reasons):
            yield name, value, f"not given {words}, for which it raises {reasons[0]}"
