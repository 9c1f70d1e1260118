"""Where a target is, from the text that names it, and the object that is there."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from kernelproof.reference.errors import TargetError, shown
from kernelproof.verify.arrays import KINDS, Kind
from kernelproof.verify.declaring import Declaration
from kernelproof.verify.discovery import backend_names
from kernelproof.verify.peers import peer_names, place_of

GROUP = "kernelproof.backends"
BUILT_IN = "kernelproof.verify.backends."
BACKEND = "BACKEND"
PROGRAM = "exec:"
"""A target that begins so is a program, and the rest the command that starts it."""


@dataclass(frozen=True)
class Place:
    """Where a target is: the text that named it, and the module (a dotted name or a file) and object.

    Attributes:
        name: the text.
        module: a dotted name, or the path of a file.
        object: dotted names inside the module; "" for its `BACKEND`, or else the module itself.
        declared: what the command says of it.
        words: the words of a command that say so again.
    """

    name: str
    module: str
    object: str
    declared: Declaration = field(default_factory=Declaration)
    words: tuple[str, ...] = ()


def registered() -> dict[str, str]:
    """Name -> ``module:object`` of the targets that installed packages registered in the entry point group."""
    return {point.name: point.value for point in entry_points(group=GROUP)}


def find(text: str) -> Place:
    """The place that `text` names: a backend, a peer, ``file.py:obj``, ``pkg.mod:obj``, ``exec:program`` or other.

    Raises:
        TargetError: no such backend or file; the message says what is allowed.
    """
    if text in backend_names():
        return Place(text, BUILT_IN + text, BACKEND)
    if text.startswith(PROGRAM):
        return Place(text, "", "")
    if (held := place_of(text)) is not None:
        return Place(text, *held)
    module, colon, name = text.rpartition(":")
    if colon and module and name:
        if module.endswith(".py"):
            if not Path(module).is_file():
                msg = f"there is no file {module!r} for the target {text!r}"
                raise TargetError(msg)
            return Place(text, str(Path(module).resolve()), name)
        if all(part.isidentifier() for part in module.split(".")):
            return Place(text, module, name)
    known = registered()
    if text in known:
        module, _, name = known[text].partition(":")
        return Place(text, module, name)
    names = ", ".join([*backend_names(), *peer_names(), *known])
    msg = f"unknown target {text!r}; allowed: {names}, file.py:object, package.module:object or exec:program"
    raise TargetError(msg)


def load(place: Place) -> tuple[Any, ModuleType]:
    """The object at `place`, and its module; a class is called without arguments.

    Raises:
        TargetError: the module cannot be imported or has no such object; one line.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = _import(place.module)
        found: Any = module if place.object else getattr(module, BACKEND, module)
        for part in place.object.split(".") if place.object else ():
            found = getattr(found, part)
    except AttributeError as error:
        held = sys.modules.get(place.module)
        if held is None:
            msg = f"the target {place.name!r} cannot be imported: {first_line(error)}"
            raise TargetError(msg) from None
        offered = [name for name in dir(held) if not name.startswith("_")][:12]
        msg = f"{place.module} has no object {place.object!r}; it has: {', '.join(offered)}"
        raise TargetError(msg) from None
    except BaseException as error:  # noqa: BLE001 (whatever an import raises is the user's to read)
        msg = f"the target {place.name!r} cannot be imported: {first_line(error)}"
        raise TargetError(msg) from None
    return (_made(found, place) if isinstance(found, type) else found), module


def _made(kind: type, place: Place) -> Any:
    """An object of the class `kind`.

    Raises:
        TargetError: it cannot be made without arguments.
    """
    try:
        return kind()
    except BaseException as error:  # noqa: BLE001 (whatever a constructor raises is the user's to read)
        msg = f"the class {place.name!r} must make an object without arguments; it raised {first_line(error)}"
        raise TargetError(msg) from None


def _import(name: str) -> ModuleType:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    if name in sys.modules:
        return sys.modules[name]
    folder = os.fspath(Path(name).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(Path(name).stem, name)
    if spec is None or spec.loader is None:
        msg = f"{name} is no Python file"
        raise TargetError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def first_line(error: BaseException) -> str:
    """``ErrorType: first line`` of an exception."""
    try:
        text = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 (an exception of a target may be broken too)
        return f"{type(error).__name__}, which has no text"
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__


def attribute(found: Any, name: str, default: Any) -> Any:
    """The attribute `name` of a target's object, or `default`.

    Raises:
        TargetError: reading it raised something else than an AttributeError.
    """
    try:
        return getattr(found, name, default)
    except BaseException as error:  # noqa: BLE001 (whatever an object of a user raises is theirs to read)
        msg = f"the attribute {name!r} of the target cannot be read: {first_line(error)}"
        raise TargetError(msg) from None


def answer_of(found: Any, name: str) -> Any:
    """What the method `name` of a target's object returns; None if it has none.

    Raises:
        TargetError: it raised.
    """
    method = attribute(found, name, None)
    if not callable(method):
        return None
    try:
        return method()
    except BaseException as error:  # noqa: BLE001 (whatever an object of a user raises is theirs to read)
        msg = f"{name}() of the target raised {first_line(error)}"
        raise TargetError(msg) from None


def array_kind(found: Any, module: ModuleType) -> Kind:
    """What `found` computes on: its attribute `array`, or what the module of its code imports first of `KINDS`."""
    told = attribute(found, "array", None)
    if told is not None:
        kind: Kind | None = next((kind for kind in KINDS if isinstance(told, str) and kind == told), None)
        if kind is None:
            msg = f"the attribute array of a target must be one of {', '.join(KINDS)}; got {shown(told)}"
            raise TargetError(msg)
        return kind
    home = sys.modules.get(getattr(found, "__module__", "") or "", module)
    imported = _imports(module) | _imports(home)
    guesses: tuple[Kind, ...] = ("torch", "jax", "cupy")
    return next((guess for guess in guesses if guess in imported), "numpy")


def _imports(module: ModuleType) -> set[str]:
    """The top-level names of the packages that the source of `module` imports, anywhere in it."""
    path = getattr(module, "__file__", None)
    held = {getattr(value, "__name__", "").partition(".")[0] for value in vars(module).values() if _is_module(value)}
    if module.__name__.partition(".")[0] in KINDS:
        held.add(module.__name__.partition(".")[0])
    if path is None or not path.endswith(".py"):
        return held
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            held |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            held.add(node.module.partition(".")[0])
    return held


def _is_module(value: Any) -> bool:
    return isinstance(value, ModuleType)
