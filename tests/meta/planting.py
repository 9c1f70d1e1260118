"""Private copies of the built-in backends, as they are or with one fault in them, and what `verify` says of them.

A copy is a package of its own name in a temporary folder, so that nothing shared is touched: the sources of the
backend with their imports rewritten, and a file that `verify` takes as a target. Numba's copy runs as plain
Python, because compiling it takes longer than all these tests; there `math` answers as compiled code does,
with infinities where Python raises, and what is LLVM's there (`llvm`) is written out.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from kernelproof.api import verify
from kernelproof.verify.record.schema import Check, Results

FAST = "numba fast"
"""The numba backend with its fast path; as "numba" it solves every row carefully."""
COPIED = ("torch", "numpy", "numba", FAST)
BACKENDS = "kernelproof.verify.backends"
"""The package whose subpackages are the backends, and `_arrays`, which NumPy and Numba share."""

_NUMBERS = itertools.count()

_TARGET = """
from kernelproof.verify.records import Contract

from {package}.{backend} import BACKEND

type(BACKEND).contract = Contract(grade="A", posinf="nan", scores="differences", masked_nonfinite="ignored")
"""
_JIT = """
def jit(function):
    return function


parallel = contracted = reassociated = inlined = released = jit
"""
_VECTORS = """
from fractions import Fraction

import numpy as np

BYTES = SLACK = 64
WHOLE = {4: (np.int32, np.float32, 23, 0x3F3504F3), 8: (np.int64, np.float64, 52, 0x3FE6A09E667F3BCD)}


def wide():
    pass


def fetch(array, start):
    pass


def kinds(x):
    x = np.float64(x) if isinstance(x, float) and not isinstance(x, np.floating) else x
    return x, WHOLE[x.itemsize]


def ranked(x):
    x, (whole, _, _, _) = kinds(x)
    bits = x.view(whole)
    return bits if bits >= 0 else bits ^ np.iinfo(whole).max


def unranked(rank):
    kind = WHOLE[rank.itemsize][1]
    return (rank if rank >= 0 else rank ^ np.iinfo(rank.dtype).max).view(kind)


def from_bits(bits, x):
    width = 8 * x.itemsize
    return np.array(bits % 2**width, np.dtype(f"u{x.itemsize}")).view(type(x))[()]


def scaled(x, shifted):
    x, (whole, kind, fraction, _) = kinds(x)
    return from_bits(int(x.view(whole)) + (int(kind(shifted).view(whole)) << fraction), x)


def binade(x):
    x, (whole, kind, fraction, half) = kinds(x)
    bits = int(x.view(whole))
    return x, kind, fraction, bits, (bits - half) >> fraction


def exponent(x):
    _, kind, _, _, k = binade(x)
    return kind(k)


def mantissa(x):
    x, _, fraction, bits, k = binade(x)
    return from_bits(bits - (k << fraction), x)


def fused(a, b, c):
    if not np.isfinite(a * b + c):
        return a * b + c
    return np.float64(float(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))))


def compress(row, start, limit, values, out, count):
    for i in range(start, start + BYTES // row.itemsize):
        if row[i] > limit:
            out[count] = values[i]
            count += 1
    return count


def expand(row, start, limit, packed, count, out):
    for i in range(start, start + BYTES // row.itemsize):
        out[i] = packed[count] if row[i] > limit else 0
        count += int(row[i] > limit)
    return count
"""
_MATH = """
import math
import numpy as np
from math import frexp, inf, isfinite, isinf, ldexp, nan, sqrt

exp, expm1, log, log1p = np.exp, np.expm1, np.log, np.log1p
"""


@dataclass(frozen=True)
class Change:
    """One textual replacement in a module of a backend.

    Attributes:
        module: dotted name of the module below `BACKENDS`, such as ``numba.fast.rows``.
        old: text that must be there exactly once.
        new: what takes its place.
    """

    module: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """`text` with the replacement.

        Raises:
            AssertionError: `old` is not there exactly once.
        """
        count = text.count(self.old)
        assert count == 1, f"{self.old!r} must be in {self.module} exactly once; it is there {count} times"
        return text.replace(self.old, self.new)


def sources(backend: str) -> dict[str, str]:
    """The text of every module of a backend and of what it shares, by its dotted name below `BACKENDS`."""
    root = Path(str(files(BACKENDS)))
    folders = ["torch"] if backend == "torch" else [backend.partition(" ")[0], "_arrays"]
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): path.read_text("utf-8")
        for folder in folders
        for path in sorted((root / folder).rglob("*.py"))
    }


def write_copy(folder: Path, backend: str, change: Change | None, *, tiled: bool = False) -> str:
    """Write a private copy of `backend` with `change` into `folder`; the text that names it as a target.

    With `tiled`, Numba's copy has its tiles, for regression and attention, and all tiles are of a few scores.
    """
    package = f"planted_{backend.replace(' ', '_')}_{next(_NUMBERS)}"
    texts = sources(backend)
    if change is not None:
        texts[change.module] = change.apply(texts[change.module])
    if backend in {"numba", FAST}:
        assert "def jit(" in texts["numba.jit"]
        assert "def parallel(" in texts["numba.jit"]
        texts |= {"numba.jit": _JIT, "numba.ieee": _MATH, "numba.llvm": _VECTORS}
        core = "numba.careful.careful_core" if backend == "numba" else "numba.core"
        if not tiled:
            texts["numba.__init__"] = Change("numba", "numba.tiles.core", core).apply(texts["numba.__init__"])
        for name in (
            "careful.rows",
            "careful.heavy_tails",
            "scalar_functions",
            "fast.newton",
            "proved.rows",
            "fast.vjp",
        ):
            math = Change(name, "\nimport math\n", f"\nfrom {package}.numba import ieee as math\n")
            texts[f"numba.{name}"] = math.apply(texts[f"numba.{name}"])
    if tiled:
        small = [Change("_arrays.tiles", "\nTILE = 1 << 18", "\nTILE = 16")]
        if "numba.tiles.core" in texts:
            small.append(Change("numba.tiles.core", "\nTILE = 1 << 20", "\nTILE = 16"))
            small.append(Change("numba.tiles.core", "\nPIECES = 8", "\nPIECES = 1"))
        for each in small:
            texts[each.module] = each.apply(texts[each.module])
    for name, text in {"__init__": "", **texts}.items():
        path = folder.joinpath(package, *name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Operators of torch have one registry for the process.
        own = text.replace(BACKENDS, package).replace('"kernelproof::', f'"{package}::')
        path.write_text(own, encoding="utf-8")
    target = folder / f"{package}_target.py"
    target.write_text(_TARGET.format(package=package, backend=backend.partition(" ")[0]), encoding="utf-8")
    return f"{target}:BACKEND"


@contextmanager
def loaded_here(folder: Path) -> Iterator[None]:
    """Forget afterwards what was imported from `folder` inside."""
    path = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def verify_copy(folder: Path, backend: str, change: Change | None, case: str, *, tiled: bool = False) -> Results:
    """What `verify` says of a private copy of `backend` with `change` on one case."""
    target = write_copy(folder, backend, change, tiled=tiled)
    with loaded_here(folder):
        return verify(target, case=case, serial=True)


def check_of(results: Results, name: str) -> Check:
    """The check called `name` of the only target of a run."""
    (target,) = results.targets
    return next(check for check in target.checks if check.id == name)


def failing(results: Results) -> dict[str, str]:
    """The checks that do not pass, with the first words of their worst comparison."""
    return {
        check.id: f"{check.verdict}: {check.worst.message if check.worst else ''}"
        for target in results.targets
        for check in target.checks
        if check.verdict not in {"PASS", "UNSUPPORTED"}
    }
