"""Calls and outcomes as frames: arrays are raw bytes, everything else is a name, a number or a text.

What the one side writes here, the other side reads. A host reads what we wrote; we read what a target may have written,
so `outcome_of` believes nothing: it accepts arrays of numbers whose bytes have come, and texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.layout import Layout, aligned, layout_of
from kernelproof.verify.hosts.wire import WireError
from kernelproof.verify.records import Array, Call, Inputs, Outcome

_ALIGNMENT = 64
_PLAIN = re.compile(r"[<>|=]?[biuf][0-9]{1,2}")
"""How NumPy writes dtypes of real numbers and truth values."""
_TEXTS = 64
"""Names that an outcome may list; a target has no more arguments or parts of its state."""
_MOST_AXES = 32
"""More than an array of any call has."""
FAMILY = "call"
"""Stands for the family in the case of a host, which is not told what is planted in the arrays."""


def anonymous(case: Case) -> Case:
    """What a host is told of `case`: the op, the order, the rule and the dtype.

    >>> line = "entmax order=2 rule=adaptive:1 dtype=float64 family=ties shape=2x4 feature=3 seed=5"
    >>> anonymous(Case.parse(line)).text
    'entmax order=2 rule=adaptive:1 dtype=float64 family=call shape=2x4 feature=- seed=0'
    """
    return replace(case, family=FAMILY, feature="-", seed=0)


@dataclass
class Packer:
    """Collects arrays for a frame, each of them once."""

    parts: list[memoryview] = field(default_factory=list)
    _size: int = 0
    _known: dict[int, tuple[Array, dict[str, Any]]] = field(default_factory=dict)

    def _put(self, flat: Array) -> int:
        """Add the bytes of a contiguous array; return where they begin."""
        at = self._size
        held = memoryview(flat.view(np.uint8).reshape(-1).data) if flat.size else memoryview(b"")
        padding = -held.nbytes % _ALIGNMENT
        self.parts += [held, memoryview(bytes(padding))]
        self._size += held.nbytes + padding
        return at

    def laid_out(self, array: Array) -> dict[str, Any]:
        """Refer to `array` with its strides, so that the host can make the same; to one that came before, again."""
        if id(array) not in self._known:
            layout = layout_of(array)
            reference = {
                "at": self._put(layout.memory),
                "count": layout.memory.size,
                "dtype": _name(array.dtype),
                "shape": array.shape,
                "strides": layout.strides,
                "offset": layout.offset,
                "writeable": layout.writeable,
            }
            # The array is kept, so that no other one gets its id.
            self._known[id(array)] = (array, reference)
        return self._known[id(array)][1]

    def plain(self, array: Array) -> dict[str, Any]:
        """Refer to the numbers of `array` in C order."""
        at = self._put(np.ascontiguousarray(array).reshape(-1))
        return {"at": at, "dtype": _name(array.dtype), "shape": array.shape}


def _name(dtype: np.dtype[Any]) -> str:
    return dtype.name if dtype.name in FORMATS else dtype.str


def _dtype(name: object) -> np.dtype[Any]:
    """The dtype called `name`.

    Raises:
        WireError: it is none of real numbers or truth values.
    """
    if isinstance(name, str) and name in FORMATS:
        return np.dtype(FORMATS[name].dtype)
    if not isinstance(name, str) or _PLAIN.fullmatch(name) is None:
        msg = f"no dtype of real numbers: {str(name)[:40]!r}"
        raise WireError(msg)
    try:
        return np.dtype(name)
    except TypeError:
        msg = f"no dtype of this machine: {name!r}"
        raise WireError(msg) from None


def _value(value: Any, packer: Packer) -> Any:
    """An option of a call: an array, a number, a text or a truth value."""
    if isinstance(value, np.ndarray):
        return {"array": packer.laid_out(value)}
    if isinstance(value, Fraction):
        return {"fraction": str(value)}
    return {"plain": value.item() if isinstance(value, np.generic) else value}


def packed_calls(case: Case, calls: Sequence[Call], packer: Packer) -> dict[str, Any]:
    """The text of a request for `calls`, whose arrays go to `packer`."""
    told = []
    for call in calls:
        given = call.inputs
        told.append(
            {
                "mode": call.mode,
                "order": call.order,
                "axis": call.axis,
                "arrays": {name: packer.laid_out(array) for name, array in given.arrays.items()},
                "options": {name: _value(value, packer) for name, value in given.options.items()},
                "cotangent": None if given.cotangent is None else packer.laid_out(given.cotangent),
                "per_row": {name: packer.laid_out(each) for name, each in call.per_row.items()},
            }
        )
    return {"case": anonymous(case).text, "calls": told}


def calls_of(text: Mapping[str, Any], content: memoryview) -> tuple[Case, list[Call]]:
    """The case and the calls that `packed_calls` wrote: what a host does with them."""
    known: dict[tuple[Any, ...], Array] = {}

    def array(told: Mapping[str, Any]) -> Array:
        key = (told["at"], tuple(told["shape"]), tuple(told["strides"]), told["offset"])
        if key not in known:
            dtype = _dtype(told["dtype"])
            memory = np.frombuffer(content, dtype, told["count"], told["at"]) if told["count"] else np.zeros(0, dtype)
            layout = Layout(aligned(memory), tuple(told["strides"]), told["offset"], told["writeable"])
            known[key] = layout.view(tuple(told["shape"]))
        return known[key]

    def value(told: Mapping[str, Any]) -> Any:
        if "array" in told:
            return array(told["array"])
        return Fraction(told["fraction"]) if "fraction" in told else told["plain"]

    calls = []
    for told in text["calls"]:
        upstream = None if told["cotangent"] is None else array(told["cotangent"])
        arrays = {name: array(each) for name, each in told["arrays"].items()}
        options = {name: value(each) for name, each in told["options"].items()}
        each = {name: array(numbers) for name, numbers in told["per_row"].items()}
        given = Inputs(arrays, options, upstream)
        calls.append(Call(given, told["mode"], told["order"], told["axis"], per_row=each))
    return Case.parse(text["case"]), calls


def packed_outcome(outcome: Outcome, packer: Packer) -> dict[str, Any]:
    """The text of an answer, whose arrays go to `packer`."""
    return {
        "arrays": {name: packer.plain(array) for name, array in outcome.arrays.items()},
        "error": outcome.error,
        "crash": outcome.crash,
        "modified": outcome.modified,
        "changed": outcome.changed,
        "replaced": outcome.replaced,
        "overwritten": outcome.overwritten,
    }


def outcome_of(told: object, content: memoryview) -> Outcome:
    """The outcome that a host has written.

    Raises:
        WireError: it is none.
    """
    if not isinstance(told, dict) or not isinstance(arrays := told.get("arrays"), dict):
        msg = "no outcome"
        raise WireError(msg)
    return Outcome(
        arrays={text_of(name): _array(each, content) for name, each in arrays.items()},
        error=_maybe(told.get("error")),
        crash=_maybe(told.get("crash")),
        modified=texts_of(told.get("modified")),
        changed=texts_of(told.get("changed")),
        replaced=texts_of(told.get("replaced")),
        overwritten=None if (names := told.get("overwritten")) is None else texts_of(names),
    )


def text_of(value: object) -> str:
    """`value`, if it is a text.

    Raises:
        WireError: it is none.
    """
    if not isinstance(value, str):
        msg = f"a text was expected; got {type(value).__name__}"
        raise WireError(msg)
    return value[:1000]


def texts_of(value: object) -> tuple[str, ...]:
    """`value`, if it is a list of texts.

    Raises:
        WireError: it is none.
    """
    if not isinstance(value, list) or len(value) > _TEXTS:
        msg = f"at most {_TEXTS} texts were expected"
        raise WireError(msg)
    return tuple(map(text_of, value))


def modes_of(told: object, depth: int = 3) -> dict[str, Any]:
    """The modes of arithmetic that a host has told: names and plain values, in groups.

    Raises:
        WireError: they are none.
    """
    if not isinstance(told, dict) or len(told) > _TEXTS or not depth:
        msg = f"at most {_TEXTS} modes of arithmetic were expected"
        raise WireError(msg)
    return {_word(name): _mode(value, depth) for name, value in told.items()}


def _mode(value: object, depth: int) -> object:
    if isinstance(value, dict):
        return modes_of(value, depth - 1)
    return value if isinstance(value, bool) else _index(value) if isinstance(value, int) else _word(value)


def _word(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > _TEXTS:
        msg = f"a word was expected; got {str(value)[:40]!r}"
        raise WireError(msg)
    return value


def _maybe(value: object) -> str | None:
    return None if value is None else text_of(value)


def _array(told: object, content: memoryview) -> Array:
    if not isinstance(told, dict) or not isinstance(shape := told.get("shape"), list) or len(shape) > _MOST_AXES:
        msg = "no array"
        raise WireError(msg)
    sizes = [_index(each) for each in shape]
    dtype, at = _dtype(told.get("dtype")), _index(told.get("at"))
    count = prod(sizes)
    if at + count * dtype.itemsize > content.nbytes:
        msg = f"an array of {count} numbers, of which the bytes have not come"
        raise WireError(msg)
    try:
        return (np.frombuffer(content, dtype, count, at) if count else np.zeros(0, dtype)).reshape(sizes)
    except ValueError:
        msg = f"an array of {count} numbers whose shape is too large"
        raise WireError(msg) from None


def _index(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 48:
        msg = f"a size was expected; got {str(value)[:40]!r}"
        raise WireError(msg)
    return value
