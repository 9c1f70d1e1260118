"""Import objects of a user: load the object at module:name, read its attributes and call its methods."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from kernelproof.reference.errors import TargetError, meant


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
    # Dataclasses and pickle look for a module by its own name.
    names = [name, module.__name__] if _is_free(module.__name__, name) else [name]
    sys.modules.update(dict.fromkeys(names, module))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        for each in names:
            sys.modules.pop(each, None)
        raise
    return module


def _is_free(name: str, file: str) -> bool:
    """Whether no other module than that of `file` would be imported by `name`."""
    if name in sys.modules:
        return False
    if not name.isidentifier():
        return True
    found = importlib.util.find_spec(name)
    return found is None or (found.origin is not None and Path(found.origin).resolve() == Path(file).resolve())


def load_object(text: str, module: str, name: str, default: str = "") -> tuple[Any, ModuleType]:
    """Import the object called `name` of `module`; return it and the module. A class is called without arguments.

    Args:
        text: the text that the user wrote, for messages.
        module: a dotted name, or the path of a file.
        name: dotted names inside the module; "" for the object called `default`, or the module if it has none.
        default: the name of an object that a module may have.

    Raises:
        TargetError: the module cannot be imported or has no such object; the message is one line.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        held = _import(module)
        found: Any = held if name else getattr(held, default, held) if default else held
        for part in name.split(".") if name else ():
            found = getattr(found, part)
    except AttributeError as error:
        loaded = sys.modules.get(module)
        if loaded is None:
            msg = f"the target {text!r} cannot be imported: {first_line(error)}"
            raise TargetError(msg) from None
        offered = [each for each in dir(loaded) if not each.startswith("_")]
        msg = f"{module} has no object {name!r}{meant(name, offered)}; it has: {', '.join(offered[:12])}"
        raise TargetError(msg) from None
    except BaseException as error:  # noqa: BLE001 (whatever an import raises is the user's to read)
        msg = f"the target {text!r} cannot be imported: {first_line(error)}"
        raise TargetError(msg) from None
    return (_made(found, text) if isinstance(found, type) else found), held


def _made(kind: type, text: str) -> Any:
    """Create an object of the class `kind`.

    Raises:
        TargetError: its constructor raised.
    """
    try:
        return kind()
    except BaseException as error:  # noqa: BLE001 (whatever a constructor raises is the user's to read)
        msg = f"the class {text!r} must make an object without arguments; it raised {first_line(error)}"
        raise TargetError(msg) from None


def first_line(error: BaseException) -> str:
    """``ErrorType: first line`` of an exception."""
    try:
        text = str(error).strip().splitlines()
    except BaseException:  # noqa: BLE001 (an exception of a target may be broken too, or exit)
        return f"{type(error).__name__}, which has no text"
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__


def attribute(found: Any, name: str, default: Any) -> Any:
    """The attribute `name` of a target's object, or `default`.

    Raises:
        TargetError: reading it raised another exception than AttributeError.
    """
    try:
        return getattr(found, name, default)
    except BaseException as error:  # noqa: BLE001 (whatever an object of a user raises is theirs to read)
        msg = f"the attribute {name!r} of the target cannot be read: {first_line(error)}"
        raise TargetError(msg) from None


def answer_of(found: Any, name: str) -> Any:
    """Call the method `name` of a target's object; None if it has no such method.

    Raises:
        TargetError: the method raised.
    """
    method = attribute(found, name, None)
    if not callable(method):
        return None
    try:
        return method()
    except BaseException as error:  # noqa: BLE001 (whatever an object of a user raises is theirs to read)
        msg = f"{name}() of the target raised {first_line(error)}"
        raise TargetError(msg) from None
