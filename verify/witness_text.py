"""The pieces of a witness script: arrays as exact literals, the import of a target, and its calls."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.building import layout_of, packed
from kernelproof.verify.case import Case
from kernelproof.verify.seams import Array, Call
from kernelproof.verify.targets import BUILT_IN, Caller, Target

LARGEST = 4096
"""Arrays of more numbers are not written out."""
_RULES = ("Adaptive", "Anchored", "Fixed", "Nearest")


def numbers(array: Array) -> str:
    """The elements of `array` as nested lists of literals that read back to the same bits.

    >>> numbers(np.array([[0.1, -0.0]], dtype=np.float32))
    '[[0.10000000149011612, -0.0]]'
    """
    kept = array if array.dtype.kind in "bi" else array.astype(np.float64)
    return repr(kept.tolist())


def array_text(array: Array, target: Target) -> str:
    """An expression for `array` as the target gets it, with its layout."""
    if target.array == "torch":
        return _tensor(array, target.device)
    kind = f"ml_dtypes.{array.dtype.name}" if _foreign(array) else f"np.{array.dtype.name}"
    kind = "bool" if array.dtype == bool else kind
    if array.flags.c_contiguous and array.flags.writeable:
        shape = "" if array.size else f".reshape({array.shape!r})"
        return f"np.array({numbers(array)}, dtype={kind}){shape}"
    layout = layout_of(array)
    strides = tuple(stride * array.itemsize for stride in layout.strides)
    memory = f"np.array({numbers(layout.memory)}, dtype={kind})"
    return f"np.ndarray({array.shape!r}, {kind}, {memory}, {layout.offset * array.itemsize}, {strides!r})"


def _foreign(array: Array) -> bool:
    return array.dtype.name in FORMATS and array.dtype.name not in {"float64", "float32", "float16"}


def _tensor(array: Array, device: str) -> str:
    place = "" if device == "cpu" else f', device="{device}"'
    kind = f"torch.{array.dtype.name}"
    layout = layout_of(array)
    if min(layout.strides, default=0) >= 0 and layout.strides != packed(array.shape) and array.size:
        memory = f"torch.tensor({numbers(layout.memory)}, dtype={kind}{place})"
        return f"{memory}.as_strided({array.shape!r}, {layout.strides!r}, {layout.offset})"
    shape = "" if array.size else f".reshape({array.shape!r})"
    return f"torch.tensor({numbers(array)}, dtype={kind}{place}){shape}"


def target_lines(target: Target) -> list[str]:
    """Lines that make the name ``target``."""
    place = target.place
    if place.module.startswith(BUILT_IN):
        name = place.module.removeprefix(BUILT_IN)
        return ["import kernelproof", "", f'target = kernelproof.backend("{name}")']
    if not place.module.endswith(".py"):
        return ['sys.path.append(".")', *_imported(place.module, place.object)]
    path = place.name.rpartition(":")[0]
    shown = Path(path if path.endswith(".py") else place.module)
    stem = shown.stem
    if stem.isidentifier() and stem not in sys.stdlib_module_names and _is_free(stem, place.module):
        folder = shown.parent.as_posix()
        return [f"sys.path.insert(0, {folder!r})", *_imported(stem, place.object)]
    return [
        f"spec = importlib.util.spec_from_file_location({stem!r}, {shown.as_posix()!r})",
        f"module = sys.modules[{stem!r}] = importlib.util.module_from_spec(spec)",
        "spec.loader.exec_module(module)",
        f"target = module.{place.object}",
    ]


def _is_free(stem: str, file: str) -> bool:
    """Whether no other module is called `stem`."""
    try:
        found = importlib.util.find_spec(stem)
    except (ImportError, ValueError):
        return False
    return found is None or found.origin == file


def _imported(module: str, name: str) -> list[str]:
    first, _, rest = name.partition(".")
    if rest:
        return [f"from {module} import {first}", "", f"target = {name}"]
    return [f"from {module} import {first} as target"]


def option_text(value: Any, target: Target) -> str:
    """An expression for a keyword."""
    return array_text(np.asarray(value), target) if hasattr(value, "dtype") else repr(value)


def call_text(case: Case, call: Call, caller: Caller, names: dict[str, str]) -> str:
    """An expression that calls the target as the binding does.

    Args:
        case: gives order, kernel and rule.
        call: the call.
        caller: the loaded target.
        names: the variables that hold the arrays, by argument.
    """
    given = [names[name] for name in call.inputs.arrays]
    if case.op == "entmax":
        assert caller.binding is not None  # a target of entmax is bound when it is loaded
        keywords = {key: repr(value) for key, value in (caller.binding.keywords(case) or {}).items()}
    else:
        given += [repr(case.kernel), repr(case.parsed_rule)]
        keywords = {
            name: names.get(name) or option_text(value, caller.target) for name, value in call.inputs.options.items()
        }
    words = [*given, *(f"{key}={value}" for key, value in keywords.items())]
    if call.mode == "vjp" and has_vjp(caller):
        return f'target.vjp("{case.op}", {", ".join([names["cotangent"], *words])})'
    own = callable(getattr(caller.found, case.op, None))
    return f"target{'.' + case.op if own else ''}({', '.join(words)})"


def has_vjp(caller: Caller) -> bool:
    """Whether the target has vector-Jacobian products of its own, instead of those of autograd."""
    return callable(getattr(caller.found, "vjp", None))


def model_imports(text: str) -> list[str]:
    """Imports for the kernels, rules and fractions that `text` names."""
    named = [name for name in ("Kernel", *_RULES) if f"{name}(" in text]
    lines = ["from fractions import Fraction"] if "Fraction(" in text else []
    return [*lines, *([f"from kernelproof import {', '.join(sorted(named))}"] if named else [])]
