"""The pieces of a witness script: arrays as exact literals, the import of a target, and its calls."""

from __future__ import annotations

import base64
import importlib.util
import math
import sys
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.layout import layout_of, packed
from kernelproof.verify.records import Array, Call
from kernelproof.verify.targets.arrays import Kind
from kernelproof.verify.targets.caller import Caller, Calling
from kernelproof.verify.targets.scope import case_of
from kernelproof.verify.targets.target import BUILT_IN, Target, functions_of
from kernelproof.verify.witness.peers import definition

LARGEST = 4096
"""Arrays of more numbers are not written out as literals, but compressed."""
PACKED = 2**17
"""Arrays of more numbers are not written out at all."""
PEERS = "kernelproof.verify.targets.peers."
_MADE: tuple[str, ...] = ("if isinstance(target, type):", "    target = target()")
"""A class is called without arguments, as `loading.load` does; left out where the target is none."""
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
    if target.array_library == "torch":
        return _tensor(array, target.device)
    if target.array_library in {"jax", "cupy"}:
        module = "jnp" if target.array_library == "jax" else "cupy"
        return f"{module}.asarray({_packed(np.ascontiguousarray(array))})"
    return _packed(array)


def compressed(data: bytes) -> str:
    """An expression for `data`, compressed, on lines of 100 letters.

    >>> import base64, zlib
    >>> eval(compressed(bytes(1000))) == bytes(1000)
    True
    """
    text = base64.b85encode(zlib.compress(data, 9)).decode()
    lines = "\n".join(f'    "{text[at : at + 100]}"' for at in range(0, len(text), 100))
    return f"zlib.decompress(base64.b85decode(\n{lines}\n))"


def _packed(array: Array) -> str:
    kind = f"ml_dtypes.{array.dtype.name}" if _foreign(array) else f"np.{array.dtype.name}"
    kind = "bool" if array.dtype == bool else kind
    if array.flags.c_contiguous and array.flags.writeable:
        return _written(array, kind)
    layout = layout_of(array)
    strides = tuple(stride * array.itemsize for stride in layout.strides)
    memory = _written(layout.memory, kind)
    return f"np.ndarray({array.shape!r}, {kind}, {memory}, {layout.offset * array.itemsize}, {strides!r})"


def _written(array: Array, kind: str) -> str:
    """`array`, in C order, for NumPy."""
    if array.size > LARGEST:
        return f"np.frombuffer(bytearray({compressed(array.tobytes())}), dtype={kind}).reshape({array.shape!r})"
    shape = "" if array.size else f".reshape({array.shape!r})"
    return f"np.array({numbers(array)}, dtype={kind}){shape}"


def _foreign(array: Array) -> bool:
    return array.dtype.name in FORMATS and array.dtype.name not in {"float64", "float32", "float16"}


def _tensor(array: Array, device: str) -> str:
    kind, layout = f"torch.{array.dtype.name}", layout_of(array)
    if min(layout.strides, default=0) >= 0 and layout.strides != packed(array.shape) and array.size:
        memory = _of_torch(layout.memory, kind, device)
        return f"{memory}.as_strided({array.shape!r}, {layout.strides!r}, {layout.offset})"
    return _of_torch(array, kind, device)


def _of_torch(array: Array, kind: str, device: str) -> str:
    """`array`, in C order, for PyTorch."""
    if array.size > LARGEST:
        moved = "" if device == "cpu" else f'.to("{device}")'
        memory = f"torch.frombuffer(bytearray({compressed(array.tobytes())}), dtype={kind})"
        return f"{memory}.reshape({array.shape!r}){moved}"
    place = "" if device == "cpu" else f', device="{device}"'
    shape = "" if array.size else f".reshape({array.shape!r})"
    return f"torch.tensor({numbers(array)}, dtype={kind}{place}){shape}"


def target_lines(target: Target, *, made: bool = False) -> list[str]:
    """Lines that make the name ``target``; `made`: it is an object of a class."""
    lines = _loaded(target)
    return lines if made else [line for line in lines if line not in _MADE]


def _loaded(target: Target) -> list[str]:
    place = target.place
    if place.module.startswith(PEERS):
        return [*definition(place.module, place.object), "", f"target = {place.object}", *_MADE]
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
        *_MADE,
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
        return [f"from {module} import {first}", "", f"target = {name}", *_MADE]
    return [f"from {module} import {first} as target", *_MADE]


@dataclass(frozen=True)
class _Variable:
    """A variable of the script that stands for an array of this shape."""

    name: str
    shape: tuple[int, ...]

    def __repr__(self) -> str:
        return self.name


def call_text(case: Case, call: Call, caller: Calling, names: dict[str, str], numbers: Collection[str] = ()) -> str:
    """An expression that calls the target as the binding does.

    Args:
        case: gives order, kernel and rule.
        call: the call.
        caller: the loaded target, no program.
        names: the variables that hold the arrays, by argument.
        numbers: roles that are variables of their own names.
    """
    assert isinstance(caller, Caller)  # a program is asked another way
    binding = caller.bound[case.op][1]
    held = {**call.inputs.arrays, **call.inputs.options}
    arrays = {name: _Variable(names[name], array.shape) for name, array in call.inputs.arrays.items()}
    options = {
        name: _Variable(names[name], held[name].shape) if name in names else value
        for name, value in call.inputs.options.items()
    }
    told = {role: _Variable(role, ()) for role in numbers}
    called = binding.call(case_of(case, call), arrays, options, told, call.axis)
    assert called is not None  # `Scope.refuses` has seen to it
    words = [*map(repr, called[0]), *(f"{key}={value!r}" for key, value in called[1].items())]
    if call.mode == "vjp" and has_vjp(caller):
        return f'target.vjp("{case.op}", {", ".join([names["cotangent"], *words])})'
    own = case.op in functions_of(caller.found)
    return f"target{'.' + case.op if own else ''}({', '.join(words)})"


def picked_lines(variable: str, caller: Calling, op: str) -> list[str]:
    """Lines that leave the output in `variable`, which holds what the target returned."""
    assert isinstance(caller, Caller)  # as above
    output = caller.bound[op][2].output
    if output is None:
        return [f"{variable} = {variable}[0] if isinstance({variable}, tuple) and {variable} else {variable}"]
    if isinstance(output, int):
        return [f"{variable} = {variable}[{output}]"]
    return [f"{variable} = {variable}[{output!r}] if isinstance({variable}, dict) else {variable}.{output}"]


def leaves(case: Case, call: Call, caller: Calling) -> list[str]:
    """The arrays that autograd differentiates in."""
    scope = caller.target.scope(case.op)
    wanted = None if scope is None else scope.gradients
    return [name for name in call.inputs.arrays if wanted is None or name in wanted]


def number_lines(case: Case, call: Call, caller: Calling) -> dict[str, str]:
    """The order and other numbers that autograd differentiates in, by role: a line that makes a variable of it."""
    assert isinstance(caller, Caller)  # as above
    scope, target = caller.target.scope(case.op), caller.target
    wanted = (scope.gradients if scope is not None else None) or ()
    kind = next(iter(call.inputs.arrays.values())).dtype.name
    found = {}
    for role, value in caller.bound[case.op][1].numbers(case_of(case, call)).items():
        if role not in wanted:
            continue
        if target.array_library == "torch":
            # Where the dtype of the arrays does not hold the number, float64 does.
            held = float(FORMATS[kind].round_fraction(Fraction(value))) if math.isfinite(value) else value
            dtype = kind if held == float(value) else "float64"
            place = "" if target.device == "cpu" else f', device="{target.device}"'
            found[role] = f"{role} = torch.tensor({float(value)!r}, dtype=torch.{dtype}{place})"
        else:
            found[role] = f"{role} = jnp.asarray({float(value)!r}, dtype=jnp.{kind})"
    return found


def to_numpy(kind: Kind) -> str:
    """An expression, with a place for an array of `kind`, for a NumPy array of its numbers; float64 of a tensor."""
    return {"torch": "{}.detach().cpu().to(torch.float64).numpy()", "cupy": "cupy.asnumpy({})"}.get(
        kind, "np.asarray({})"
    )


def has_vjp(caller: Calling) -> bool:
    """Whether the target has vector-Jacobian products of its own, instead of those of autograd."""
    return callable(getattr(getattr(caller, "found", None), "vjp", None))


def model_imports(text: str) -> list[str]:
    """Imports for the kernels, rules and fractions that `text` names."""
    named = [name for name in ("Kernel", *_RULES) if f"{name}(" in text]
    lines = ["from fractions import Fraction"] if "Fraction(" in text else []
    return [*lines, *([f"from kernelproof import {', '.join(sorted(named))}"] if named else [])]
