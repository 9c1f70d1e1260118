"""Find the place of a target from the text that names it, and load the object there."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from kernelproof.reference.errors import TargetError, meant, shown
from kernelproof.verify.backends import backend_names
from kernelproof.verify.importing import answer_of, attribute, first_line, load_object
from kernelproof.verify.targets.arrays import KINDS, Kind
from kernelproof.verify.targets.declaration import DEVICES, Declaration
from kernelproof.verify.targets.peers import peer_names, place_of

GROUP = "kernelproof.backends"
BUILT_IN = "kernelproof.verify.backends."
BACKEND = "BACKEND"
PROGRAM = "exec:"
"""Prefix of the name of a target that is a program; the rest of the name is the command that starts it."""


@dataclass(frozen=True)
class Place:
    """Where a target is: the text that named it, and the module (a dotted name or a file) and object.

    Attributes:
        name: the text.
        module: a dotted name, or the path of a file.
        object: dotted names inside the module; "" for its `BACKEND`, or the module itself if it has none.
        declared: the declaration given on the command line.
        words: the options of a command line that give the same declaration again.
        op: the op that a function is asked for, whatever the names of its parameters suggest; "" if none is named.
    """

    name: str
    module: str
    object: str
    declared: Declaration = field(default_factory=Declaration)
    words: tuple[str, ...] = ()
    op: str = ""


def registered() -> dict[str, str]:
    """Name -> ``module:object`` of the targets that installed packages registered in the entry point group."""
    from importlib.metadata import entry_points  # noqa: PLC0415 (it takes as long as NumPy, and a host needs it for few)

    return {point.name: point.value for point in entry_points(group=GROUP)}


def find(text: str) -> Place:
    """Find the place that `text` names: a backend, a peer, ``file.py:obj``, ``pkg.mod:obj``, ``exec:program`` or other.

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
    if text.removesuffix(":").endswith(".py"):
        raise TargetError(_without_object(text.removesuffix(":")))
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
    names = [*backend_names(), *peer_names(), *known]
    msg = f"unknown target {text!r}{meant(text, names)}; allowed: {', '.join(names)}, "
    msg += "file.py:object, package.module:object or exec:program"
    raise TargetError(msg)


def _without_object(file: str) -> str:
    """What to say of a file that is named without an object: the functions and classes that its text defines."""
    if not Path(file).is_file():
        return f"there is no file {file!r}"
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        return f"the file {file!r} cannot be read as Python: {first_line(error)}"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    if not names:
        return f"say which object of {file!r} is the target, as in {file}:NAME; it defines none"
    return f"say which object of {file!r} is the target: {', '.join(f'{file}:{name}' for name in dict.fromkeys(names))}"


def load(place: Place) -> tuple[Any, ModuleType]:
    """Load the object at `place` and its module; a class is called without arguments.

    Raises:
        TargetError: the module cannot be imported or has no such object; the message is one line.
    """
    return load_object(place.name, place.module, place.object, BACKEND)


def array_kind(found: Any, module: ModuleType) -> Kind:
    """The library of a target's arrays: its attribute `array_library`, or a guess from the imports of its module."""
    told = attribute(found, "array_library", None)
    if told is not None:
        kind: Kind | None = next((kind for kind in KINDS if isinstance(told, str) and kind == told), None)
        if kind is None:
            msg = f"the attribute array_library of a target must be one of {', '.join(KINDS)}; got {shown(told)}"
            raise TargetError(msg)
        return kind
    home = sys.modules.get(getattr(found, "__module__", "") or "", module)
    imported = _imports(module) | _imports(home)
    guesses: tuple[Kind, ...] = ("torch", "jax", "cupy")
    return next((guess for guess in guesses if guess in imported), "numpy")


def libraries_of(place: Place) -> set[str]:
    """The top-level names of the packages that the source of a file at `place` imports, without importing it."""
    if not place.module.endswith(".py"):
        return set()
    try:
        return _imported_by(Path(place.module))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        # Importing it will say why.
        return set()


def _imports(module: ModuleType) -> set[str]:
    """The top-level names of the packages that the source of `module` imports, anywhere in it."""
    path = getattr(module, "__file__", None)
    held = {getattr(value, "__name__", "").partition(".")[0] for value in vars(module).values() if _is_module(value)}
    if module.__name__.partition(".")[0] in KINDS:
        held.add(module.__name__.partition(".")[0])
    if path is None or not path.endswith(".py"):
        return held
    return held | _imported_by(Path(path))


def _imported_by(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _is_module(value: Any) -> bool:
    return isinstance(value, ModuleType)


def devices_of(found: Any, kind: Kind) -> tuple[str, ...]:
    """The devices of this machine that the target at `found` runs on, by its own word or by that of its arrays.

    Raises:
        TargetError: its word is not one of `DEVICES`.
    """
    own = answer_of(found, "devices")
    if own is not None:
        if isinstance(own, str) or not isinstance(own, Sequence) or not set(own) <= set(DEVICES):
            msg = f"devices() of the target must return some of {', '.join(DEVICES)}; got {shown(own)}"
            raise TargetError(msg)
        return tuple(own)
    if kind == "torch" and importlib.import_module("torch").cuda.is_available():
        return ("cpu", "cuda")
    return ("cuda",) if kind == "cupy" else ("cpu",)
