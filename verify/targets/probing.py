"""Call a target on tiny inputs to find out what it does not declare: the arrays, and the shapes of attention, it takes.

A file may import torch for another purpose than the function that is verified, and a function may compute on
tensors in a file that does not import torch. So a guess from the imports stands unless the target rejects such arrays
by their type and accepts the other kind. If attention raises only for grouped heads, or only for values of another
width than the keys, it does not take these.
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
"""The index, attribute or key of the output in the result of a function; None: the first item, or the whole."""
_SHAPES = {"entmax": (1, 3), "weights": (1, 3), "regression": (1, 3, 2, 2), "attention": (1, 1, 1, 3, 2, 2)}


@dataclass(frozen=True)
class _Refusal:
    """The evidence that a function does not compute on arrays of a kind.

    Attributes:
        text: the error: what the function raised, or that its result is of another type.
        returned: whether the function returned, and only its result is of another type.
    """

    text: str
    returned: bool


def probed(
    function: Callable[..., Any], binding: Binding, guess: Kind, dtype: str, output: int | str | None
) -> tuple[Kind, str]:
    """Find the kind of arrays that `function` takes, and a remark for the note of the target ("" if it takes `guess`).

    If it takes neither kind, the one for which it returns something, though of another type, is likelier to be meant
    than one for which it raises.

    Args:
        function: called once, and again with the other kind only if it rejects the first by type.
        binding: the binding of its parameters.
        guess: the kind that its source suggests.
        dtype: a dtype that it takes.
        output: the index, attribute or key of its output in the value it returns.
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
    """Call `function` with arrays of `kind` and return the evidence that it does not compute on them, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        returned = False
        try:
            found = _called(function, binding, kind, dtype, _SHAPES[binding.op])
            returned = True
            take(picked(found, output), kind)
        except (TypeError, AttributeError, TargetError) as error:
            return _Refusal(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]}", returned)
        except BaseException:  # noqa: BLE001 (the checks find faults of other kinds)
            return None
    return None


def _called(function: Callable[..., Any], binding: Binding, kind: Kind, dtype: str, shape: tuple[int, ...]) -> Any:
    """Call `function` with the inputs of a tiny case of `shape` and return its result."""
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
"""Field of `Shapes` -> (its value if attention rejects the feature, shapes of cases with the feature, its name)."""
_BATCHES: Mapping[int, _Shape] = {3: (), 4: (2,), 5: (2, 1)}
"""Number of axes of q -> the sizes of the axes before that of heads."""


def refused_extras(
    function: Callable[..., Any], binding: Binding, kind: Kind, dtype: str, said: Declaration
) -> Iterator[tuple[str, Any, str]]:
    """Yield (field of `Shapes`, its value, a remark) for each optional feature of attention that `function` rejects.

    Fields that are declared are not probed. If the function raises without any of these features too, nothing is
    yielded.

    Args:
        function: called for a few tiny cases.
        binding: the binding of its parameters.
        kind: the arrays that it computes on.
        dtype: a dtype that it takes.
        said: what is declared of it.
    """

    @cache
    def refusal(shape: _Shape) -> str | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                _called(function, binding, kind, dtype, fitted("attention", said.limits, shape))
            except Exception as error:  # noqa: BLE001 (any exception means that it does not take them)
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
        # A function that accepts one of the shapes supports the feature, and must accept all of them.
        if name not in declared and all(reason is not None for reason in reasons):
            yield name, value, f"not given {words}, for which it raises {reasons[0]}"
