"""Requests to a program and its answers: one line of JSON each, numbers as hex floats; see docs/exec.md.

A hex float is exact, and both C (``%a``, ``strtod``) and Python (`float.hex`) can write and read it; infinities and NaN
are ``inf``, ``-inf`` and ``nan``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from kernelproof.reference.errors import TargetError, shown
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import Nearest, Rule
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import output_shape
from kernelproof.verify.records import Array, Call
from kernelproof.verify.targets.scope import order_keyword

MOST = 64
"""Characters that an answer may use for each number; a hex float with quotes and comma has at most 25."""


def hex_of(value: float) -> str:
    """`value` as a hex float.

    >>> hex_of(0.15625), hex_of(float("-inf")), hex_of(float("nan"))
    ('0x1.4000000000000p-3', '-inf', 'nan')
    """
    return float(value).hex()


def encoded(array: Array) -> dict[str, Any]:
    """`array` with its shape, flat in C order: bools and integers as they are, other numbers as hex floats."""
    flat = array.reshape(-1)
    plain = flat.dtype.kind in "bui"
    data = flat.tolist() if plain else [hex_of(value) for value in flat.astype(np.float64).tolist()]
    return {"shape": list(array.shape), "data": data}


def rule_fields(rule: Rule | Variant) -> dict[str, Any]:
    """A bandwidth rule as JSON; a variant as its name and its parameters.

    >>> from kernelproof.verify.cases.case import parse_rule
    >>> rule_fields(parse_rule("nearest:5:fixed:3"))
    {'kind': 'nearest', 'k': 5, 'then': {'kind': 'fixed', 'h': '0x1.8000000000000p+1'}}
    """
    if isinstance(rule, Variant):
        numbers = {name: hex_of(float(value)) for name, value in rule.exact_parameters.items()}
        return {"kind": "variant", "name": rule.name, "parameters": numbers}
    if isinstance(rule, Nearest):
        return {"kind": "nearest", "k": rule.k, "then": rule_fields(rule.then)}
    kind, name = {"Adaptive": ("adaptive", "beta"), "Fixed": ("fixed", "h"), "Anchored": ("anchored", "gamma")}[
        type(rule).__name__
    ]
    return {"kind": kind, name: hex_of(getattr(rule, name))}


def request(case: Case, call: Call, number: int) -> dict[str, Any]:
    """The request for `call`, as JSON; `number` is its id."""
    told = {key: (order_keyword(case, (key,)) or {}).get(key) for key in ("order", "alpha")}
    found: dict[str, Any] = {
        "id": number,
        "op": case.op,
        "mode": call.mode,
        **{key: None if value is None else hex_of(value) for key, value in told.items()},
        "rule": rule_fields(case.parsed_rule),
        "dtype": case.dtype,
        "arrays": {name: encoded(array) for name, array in call.inputs.arrays.items()},
        "options": {name: _option(value) for name, value in call.inputs.options.items()},
    }
    if call.mode == "vjp" and call.inputs.cotangent is not None:
        found["cotangent"] = encoded(call.inputs.cotangent)
    return found


def _option(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return encoded(value)
    return value if isinstance(value, bool | str) or value is None else hex_of(value)


def longest(case: Case, call: Call) -> int:
    """The most characters that an answer to `call` may have."""
    return 2**20 + MOST * (prod(output_shape(case, call.inputs)) + sum(a.size for a in call.inputs.arrays.values()))


def answered(line: bytes, case: Case, call: Call, number: int) -> dict[str, Array]:
    """Read the arrays in the answer `line`, by name.

    Raises:
        TargetError: the line is not an answer, reports an error, or has the wrong number of numbers.
    """
    text = line.decode("utf-8", "replace").strip()
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, dict) or not {"output", "gradients", "error"} & set(held):
        msg = f"the program must answer with a line of JSON with output, gradients or error; got {shown(text)}"
        raise TargetError(msg)
    if held.get("id", number) != number:
        msg = f"the program answered the request {shown(held['id'])}; it was asked {number}"
        raise TargetError(msg)
    if held.get("error") is not None:
        msg = f"the program says: {' '.join(str(held['error']).split())[:300]}"
        raise TargetError(msg)
    wanted = "output" if call.mode == "forward" else "gradients"
    if wanted not in held:
        msg = f"the program must answer a request of mode {call.mode} with {wanted}; got {', '.join(sorted(held))}"
        raise TargetError(msg)
    if call.mode == "forward":
        return {"output": _decoded("output", held["output"], output_shape(case, call.inputs), case.dtype)}
    if not isinstance(held["gradients"], Mapping):
        msg = f"gradients must be an object, from name to numbers; got {shown(held['gradients'])}"
        raise TargetError(msg)
    known = {name: array.shape for name, array in call.inputs.arrays.items()}
    found = {}
    for name, value in held["gradients"].items():
        found[name] = _decoded(name, value, known.get(name, ()), case.dtype if name in known else "float64")
    return found


def _decoded(name: str, value: Any, shape: tuple[int, ...], dtype: str) -> Array:
    """Numbers as an array of `dtype`, decimals rounded to it; as float64 if `dtype` does not hold a hex float."""
    data = value.get("data") if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
    said = value.get("shape", list(shape)) if isinstance(value, Mapping) else list(shape)
    if not isinstance(data, list) or not isinstance(said, list) or not all(type(size) is int for size in said):
        msg = f"{name} must be a flat list of numbers, or an object with shape and data; got {shown(value)}"
        raise TargetError(msg)
    if len(data) != prod(said) or min(said, default=0) < 0:
        msg = f"{name} must have {prod(said)} numbers, for the shape {said}; got {len(data)}"
        raise TargetError(msg)
    wide = np.array([_number(name, each) for each in data], dtype=np.float64).reshape(said)
    with np.errstate(over="ignore", invalid="ignore"):
        narrow: Array = wide.astype(FORMATS[dtype].dtype)
    back = narrow.astype(np.float64)
    # A float32 written as `%.9g` is a decimal that float32 does not hold; rounding it gives the float32 again.
    decimal = np.array([not _is_hex(each) for each in data], dtype=bool).reshape(said)
    return narrow if bool(((back == wide) | (np.isnan(back) & np.isnan(wide)) | decimal).all()) else wide


def _is_hex(value: Any) -> bool:
    return isinstance(value, str) and "x" in value.lower()


def _number(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        if not isinstance(value, str):
            raise TypeError  # noqa: TRY301 (the message below is for everything that is not a number)
        return float.fromhex(value) if _is_hex(value) else float(value)
    except (AttributeError, TypeError, ValueError, OverflowError):
        msg = f"{name} must hold hex floats such as '0x1.8p-1', decimals, 'inf' or 'nan'; got {shown(value)}"
        raise TargetError(msg) from None
