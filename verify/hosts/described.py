"""Places and targets as JSON: what a host is told of its target, and what it tells of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.hosts.wire import WireError
from kernelproof.verify.records import CONTRACT_WORDS, OPS, ROUNDINGS
from kernelproof.verify.targets.arrays import KINDS
from kernelproof.verify.targets.declaration import DEVICES, LAYOUTS, OPTIONS, Declaration
from kernelproof.verify.targets.loading import Place
from kernelproof.verify.targets.target import Target


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def place_json(place: Place) -> Any:
    """`place` as plain data."""
    return _adapter(Place).dump_python(place, mode="json")


def place_from(data: Any) -> Place:
    """The place that `place_json` wrote."""
    found: Place = _adapter(Place).validate_json(json.dumps(data), strict=True)
    return _with_tuples(found)


def target_json(target: Target) -> Any:
    """`target` as plain data."""
    return _adapter(Target).dump_python(target, mode="json")


def target_from(data: Any) -> Target:
    """The target that `target_json` wrote."""
    found: Target = _adapter(Target).validate_json(json.dumps(data), strict=True)
    return replace(found, place=_with_tuples(found.place))


def _with_tuples(place: Place) -> Place:
    """Make the lists in the declared values tuples again, which JSON does not have."""

    def fixed(pairs: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
        return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in pairs)

    said: Declaration = place.declared
    return replace(place, declared=replace(said, contract=fixed(said.contract), shapes=fixed(said.shapes)))


def targets_of(told: object, place: Place) -> list[Target]:
    """The targets at `place` that a host describes.

    Raises:
        WireError: it describes none that there can be.
    """
    if not isinstance(told, list) or not 0 < len(told) <= len(DEVICES):
        msg = "no description of a target"
        raise WireError(msg)
    try:
        found = [replace(target_from(each), place=place) for each in told]
    except (ValidationError, ValueError) as error:
        msg = f"no description of a target: {str(error)[:200]}"
        raise WireError(msg) from None
    for target in found:
        _check(target)
    return found


def _check(target: Target) -> None:
    """Believe nothing that a later step relies on.

    Raises:
        WireError: a word is not one of those that there are.
    """
    held = vars(target.contract)
    pairs: list[tuple[Sequence[object], Sequence[object]]] = [
        ([target.device], DEVICES),
        ([target.array_library], KINDS),
        ([target.contract.compute], [None, *FORMATS]),
        (target.contract.roundings or (), ROUNDINGS),
        *(([held[name]], words) for name, words in CONTRACT_WORDS.items()),
    ]
    for scope in target.scopes:
        pairs += [([scope.op], OPS), (scope.dtypes, list(FORMATS)), (scope.options or (), OPTIONS)]
        pairs += [([scope.layout], LAYOUTS)]
    for words, allowed in pairs:
        unknown = [word for word in words if word not in allowed]
        if unknown:
            msg = f"no description of a target: {str(unknown[0])[:40]!r} is not one of {', '.join(map(str, allowed))}"
            raise WireError(msg)
