"""Find the objects of seam folders, in which every module defines one object, so that no list has to be maintained.

A module without its object is an error, and so are two objects with the same id: a check that is silently missing
would look like a pass.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from kernelproof.reference.errors import KernelproofError


class SeamError(KernelproofError):
    """A seam folder has a module without its object, or two objects with the same id."""


def module_names(package: str) -> list[str]:
    """The modules of `package`, sorted, without importing them.

    >>> "accuracy" in module_names("kernelproof.verify.checks")
    True
    """
    paths = import_module(package).__path__
    return sorted(info.name for info in pkgutil.iter_modules(paths) if not info.name.startswith("_"))


def collect(package: str, attribute: str) -> dict[str, Any]:
    """The object called `attribute` of every module of `package`, by its id, sorted by id.

    Raises:
        SeamError: a module has no such object, or two objects share an id.
    """
    pairs = []
    for name in module_names(package):
        module = import_module(f"{package}.{name}")
        if not hasattr(module, attribute):
            msg = f"every module of {package} must have an object {attribute}; {name} has none"
            raise SeamError(msg)
        pairs.append((name, getattr(module, attribute)))
    return index(pairs, package)


def index(pairs: Iterable[tuple[str, Any]], package: str) -> dict[str, Any]:
    """Turn `pairs` of module name and object into a dict by id, sorted by id.

    Raises:
        SeamError: two objects share an id.
    """
    owners: dict[str, str] = {}
    found: dict[str, Any] = {}
    for name, item in pairs:
        if item.id in found:
            msg = f"ids in {package} must differ; {owners[item.id]} and {name} are both {item.id!r}"
            raise SeamError(msg)
        owners[item.id], found[item.id] = name, item
    return dict(sorted(found.items()))
