"""Peers, the implementations that others released: one module for each package, whose functions bind to ops by name.

A module of this folder imports its package only inside its functions, so that the scopes of its targets are known
even if the package is not installed. `peer` marks a function; the name of the target is ``MODULE.FUNCTION``. Its method
`available` imports the packages that it needs, so that its first call need not. Nothing is copied from a package: a
function here calls the package, or is written from the definition of the method.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

from kernelproof.reference.errors import KernelproofError
from kernelproof.verify.targets.declaration import ATTRIBUTE, read

MARK = "available"
_Function = TypeVar("_Function", bound=Callable[..., Any])


class PeerError(KernelproofError):
    """A module of this folder defines no peer."""


def peer(*packages: str, **declaration: Any) -> Callable[[_Function], _Function]:
    """Mark a function as a target that needs `packages`.

    Args:
        packages: the modules that it imports.
        declaration: what it computes, as fields of `kernelproof.declare`.

    >>> @peer("numpy", order=1)
    ... def sparsemax(z): ...
    >>> sparsemax.available() is None
    True
    """
    said = read(declaration, "peer")

    def decorate(function: _Function) -> _Function:
        def available() -> str | None:
            """None, or the missing package and the command that installs it."""
            return missing(function.__name__, packages)

        setattr(function, ATTRIBUTE, said)
        setattr(function, MARK, available)
        return function

    return decorate


def missing(name: str, packages: tuple[str, ...]) -> str | None:
    """Import `packages`; return a message that names those missing and how to install them, or None if none is.

    >>> missing("f", ("no_such_package",))
    'f needs no_such_package; install it with: pip install no_such_package'
    """
    absent = []
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            absent.append((error.name or package).partition(".")[0])
        except Exception as error:  # noqa: BLE001 (whatever an import raises is the user's to read)
            return f"{name} needs {package}, which cannot be imported: {type(error).__name__}: {error}"
    if not absent:
        return None
    names = [_DISTRIBUTIONS.get(package, package) for package in dict.fromkeys(absent)]
    return f"{name} needs {' and '.join(dict.fromkeys(absent))}; install it with: pip install {' '.join(names)}"


_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""Package -> the name of its distribution, where the two differ."""


def functions(module: str) -> tuple[str, ...]:
    """The peers in a module of this folder, sorted.

    Raises:
        PeerError: the module has none.
    """
    path = f"{__name__}.{module}"
    held = vars(importlib.import_module(path))
    found = tuple(sorted(name for name, value in held.items() if _marked(value, path)))
    if not found:
        msg = f"every module of {__name__} must mark a function with `peer`; {module} has none"
        raise PeerError(msg)
    return found


def _marked(value: Any, path: str) -> bool:
    return callable(value) and hasattr(value, MARK) and getattr(value, "__module__", None) == path


def peer_names() -> tuple[str, ...]:
    """The names of all peers, as ``MODULE.FUNCTION``; their packages are not imported.

    >>> "entmax.sparsemax" in peer_names()
    True
    """
    modules = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    return tuple(f"{module}.{name}" for module in modules for name in functions(module))


def place_of(name: str) -> tuple[str, str] | None:
    """The module that holds the peer `name`, and its object there; None if there is no such peer."""
    module, _, function = name.partition(".")
    known = {info.name for info in pkgutil.iter_modules(__path__)}
    if module not in known or function not in functions(module):
        return None
    return f"{__name__}.{module}", function
