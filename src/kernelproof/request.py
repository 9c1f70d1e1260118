"""Parse the arguments of a command: places of targets, a selection of cases, or one case."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from kernelproof.options import Several, TargetOptions, Targets
from kernelproof.reference.errors import DomainError, TargetError, meant, shown
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.suites import SUITES, Selection, parse_numbers
from kernelproof.verify.records import OPS
from kernelproof.verify.targets.declaration import read, read_file
from kernelproof.verify.targets.target import Place, find

RENAMED = {
    "limit": "timeout",
    "limits": "timeout",
    "array": "array_library",
    "arrays": "array_library",
    "orders": "order",
    "ops": "op",
    "alphas": "alpha",
    "dtypes": "dtype",
    "devices": "device",
}
"""Words that a caller may use, some of them old names of options -> the name of the option."""
_OTHERS = ("suite", "seed", "case", "xfail", "out", "serial", "progress", "timeout", "cache")
"""Options of `kernelproof.verify` besides those of a target."""
_DECLARED = ("call", "output", "array_library", "variant")


def selection_of(options: TargetOptions, *, suite: str = "standard", seed: int = 0) -> Selection:
    """The selection of cases that `options` describe.

    Raises:
        TypeError: one of them is not an option.
        DomainError: a value is not allowed.

    >>> selection_of({"order": "1/2,1", "dtype": "float32"}).dtypes
    ('float32',)
    """
    for name in options:
        if name not in TargetOptions.__annotations__:
            allowed = ", ".join(TargetOptions.__annotations__)
            known = (*TargetOptions.__annotations__, *_OTHERS)
            hint = meant(RENAMED[name], known) if name in RENAMED else meant(name, known)
            msg = f"got an unexpected keyword argument {name!r}{hint}; the options of a target are {allowed}"
            raise TypeError(msg)
    if suite not in SUITES:
        msg = f"suite must be one of {', '.join(SUITES)}; got {shown(suite)}{meant(suite, SUITES)}"
        raise DomainError(msg)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        msg = f"seed must be an int of at least 0; got {seed!r}"
        raise DomainError(msg)
    order, alpha, op = options.get("order"), options.get("alpha"), options.get("op")
    if order is not None and alpha is not None:
        msg = f"pass order or alpha, not both; got order={order!r}, alpha={alpha!r}"
        raise DomainError(msg)
    ops = _names(op, "op", OPS)
    if alpha is not None and ops and ops != ("entmax",):
        msg = f"alpha belongs to entmax; got op={op!r} with alpha={alpha!r}; pass order for the other ops"
        raise DomainError(msg)
    return Selection(
        suite=suite,
        seed=seed,
        ops=("entmax",) if alpha is not None else ops,
        orders=() if order is None else parse_numbers(_joined(order), "order"),
        alphas=() if alpha is None else parse_numbers(_joined(alpha), "alpha"),
        dtypes=_names(options.get("dtype"), "dtype", tuple(FORMATS)),
    )


def _joined(value: Several) -> str:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    return ",".join(str(each) for each in value)


def _names(value: str | Sequence[str] | None, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    if value is None:
        return ()
    found = tuple(part.strip() for part in _joined(value).split(","))
    for part in found:
        if part not in allowed:
            msg = f"{name} must be one of {', '.join(allowed)}; got {shown(part)}{meant(part, allowed)}"
            raise DomainError(msg)
    return tuple(dict.fromkeys(found))


def one_case(text: str, options: TargetOptions) -> Case:
    """Parse the text of a case.

    Raises:
        DomainError: the text is malformed, no family can build the case, or `options` also give an op, order, α or
            dtype.
    """
    if any(options.get(name) is not None for name in ("op", "order", "alpha", "dtype")):
        msg = "a case says its own op, order, alpha and dtype; pass case alone"
        raise DomainError(msg)
    case = Case.parse(text)
    try:
        inputs_of(case)
    except DomainError:
        raise
    except Exception as error:  # noqa: BLE001 (a recipe that no family can build is bad input)
        msg = f"the family {case.family} cannot build the case {text!r}: {type(error).__name__}: {error}"
        raise DomainError(msg) from None
    return case


def places_of(targets: Targets, options: TargetOptions, case: Case | None = None) -> list[Place]:
    """The places of `targets`; if `options` declare something, the only target gets the declaration.

    If `options` name one op, or there is a `case`, the only target computes that op.

    Raises:
        DomainError: something is declared, but there are several targets or none.
        TargetError: a target cannot be found, or the declaration has an unknown field.
    """
    places = [find(_text(target)) for target in targets]
    ops = _names(options.get("op"), "op", OPS) if case is None else (case.op,)
    if len(places) == len(ops) == 1:
        places = [replace(places[0], op=ops[0])]
    contract = options.get("contract")
    declared = {name: options.get(name) for name in _DECLARED if options.get(name) is not None}
    if not declared and contract is None:
        return places
    if len(places) != 1:
        names = ", ".join([*declared, *(["contract"] if contract is not None else [])])
        msg = f"{names} is said of one target; got {len(targets)} targets"
        raise DomainError(msg)
    found = read(declared, "the command")
    words = tuple(word for name, value in declared.items() for word in (flag(name), str(value)))
    if contract is not None:
        from_file = isinstance(contract, str | Path)
        found = found.over(read_file(str(contract)) if from_file else read(contract, "contract"))
        words = (*words, *(("--contract", str(contract)) if from_file else ()))
    return [replace(places[0], declared=found, words=words)]


def flag(name: str) -> str:
    """The command-line form of the option `name`."""
    return f"--{name.replace('_', '-')}"


def _text(target: str | Callable[..., Any]) -> str:
    """The text that names a target; for a function, the module or file that defines it, and its name."""
    if isinstance(target, str):
        return target
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if not module or not name or "<" in name:
        msg = f"a target must be a name, or a function that a module holds under its own name; got {target!r}"
        raise TargetError(msg)
    if module != "__main__" and module in sys.modules:
        return f"{module}:{name}"
    with suppress(TypeError, OSError):
        return f"{inspect.getfile(target)}:{name}"
    msg = f"a target must come from a file; {target!r} has none"
    raise TargetError(msg)
