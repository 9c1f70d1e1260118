"""Call a target on tiny inputs to find out what it does not declare: its arrays, shapes of attention, and gradients.

A file may import torch for another purpose than the function that is verified, and a function may compute on
tensors in a file that does not import torch. So a guess from the imports stands unless the target rejects such arrays
by their type and accepts the other kind. If attention raises only for grouped heads, or only for values of another
width than the keys, it does not take these. If it takes (batch, heads, tokens, width) and raises without the batch, or
with another axis before it, it does not take these either; if it raises for (batch, heads, tokens, width) itself, that
is its fault, and no other number of axes is looked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import Any

from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.rules import filled, of_variant, order_with
from kernelproof.verify.process.state import recursion_kept
from kernelproof.verify.records import Array
from kernelproof.verify.targets.arrays import (
    CARRIES_NONE,
    Kind,
    as_leaf,
    differentiated,
    give,
    picked,
    take,
    transposed,
)
from kernelproof.verify.targets.binding import Binding
from kernelproof.verify.targets.declaration import BHTD, PARAMETERS, Declaration
from kernelproof.verify.targets.shapes import fitted

Part = int | str | None
"""The index, attribute or key of the output in the result of a function; None: the first item, or the whole."""
_Shape = tuple[int, ...]
_SHAPES: Mapping[str, _Shape] = {
    "entmax": (1, 3),
    "weights": (1, 3),
    "regression": (1, 3, 2, 2),
    "attention": (1, 1, 1, 3, 2, 2),
}


@dataclass(frozen=True)
class _Refusal:
    """The evidence that a function does not compute on arrays of a kind.

    Attributes:
        text: the error: what the function raised, or that its result is of another type.
        returned: whether the function returned, and only its result is of another type.
    """

    text: str
    returned: bool


@dataclass(frozen=True)
class Probe:
    """A function that is called on tiny inputs.

    Attributes:
        function: the function.
        binding: the binding of its parameters.
        said: what is declared of it.
        dtype: a dtype that it takes.
        order: an order that it is asked for, as text; "" if `alpha` is given.
        alpha: the same as a value of α.
    """

    function: Callable[..., Any]
    binding: Binding
    said: Declaration
    dtype: str
    order: str = "1"
    alpha: str | None = None

    def case(self, shape: _Shape) -> Case:
        """A case of `shape`."""
        rule = filled(self.binding.rules[0] if self.binding.rules else "adaptive:1", 0, "3")
        order, alpha = (order_with(rule), None) if of_variant(rule) else (self.order, self.alpha)
        return Case(self.binding.op, order, alpha, rule, self.dtype, "random", shape, "1", 0)

    def called(self, kind: Kind, shape: _Shape) -> Any:
        """Call the function with the inputs of a tiny case of `shape` and return its result."""
        case = self.case(shape)
        arrays = {name: self.given(array, kind) for name, array in inputs_of(case).arrays.items()}
        positional, keywords = self.binding.call(case, arrays, {}) or ([*arrays.values()], {})
        with recursion_kept():
            return self.function(*positional, **keywords)

    def given(self, array: Array, kind: Kind) -> Any:
        """`array` as the function takes it."""
        return give(transposed(array, self.said.layout or BHTD), kind, "cpu")


def probed(probe: Probe, guess: Kind) -> tuple[Kind, str]:
    """Find the kind of arrays that a function takes, and a remark for the note of the target ("" if it takes `guess`).

    If it takes neither kind, the one for which it returns something, though of another type, is likelier to be meant
    than one for which it raises.

    Args:
        probe: its function is called once, and again with the other kind only if it rejects the first by type.
        guess: the kind that its source suggests.
    """
    first = _refusal(probe, guess)
    if first is None:
        return guess, ""
    other: Kind = "torch" if guess == "numpy" else "numpy"
    if other == "torch" and find_spec("torch") is None:
        return guess, f": {first.text}"
    second = _refusal(probe, other)
    if second is None:
        return other, f", for with the others: {first.text}"
    told = f"; with {guess} arrays: {first.text}; with {other} arrays: {second.text}"
    return (other if second.returned and not first.returned else guess), told


def _refusal(probe: Probe, kind: Kind) -> _Refusal | None:
    """Call the function with arrays of `kind` and return the evidence that it does not compute on them, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        returned = False
        try:
            found = probe.called(kind, _SHAPES[probe.binding.op])
            returned = True
            take(picked(found, probe.said.output), kind)
        except (TypeError, AttributeError, TargetError) as error:
            return _Refusal(_told(error), returned)
        except BaseException:  # noqa: BLE001 (the checks find faults of other kinds)
            return None
    return None


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]}"


def offered_gradients(probe: Probe, kind: Kind) -> tuple[tuple[str, ...], str]:
    """Find the numbers that the function takes and autograd differentiates by; and a remark on the others.

    A gradient that is 0 at every input tried does not count: JAX gives it also for what the function only compares or
    rounds. At one input it says nothing: weights of a row with a single key in its support do not move with the order.
    """
    given: tuple[str, ...] = ()
    numbers: list[str] = []
    why = "autograd gives none"
    for seed in _SEEDS:
        try:
            case = replace(probe.case(_SHAPES[probe.binding.op]), seed=seed)
        except DomainError:  # there is no such case, such as one of order 0 under an adaptive rule
            return (), ""
        told = probe.binding.numbers(case)
        numbers = [role for role in PARAMETERS if role in told]
        if not numbers:
            return (), ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                moved = _moved(probe, kind, case, {role: told[role] for role in numbers})
            except Exception as error:  # noqa: BLE001 (any exception means that it gives none)
                why = why if CARRIES_NONE in str(error) else _told(error)
                break
        given = tuple(role for role in numbers if role in {*given, *moved})
        if len(given) == len(numbers):
            break
    lacking = [role for role in numbers if role not in given]
    return given, f"; the gradient in {' and '.join(lacking)} is not tried: {why}" if lacking else ""


def _moved(probe: Probe, kind: Kind, case: Case, numbers: Mapping[str, float]) -> set[str]:
    """The numbers by which autograd gives a gradient that is not 0 in `case`."""
    inputs = inputs_of(case)
    arrays = {name: probe.given(array, kind) for name, array in inputs.arrays.items()}
    assert inputs.cotangent is not None  # its rows are short
    upstream = probe.given(inputs.cotangent, kind)

    def output(leaves: Mapping[str, Any], held: Mapping[str, Any]) -> Any:
        positional, keywords = probe.binding.call(case, {**arrays, **leaves}, {}, held) or ([], {})
        with recursion_kept():
            return picked(probe.function(*positional, **keywords), probe.said.output)

    like = next(iter(arrays.values()))
    roles = {role: as_leaf(value, like, kind, wide=True) for role, value in numbers.items()}
    found = differentiated(kind, output, {}, roles, upstream)
    return {role for role in roles if role in found and float(take(found[role], kind)) != 0}


_SEEDS = range(8)
"""Seeds of the tiny inputs, at some of which a gradient is 0: of a row of three keys order 2 often keeps one."""
_EXTRAS: Mapping[str, tuple[bool, tuple[_Shape, ...], str]] = {
    "grouped_heads": (False, ((4, 2, 2, 3, 2, 2), (6, 3, 3, 5, 4, 4)), "fewer key heads than heads"),
    "equal_widths": (True, ((4, 4, 2, 3, 2, 1), (3, 3, 3, 5, 4, 2)), "values of another width than the keys"),
}
"""Field of `Shapes` -> (its value if attention rejects the feature, shapes of cases with the feature, its name)."""
_BATCHES: Mapping[int, _Shape] = {3: (), 4: (2,), 5: (2, 1)}
"""Number of axes of q -> the sizes of the axes before that of heads."""


_CANONICAL = 4
"""The number of axes of (batch, heads, tokens, width)."""


def refused_extras(probe: Probe, kind: Kind) -> Iterator[tuple[str, Any, str]]:
    """Yield (field of `Shapes`, its value, a remark) for each optional feature of attention that `function` rejects.

    Fields that are declared are not probed. If the function raises without any of these features too, nothing is
    yielded.

    Args:
        probe: its function is called for a few tiny cases.
        kind: the arrays that it computes on.
    """
    said = probe.said

    @cache
    def refusal(shape: _Shape) -> str | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                probe.called(kind, fitted("attention", said.limits, shape))
            except Exception as error:  # noqa: BLE001 (any exception means that it does not take them)
                return _told(error)
        return None

    plain = (4, 4, 2, 3, 2, 2)
    ranks = [rank for rank, batch in _BATCHES.items() if refusal((*batch, *plain)) is None]
    declared = dict(said.shapes)
    # A function that raises for the usual axes is wrong or wants another layout, even if it takes more of them.
    usual = {"least_rank", "most_rank"} & set(declared) or min(ranks, default=_CANONICAL + 1) <= _CANONICAL
    if not ranks or not usual:
        return
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


def note_of(binding: Binding, said: Declaration, kind: Kind, why: str) -> str:
    """What the report says of how a function is called, given arrays of `kind` for the reason `why`."""
    arrays = f"given {kind} arrays{why}"
    told = [(role, name) for role in ("order", "alpha") if (name := binding.named(role)) is not None]
    given = [f"{role} as {name!r}" for role, name in told]
    if binding.fixed and (said.order is not None or said.alpha is not None):
        number = f"order {said.order}" if said.order is not None else f"α = {said.alpha}"
        return f"declared to compute {number}; {arrays}"
    if binding.rules and of_variant(binding.rules[0]):
        return f"computes the {binding.rules[0].replace(':', ' ', 1)}; {arrays}"
    if binding.fixed:
        return f"has no parameter for the order: the run says which it computes; {arrays}"
    return f"takes {' and '.join(given or ['a kernel'])}; {arrays}"
