"""Declarations: what a target says about itself, that is its contract, what it computes, and which calls it accepts.

A declaration is the attribute ``KERNELPROOF`` of a function, an object or a module: a dict or a `Declaration`. The
decorator `declare` sets it, and ``--contract file.toml`` gives the same fields from outside. Fields that it leaves out
are read from the signature or have defaults. Where several declarations apply, each field is taken from the first that
has it, in this order: the command, the function, the object that holds the function, the module.

>>> read({"op": "weights", "rule": "nearest:k:adaptive:1", "order": "inf", "grade": "B"}, "it").rules
('nearest:k:adaptive:1',)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from kernelproof.reference.errors import DomainError, TargetError, meant, shown
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import INFINITY, resolve_kernel
from kernelproof.reference.toml_file import table_of
from kernelproof.verify.cases.rules import check_pattern, parse_range
from kernelproof.verify.cases.variant_names import PREFIX, order_text, variant_at
from kernelproof.verify.records import CONTRACT_WORDS, OPS, ROUNDINGS, Contract

ATTRIBUTE = "KERNELPROOF"
ARRAYS = ("numpy", "torch", "jax", "cupy")
BHTD = "bhtd"
LAYOUTS = (BHTD, "bthd")
"""Orders of the axes of q, k, v and the output of attention: (batch, heads, tokens, width), and with tokens first."""
DEVICES = ("cpu", "cuda")
OPTIONS = ("mask", "causal", "lengths", "scale", "key_norm_term", "empty")
"""Arguments that an op may be called with besides its arrays, its order and its rule."""
MASKS = ("boolean", "additive")
"""Kinds of masks: boolean, true where a key may be attended to; or additive, −∞ where it may not."""
PARAMETERS = ("order", "alpha", "h", "beta", "gamma")
"""Numbers with respect to which an op has a gradient."""
GRADIENTS = ("z", "scores", "q", "k", "v", *PARAMETERS)
_Function = TypeVar("_Function")


@dataclass(frozen=True)
class Shapes:
    """The shapes that a target accepts. A row is one query, or one row of scores; its length is the number of keys.

    Attributes:
        least_rank: the least number of axes of z, scores or q.
        most_rank: the largest number of axes; None for any.
        square: whether there must be as many queries as keys.
        grouped_heads: whether there may be fewer key heads than query heads.
        equal_widths: whether v must be as wide as q.
        head_sizes: the widths that q and k may have; empty means any.
        head_multiple: the width of q and k must be a multiple of it.
        length_multiple: the number of keys, and of queries, must be a multiple of it.
        length_power: whether these two numbers must be powers of two.
        least_keys: the least number of keys in a row.
        most_keys: the largest number of keys in a row; None for any.
        most_rows: the largest number of rows of scores, or of queries of one head; None for any.
    """

    least_rank: int = 0
    most_rank: int | None = None
    square: bool = False
    grouped_heads: bool = True
    equal_widths: bool = False
    head_sizes: tuple[int, ...] = ()
    head_multiple: int = 1
    length_multiple: int = 1
    length_power: bool = False
    least_keys: int = 0
    most_keys: int | None = None
    most_rows: int | None = None


@dataclass(frozen=True)
class Declaration:
    """The declared fields; a field that was not declared is None.

    Attributes:
        op: the op that a function computes; a program may compute several.
        order: the only order that it computes, if it has no parameter for the order.
        alpha: the same as a value of α.
        orders: the orders that it accepts, such as ``2`` or ``1..inf``.
        rules: bandwidth rules such as ``adaptive:1``, in which a word in place of a number is the name of the
            parameter that takes the number, and ``*`` stands for any number.
        dtypes: names of dtypes.
        array_library: one of `ARRAYS`.
        layout: one of `LAYOUTS`, of the arrays of attention.
        devices: of `DEVICES`.
        call: how the function is called, such as ``f(z, dim=-1)``.
        output: the index of the output in a returned tuple, or its attribute or key in another object.
        gradients: the names of `GRADIENTS` that it can return.
        options: the names of `OPTIONS` that it accepts.
        requires: the names of `OPTIONS` that every call must have, such as ``causal``.
        masks: the kinds of `MASKS` that it accepts; None means both.
        exclusive: the names of `OPTIONS` of which a call may have at most one.
        per_row: the numbers that may be an array with one for each row, of `PARAMETERS`: an array of the shape of the
            scores, or one that broadcasts to it, with 1 in the place of the keys.
        variant: ``file.py:OBJECT`` of the variant that it computes; implies the op, the order and the rule.
        contract: fields of `Contract`, by name.
        shapes: fields of `Shapes`, by name.
    """

    op: tuple[str, ...] | None = None
    order: str | None = None
    alpha: str | None = None
    orders: tuple[str, ...] | None = None
    rules: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None
    array_library: str | None = None
    layout: str | None = None
    devices: tuple[str, ...] | None = None
    call: str | None = None
    output: int | str | None = None
    gradients: tuple[str, ...] | None = None
    options: tuple[str, ...] | None = None
    requires: tuple[str, ...] | None = None
    masks: tuple[str, ...] | None = None
    exclusive: tuple[str, ...] | None = None
    per_row: tuple[str, ...] | None = None
    variant: str | None = None
    contract: tuple[tuple[str, Any], ...] = ()
    shapes: tuple[tuple[str, Any], ...] = ()

    def over(self, other: Declaration) -> Declaration:
        """This declaration, with the fields of `other` where this one has none."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in _OWN if getattr(self, name) is not None}
        if self.order is not None or self.alpha is not None:
            kept |= {"order": self.order, "alpha": self.alpha}
        for name in ("contract", "shapes"):
            kept[name] = tuple(sorted(dict((*getattr(other, name), *getattr(self, name))).items()))
        return replace(other, **kept)

    def resolved(self) -> Declaration:
        """This declaration with the op, the order and the rule of its variant.

        Raises:
            DomainError: there is no such variant.
        """
        if self.variant is None:
            return self
        order = order_text(variant_at(self.variant))
        return replace(self, op=("weights",), order=order, alpha=None, rules=(f"{PREFIX}:{self.variant}",))

    def promise(self, default: Contract) -> Contract:
        """The contract: `default` with the declared fields replaced."""
        return replace(default, **dict(self.contract))

    @property
    def limits(self) -> Shapes:
        """The shapes."""
        return Shapes(**dict(self.shapes))


_DIGITS = 18
_OWN = tuple(each.name for each in fields(Declaration) if each.name not in {"contract", "shapes"})
CONTRACT = tuple(each.name for each in fields(Contract))
_SHAPES = {each.name: each for each in fields(Shapes)}
FIELDS = (*CONTRACT, *(("rule" if name == "rules" else name) for name in _OWN), *_SHAPES)
"""The names that a declaration may use."""


def declare(**given: Any) -> Callable[[_Function], _Function]:
    """Make a decorator that declares `given`, fields of `FIELDS`, of a function, class or object.

    Raises:
        TargetError: a field is not known, or its value is not one of those allowed.

    >>> @declare(order=1, grade="B")
    ... def sparsemax(z): ...
    >>> sparsemax.KERNELPROOF.order
    '1'
    """
    found = read(given, "declare")

    def decorate(target: _Function) -> _Function:
        setattr(target, ATTRIBUTE, found)
        return target

    return decorate


def declared(target: Any, where: str) -> Declaration:
    """Read the declaration that is attached to `target`; an empty one if there is none.

    Raises:
        TargetError: the attribute is neither a dict nor a `Declaration`, or a field of it is not valid.
    """
    # A mock, or a module with its own __getattr__, has every attribute: only one that was set counts.
    held = inspect.getattr_static(getattr(target, "__func__", target), ATTRIBUTE, None)
    return Declaration() if held is None else read(held, f"{ATTRIBUTE} of {where}")


def read_file(path: str) -> Declaration:
    """Read the declaration in a TOML file.

    Raises:
        TargetError: there is no such file, it is not TOML, or it has an unknown field or value.
    """
    try:
        held = table_of(Path(path), "the contract")
    except DomainError as error:
        raise TargetError(str(error)) from None
    return read(held, path)


def read(given: Any, where: str) -> Declaration:
    """Convert `given` to a declaration; `where` names its place in messages.

    Raises:
        TargetError: a field is not known, or its value is not one of those allowed; the message is one line.
    """
    if isinstance(given, Declaration):
        return given
    if isinstance(given, Contract):
        given = {name: getattr(given, name) for name in CONTRACT if getattr(given, name) is not None}
    if not isinstance(given, Mapping):
        msg = f"{where} must be a dict of fields or a kernelproof.Declaration; got {shown(given)}"
        raise TargetError(msg)
    own: dict[str, Any] = {}
    contract: dict[str, Any] = {}
    shapes: dict[str, Any] = {}
    for name, value in given.items():
        if name not in FIELDS:
            msg = f"{where} has no field {shown(name)}{meant(name, FIELDS)}; known: {', '.join(FIELDS)}"
            raise TargetError(msg)
        try:
            if name in CONTRACT:
                contract[name] = _promise(name, value)
            elif name in _SHAPES:
                shapes[name] = _limit(name, value)
            else:
                own["rules" if name == "rule" else name] = _READERS[name](name, value)
        except (DomainError, TargetError) as error:
            msg = f"{where}: {error}"
            raise TargetError(msg) from None
    if own.get("order") is not None and own.get("alpha") is not None:
        msg = f"{where} declares order and alpha; they are the same number, α = 1 + 1/n: declare one"
        raise TargetError(msg)
    return Declaration(**own, contract=tuple(sorted(contract.items())), shapes=tuple(sorted(shapes.items())))


def _promise(name: str, value: Any) -> Any:
    if name == "compute":
        return _word(name, value, tuple(FORMATS))
    if name == "roundings":
        return _words(ROUNDINGS)(name, value) if value else ()
    if name in CONTRACT_WORDS:
        return _word(name, value, CONTRACT_WORDS[name])
    kind = type(getattr(Contract(), name))
    if type(value) is not kind:
        msg = f"{name} must be a {kind.__name__}; got {shown(value)}"
        raise TargetError(msg)
    return value


def _limit(name: str, value: Any) -> Any:
    default = _SHAPES[name].default
    if isinstance(default, bool):
        if not isinstance(value, bool):
            msg = f"{name} must be true or false; got {shown(value)}"
            raise TargetError(msg)
        return value
    several = isinstance(default, tuple)
    held = list(value) if several and isinstance(value, Sequence) and not isinstance(value, str) else [value]
    for each in held:
        if isinstance(each, bool) or not isinstance(each, int) or each < (0 if name.startswith("least") else 1):
            msg = f"{name} must be {'integers' if several else 'an integer'} above 0; got {shown(value)}"
            raise TargetError(msg)
    return tuple(held) if several else value


def _word(name: str, value: Any, allowed: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        msg = f"{name} must be one of {', '.join(allowed)}; got {shown(value)}{meant(value, allowed)}"
        raise TargetError(msg)
    return value


def _words(allowed: Sequence[str]) -> Callable[[str, Any], tuple[str, ...]]:
    return lambda name, value: tuple(_word(name, each, allowed) for each in _several(value))


def _several(value: Any) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [part.strip() for part in value.split(",")] if isinstance(value, str) and value else [value]
    return list(value)


def _number(name: str, value: Any) -> str:
    number = exact_number(value, name)
    resolve_kernel(**{name: value})
    return "inf" if number == INFINITY else str(number)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        msg = f"{name} must be a text; got {shown(value)}"
        raise TargetError(msg)
    return value


def _output(name: str, value: Any) -> int | str:
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, str) and value.strip())):
        msg = f"{name} must be the number of an item, or the name of an attribute or a key; got {shown(value)}"
        raise TargetError(msg)
    if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]+", value.strip()):
        return value
    if len(value.strip()) > _DIGITS:
        msg = f"{name} must be the number of an item, of at most {_DIGITS} digits; got {shown(value)}"
        raise TargetError(msg)
    return int(value)


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "op": _words(OPS),
    "order": _number,
    "alpha": _number,
    "orders": lambda name, value: tuple(parse_range(str(each), name) for each in _several(value)),
    "rule": lambda _, value: tuple(check_pattern(each) for each in _several(value)),
    "dtypes": _words(tuple(FORMATS)),
    "array_library": lambda name, value: _word(name, value, ARRAYS),
    "layout": lambda name, value: _word(name, value, LAYOUTS),
    "devices": _words(DEVICES),
    "call": _text,
    "output": _output,
    "gradients": lambda name, value: _words(GRADIENTS)(name, value) if value else (),
    "options": lambda name, value: _words(OPTIONS)(name, value) if value else (),
    "requires": _words(OPTIONS),
    "masks": _words(MASKS),
    "exclusive": _words(OPTIONS),
    "per_row": lambda name, value: _words(PARAMETERS)(name, value) if value else (),
    "variant": _text,
}
