"""Data of the calls in a script: the inputs, how the target is called, and where its output is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import output_shape
from kernelproof.verify.judging.claims import Seen
from kernelproof.verify.records import Array, Call, Outcome
from kernelproof.verify.targets.arrays import Kind
from kernelproof.verify.targets.caller import laid
from kernelproof.verify.targets.declaration import BHTD
from kernelproof.verify.targets.protocol import request
from kernelproof.verify.targets.scope import case_of
from kernelproof.verify.targets.target import Target
from kernelproof.verify.witness import literals

Way = Literal["function", "own vjp", "autograd", "program"]
"""How a script calls the target; ``own vjp``: by its own function for vector-Jacobian products."""
_LONGEST = 8 * literals.WRITTEN
"""Requests of more characters are compressed."""


@dataclass(frozen=True)
class Number:
    """A number that autograd differentiates with respect to, such as the order or α; `role` names its variable."""

    role: str
    value: float
    dtype: str
    device: str


@dataclass(frozen=True)
class ScriptCall:
    """One call as a script makes it.

    Attributes:
        variable: the variable that holds the result.
        op: of the case.
        mode: "forward" or "vjp".
        way: how the target is called.
        library: of the arrays.
        names: argument -> variable.
        inputs: variable -> array.
        request: to a program, as JSON; "" if it is compressed, or the target is not a program.
        packed: the compressed request.
        is_method: whether the target has a function named like the op.
        words: the arguments of the call, as Python source.
        output: which item of the returned value is the output, see `Declaration`.
        dtype: of the arrays in the answer of a program.
        shape: of the output in the answer of a program; for a vjp, the shape of each gradient by name.
        width: the length of a row; None: the array keeps the shape that the target returned.
        axis: the axis of the rows.
        rows: the rows that are checked; None: all.
        leaves: role -> variable that autograd differentiates with respect to.
        numbers: the leaves that are not arrays.
        derived: how one of the gradients in the order and in α follows from the other; None: neither is derived.
        carries_none: the message for an output that carries no gradient, if the script looks for that; else "".
        turned: the names of results whose axes of heads and tokens a target of another layout has the other way round.
    """

    variable: str
    op: str
    mode: str
    way: Way
    library: Kind
    names: Mapping[str, str]
    inputs: Mapping[str, literals.Literal]
    request: str = ""
    packed: Sequence[str] = ()
    is_method: bool = False
    words: Sequence[str] = ()
    output: int | str | None = None
    dtype: str = ""
    shape: Any = ()
    width: int | None = None
    axis: int = -1
    rows: list[int] | None = None
    leaves: Mapping[str, str] | None = None
    numbers: Sequence[Number] = ()
    derived: Mapping[str, Any] | None = None
    carries_none: str = ""
    turned: Sequence[str] = ()


def script_call(case: Case, one: Seen, target: Target, *, suffix: str = "", rows: bool = False) -> ScriptCall:
    """Return the data with which a script makes the call of `one`.

    Args:
        case: of the subject.
        one: the call and its outcome.
        target: the target.
        suffix: of the variables that hold its inputs.
        rows: whether the script looks at rows, instead of the array in the shape that the target returned.
    """
    call = one.call
    made = _asked(case, one, suffix) if target.is_program else _called(case, one, target, suffix)
    shape = output_shape(case, call.inputs)
    width = int(shape[call.axis if case.op == "entmax" else -1]) if shape else 1
    return replace(
        made,
        library=target.array_library,
        width=max(width, 1) if rows else None,
        axis=call.axis,
        rows=None if call.inputs.rows is None else call.inputs.rows.tolist(),
        derived=_derived(one, case) if call.mode == "vjp" else None,
    )


def _asked(case: Case, one: Seen, suffix: str) -> ScriptCall:
    """Return the data of a call of a program."""
    call = one.call
    text = json.dumps(request(case_of(case, call), call, 1))
    compress = len(text) > _LONGEST
    shapes = {name: array.shape for name, array in call.inputs.arrays.items()}
    return ScriptCall(
        variable=one.variable,
        op=case.op,
        mode=call.mode,
        way="program",
        library="numpy",
        names={"request": f"request{suffix}"},
        inputs={},
        request="" if compress else text,
        packed=literals.packed_lines(text.encode()) if compress else (),
        dtype=literals.dtype_name(case.dtype),
        shape=output_shape(case, call.inputs) if call.mode == "forward" else shapes,
    )


def _called(case: Case, one: Seen, target: Target, suffix: str) -> ScriptCall:
    """Return the data of a call of a Python object."""
    layout = target.layout(case.op)
    call = laid(one.call, layout)
    way: Way = "function" if call.mode == "forward" else "own vjp" if target.form.own_vjp else "autograd"
    arrays: dict[str, Any] = {**call.inputs.arrays}
    arrays |= {name: value for name, value in call.inputs.options.items() if hasattr(value, "dtype")}
    if call.mode == "vjp" and call.inputs.cotangent is not None:
        arrays["cotangent"] = call.inputs.cotangent
    names = {name: name + suffix for name in arrays}
    numbers = _numbers(case, call, target, one.outcome) if way == "autograd" else []
    leaves = {name: names[name] for name in _leaves(case, call, target)} if way == "autograd" else {}
    return ScriptCall(
        variable=one.variable,
        op=case.op,
        mode=call.mode,
        way=way,
        library=target.array_library,
        names=names,
        inputs={
            names[name]: literals.literal(np.asarray(array), target.array_library, target.device)
            for name, array in arrays.items()
        },
        is_method=target.binding(case.op).method,
        words=_words(case, call, target, names, numbers),
        output=target.binding(case.op).output,
        leaves={**leaves, **{number.role: number.role for number in numbers}},
        numbers=numbers,
        turned=() if layout == BHTD else ("output", *call.inputs.arrays),
    )


@dataclass(frozen=True)
class _Word:
    """A word of the script: a literal, or a variable that stands for an array of this shape."""

    name: str
    shape: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return self.name


def _words(case: Case, call: Call, target: Target, names: Mapping[str, str], numbers: Sequence[Number]) -> list[str]:
    """Return the arguments of a call, as Python source, in the form in which the binding passes them."""
    arrays = {name: _Word(names[name], array.shape) for name, array in call.inputs.arrays.items()}
    options = {
        name: _Word(names[name], value.shape) if name in names else value for name, value in call.inputs.options.items()
    }
    roles = {number.role: _Word(number.role, ()) for number in numbers}
    bound = target.binding(case.op).binding.call(case_of(case, call), arrays, options, roles, call.axis, _Word)
    assert bound is not None  # `Scope.refuses` has seen to it
    return [*map(repr, bound[0]), *(f"{key}={value!r}" for key, value in bound[1].items())]


def _leaves(case: Case, call: Call, target: Target) -> list[str]:
    """Return the names of the arrays that autograd differentiates with respect to."""
    scope = target.scope(case.op)
    wanted = None if scope is None else scope.gradients
    return [name for name in call.inputs.arrays if wanted is None or name in wanted]


def _numbers(case: Case, call: Call, target: Target, outcome: Outcome) -> list[Number]:
    """Return the order and other numbers that autograd differentiates with respect to."""
    scope = target.scope(case.op)
    wanted = (scope.gradients if scope is not None else None) or ()
    offered = () if scope is None else scope.offered
    kind = next(iter(call.inputs.arrays.values())).dtype.name
    found = []
    for role, value in target.binding(case.op).binding.numbers(case_of(case, call)).items():
        if role not in wanted or (role in offered and outcome.arrays and role not in outcome.arrays):
            continue
        dtype = kind
        if target.array_library == "torch" and math.isfinite(value):
            # Use float64 if the dtype of the arrays cannot hold the number exactly.
            held = FORMATS[kind].round_fraction(Fraction(value))
            dtype = kind if float(held) == float(value) and role not in offered else "float64"
        found.append(Number(role, float(value), dtype, target.device))
    return found


def _derived(one: Seen, case: Case) -> dict[str, Any] | None:
    """Say which gradient, in the order or in α, follows from the other one, as in the calls that a run makes."""
    case = case_of(case, one.call)
    other, wanted = ("alpha", "order") if case.alpha is None else ("order", "alpha")
    known = {} if one.truth is None else one.truth.gradients or {}
    if wanted not in known or other not in one.outcome.arrays:
        return None
    return {"other": other, "wanted": wanted, "order": float(case.kernel.order)}


def turned(one: Seen, variable: str) -> Seen:
    """Return `one` with its first array reversed along the last axis."""
    name, array = next(iter(one.call.inputs.arrays.items()))
    other: Array = np.ascontiguousarray(array[..., ::-1]) if array.ndim else array
    arrays: dict[str, Any] = {**one.call.inputs.arrays, name: other}
    call = replace(one.call, inputs=replace(one.call.inputs, arrays=arrays))
    return replace(one, variable=variable, call=call)
