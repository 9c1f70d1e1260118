"""Truths as bytes and back, and the key of a case: the hash of everything that its truth depends on.

The bytes are a header in JSON, which names every array with its dtype and shape, followed by the concatenated arrays,
compressed. Decoding creates arrays of float64 and bool and no objects of other types.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import zlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Nearest
from kernelproof.verify.records import Array, Inputs, Truth, Values

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

Found = tuple[Truth | None, str]
"""A truth, or why there is none; see `kernelproof.verify.truth.lookup.truth_for`."""

ORACLE = "kernelproof.verify.truth.truth"
PACKAGES = ("gmpy2", "kernelproof", "ml-dtypes", "mpmath", "numba", "numpy", "python-flint", "scipy")
"""Packages that the oracle computes with; their versions are hashed, because another version may have fixed a bug."""
_FLAGS = ("support", "boundary", "empty", "unsure", "kink")
_FLOATS = ("margin", "margin_unit", "weights")
_VALUES = ("head", "tail", "radius", "unit")
_DTYPES = {"float64": np.dtype(np.float64), "bool": np.dtype(np.bool_)}
_LENGTH = 4
"""Bytes of the length of the header."""


def encode(found: Found) -> bytes:
    """Encode `found` as bytes."""
    truth, reason = found
    arrays = dict(_arrays(truth)) if truth is not None else {}
    header = {
        "truth": truth is not None,
        "gradients": truth is not None and truth.gradients is not None,
        "reason": reason,
        "arrays": [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()],
    }
    head = json.dumps(header).encode()
    body = b"".join(array.tobytes() for array in arrays.values())
    return len(head).to_bytes(_LENGTH, "big") + head + zlib.compress(body, 1)


def decode(payload: bytes) -> Found:
    """Return the truth that `encode` turned into `payload`.

    Raises:
        ValueError: it is not what `encode` makes.
    """
    end = _LENGTH + int.from_bytes(payload[:_LENGTH], "big")
    try:
        header = json.loads(payload[_LENGTH:end])
        body = zlib.decompress(payload[end:])
        arrays: dict[str, Array] = {}
        at = 0
        for name, dtype, shape in header["arrays"]:
            kind = _DTYPES[dtype]
            size = prod(shape) * kind.itemsize
            # A copy, because what is computed may be written to as well.
            arrays[name] = np.frombuffer(body[at : at + size], kind).reshape(shape).copy()
            at += size
        if at != len(body):
            msg = f"the arrays must have {at} bytes; got {len(body)}"
            raise ValueError(msg)
        return (_truth(arrays, with_gradients=header["gradients"]) if header["truth"] else None), str(header["reason"])
    except (KeyError, TypeError, zlib.error) as error:
        msg = f"this is no encoded truth: {type(error).__name__}: {error}"
        raise ValueError(msg) from None


def _arrays(truth: Truth) -> Iterator[tuple[str, Array]]:
    for name in (*_FLAGS, *_FLOATS):
        yield name, np.asarray(getattr(truth, name))
    sets = {"output": truth.output, **{f"gradients {name}": values for name, values in (truth.gradients or {}).items()}}
    for name, values in sets.items():
        for part in _VALUES:
            yield f"{name} {part}", np.asarray(getattr(values, part))


def _truth(arrays: dict[str, Array], *, with_gradients: bool) -> Truth:
    def values(name: str) -> Values:
        return Values(*(arrays[f"{name} {part}"] for part in _VALUES))

    names = [name.removesuffix(" head") for name in arrays if name.startswith("gradients ") and name.endswith(" head")]
    gradients = {name.removeprefix("gradients "): values(name) for name in names}
    plain = {name: arrays[name] for name in (*_FLAGS, *_FLOATS)}
    return Truth(output=values("output"), gradients=gradients if with_gradients else None, **plain)


def key_of(case: Case, inputs: Inputs, scores: str) -> bytes | None:
    """Hash everything that the truth of a case depends on; None if that is unknown, and then the truth is not stored.

    It is known for the kernels and rules of `kernelproof.reference` only: other definitions may change undetected.

    Args:
        case: the recipe.
        inputs: the inputs that the case makes.
        scores: "differences" or "dots", how distances are computed; units depend on it (`Contract.scores`).
    """
    rule = case.parsed_rule
    inner = rule.then if type(rule) is Nearest else rule
    if type(case.kernel) is not Kernel or type(inner) not in {Adaptive, Anchored, Fixed}:
        return None
    digest = hashlib.sha256(oracle())
    try:
        for part in (case.text, scores, inputs.arrays, inputs.options, inputs.cotangent, inputs.rows, inputs.diagonal):
            _feed(digest, part)
    except TypeError:
        return None
    return digest.digest()


def _feed(digest: Any, value: Any) -> None:
    """Add `value` to the hash in an encoding that no other value shares."""
    if isinstance(value, dict):
        _feed(digest, f"{len(value)} entries")
        for name in sorted(value):
            _feed(digest, name)
            _feed(digest, value[name])
        return
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        _feed(digest, f"{array.dtype.name} {array.dtype.str} {array.shape}")
        raw = array.tobytes()
    elif value is None or isinstance(value, bool | int | float | str):
        raw = f"{type(value).__name__} {value!r}".encode()
    else:
        msg = f"an input of this type has no bytes to hash: {value!r}"
        raise TypeError(msg)
    digest.update(len(raw).to_bytes(8, "big"))
    digest.update(raw)


@cache
def oracle() -> bytes:
    """Hash what computes the truth: versions of packages, the source of `reference` and all that `ORACLE` imports."""
    digest = hashlib.sha256()
    for name in PACKAGES:
        _feed(digest, f"{name} {_version(name)}")
    _feed(digest, platform.python_version())
    for name, path in sorted(sources().items()):
        _feed(digest, name)
        _feed(digest, path.read_text("utf-8"))
    return digest.digest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def sources() -> dict[str, Path]:
    """Find the files that the truth depends on: `reference`, this one, and those of `verify` that `ORACLE` imports."""
    root = Path(__file__).parents[2]
    whole = sorted((root / "reference").rglob("*.py"))
    found = {f"reference/{path.relative_to(root / 'reference').as_posix()}": path for path in whole}
    waiting = [ORACLE, __name__]
    while waiting:
        name = waiting.pop()
        path = root.joinpath(*name.split(".")[1:]).with_suffix(".py")
        if name in found or not path.is_file():
            continue
        found[name] = path
        waiting += _imported(path)
    return found


def _imported(path: Path) -> Iterator[str]:
    """Yield the modules of `kernelproof.verify` that the file at `path` imports, at its top or in a function."""
    own = "kernelproof.verify"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(own):
            yield str(node.module)
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.startswith(own))
