"""Calls of a target as plain data: what a script gives it, how it calls it, and where the output is."""

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
from kernelproof.verify.records import Array, Call
from kernelproof.verify.targets.arrays import Kind
from kernelproof.verify.targets.caller import Caller, Calling
from kernelproof.verify.targets.protocol import request
from kernelproof.verify.targets.scope import case_of
from kernelproof.verify.targets.target import functions_of
from kernelproof.verify.witness import literals

Way = Literal["function", "own vjp", "autograd", "program"]
"""How a call is made; ``own vjp``: the target has vector-Jacobian products."""
_LONGEST = 8 * literals.WRITTEN
"""Requests of more letters are compressed."""


@dataclass(frozen=True)
class Number:
    """A number that autograd differentiates in: the order, α or another, as a variable called `role`."""

    role: str
    value: float
    dtype: str
    device: str


@dataclass(frozen=True)
class ScriptCall:
    """One call.

    Attributes:
        variable: the name of what it leaves in the script.
        op: of the case.
        mode: "forward" or "vjp".
        way: how it is made.
        library: of the arrays.
        names: argument -> variable.
        inputs: variable -> array.
        request: to a program; "" where it is compressed, or there is none.
        packed: the compressed request.
        is_method: whether the target has a function of the name of the op.
        words: the arguments of the call.
        output: which item of what the target returns is the output, see `Declaration`.
        dtype: of what a program answers.
        shape: of the output that a program answers; of its gradients, by name.
        width: the length of a row; None: the array keeps the shape that came.
        axis: the axis of the rows.
        rows: those that are checked; None: all.
        leaves: role -> variable that autograd differentiates in.
        numbers: of these, the ones that are no arrays.
        derived: the gradient in the order that follows from that in α, or the other way round; None: none.
        carries_none: the message for an output without a gradient, where the script looks for one; else "".
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


def script_call(case: Case, one: Seen, caller: Calling, *, suffix: str = "", rows: bool = False) -> ScriptCall:
    """The call of `one` as a script makes it.

    Args:
        case: of the subject.
        one: the call, and what came of it.
        caller: the loaded target.
        suffix: of the variables that hold its inputs.
        rows: whether the script looks at rows, instead of the array in the shape that came.
    """
    call = one.call
    made = _asked(case, one, suffix) if not isinstance(caller, Caller) else _called(case, one, caller, suffix)
    shape = output_shape(case, call.inputs)
    width = int(shape[call.axis if case.op == "entmax" else -1]) if shape else 1
    return replace(
        made,
        library=caller.target.array_library,
        width=max(width, 1) if rows else None,
        axis=call.axis,
        rows=None if call.inputs.rows is None else call.inputs.rows.tolist(),
        derived=_derived(one, case) if call.mode == "vjp" else None,
    )


def has_vjp(caller: Calling) -> bool:
    """Whether the target has vector-Jacobian products of its own, instead of those of autograd."""
    return callable(getattr(getattr(caller, "found", None), "vjp", None))


def _asked(case: Case, one: Seen, suffix: str) -> ScriptCall:
    """A call of a program."""
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


def _called(case: Case, one: Seen, caller: Caller, suffix: str) -> ScriptCall:
    """A call of an object of Python."""
    call, target = one.call, caller.target
    way: Way = "function" if call.mode == "forward" else "own vjp" if has_vjp(caller) else "autograd"
    arrays: dict[str, Any] = {**call.inputs.arrays}
    arrays |= {name: value for name, value in call.inputs.options.items() if hasattr(value, "dtype")}
    if call.mode == "vjp" and call.inputs.cotangent is not None:
        arrays["cotangent"] = call.inputs.cotangent
    names = {name: name + suffix for name in arrays}
    numbers = _numbers(case, call, caller) if way == "autograd" else []
    leaves = {name: names[name] for name in _leaves(case, call, caller)} if way == "autograd" else {}
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
        is_method=case.op in functions_of(caller.found),
        words=_words(case, call, caller, names, numbers),
        output=caller.bound[case.op][2].output,
        leaves={**leaves, **{number.role: number.role for number in numbers}},
        numbers=numbers,
    )


@dataclass(frozen=True)
class _Variable:
    """A variable of the script that stands for an array of this shape."""

    name: str
    shape: tuple[int, ...]

    def __repr__(self) -> str:
        return self.name


def _words(case: Case, call: Call, caller: Caller, names: Mapping[str, str], numbers: Sequence[Number]) -> list[str]:
    """The arguments of a call as the binding gives them."""
    arrays = {name: _Variable(names[name], array.shape) for name, array in call.inputs.arrays.items()}
    options = {
        name: _Variable(names[name], value.shape) if name in names else value
        for name, value in call.inputs.options.items()
    }
    roles = {number.role: _Variable(number.role, ()) for number in numbers}
    bound = caller.bound[case.op][1].call(case_of(case, call), arrays, options, roles, call.axis)
    assert bound is not None  # `Scope.refuses` has seen to it
    return [*map(repr, bound[0]), *(f"{key}={value!r}" for key, value in bound[1].items())]


def _leaves(case: Case, call: Call, caller: Caller) -> list[str]:
    """The arrays that autograd differentiates in."""
    scope = caller.target.scope(case.op)
    wanted = None if scope is None else scope.gradients
    return [name for name in call.inputs.arrays if wanted is None or name in wanted]


def _numbers(case: Case, call: Call, caller: Caller) -> list[Number]:
    """The order and other numbers that autograd differentiates in."""
    scope, target = caller.target.scope(case.op), caller.target
    wanted = (scope.gradients if scope is not None else None) or ()
    kind = next(iter(call.inputs.arrays.values())).dtype.name
    found = []
    for role, value in caller.bound[case.op][1].numbers(case_of(case, call)).items():
        if role not in wanted:
            continue
        dtype = kind
        if target.array_library == "torch" and math.isfinite(value):
            # Where the dtype of the arrays does not hold the number, float64 does.
            held = FORMATS[kind].round_fraction(Fraction(value))
            dtype = kind if float(held) == float(value) else "float64"
        found.append(Number(role, float(value), dtype, target.device))
    return found


def _derived(one: Seen, case: Case) -> dict[str, Any] | None:
    """The gradient in the order that follows from that in α, or the other way round, as calls of a target have it."""
    case = case_of(case, one.call)
    other, wanted = ("alpha", "order") if case.alpha is None else ("order", "alpha")
    known = {} if one.truth is None else one.truth.gradients or {}
    if wanted not in known or other not in one.outcome.arrays:
        return None
    return {"other": other, "wanted": wanted, "order": float(case.kernel.order)}


def turned(one: Seen, variable: str) -> Seen:
    """`one` with its first array the other way round."""
    name, array = next(iter(one.call.inputs.arrays.items()))
    other: Array = np.ascontiguousarray(array[..., ::-1]) if array.ndim else array
    arrays: dict[str, Any] = {**one.call.inputs.arrays, name: other}
    call = replace(one.call, inputs=replace(one.call.inputs, arrays=arrays))
    return replace(one, variable=variable, call=call)
