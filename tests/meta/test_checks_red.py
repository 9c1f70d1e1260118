"""For each check and each case family that finds a kind of fault of its own: the fault, red by that check there.

Every target here is the NumPy backend with one thing wrong, and the same case is green without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.meta.planting import check_of, failing, loaded_here

from kernelproof.api import verify
from kernelproof.verify.record.schema import Verdict

SOURCE = '''
import math
import numpy as np
from kernelproof import backend
from kernelproof.verify.records import Contract

NUMPY = backend("numpy")

class Right:
    contract = Contract(grade="A", posinf="nan", scores="differences", masked_nonfinite="ignored")
    array_library = "numpy"
    dtypes = ("float64", "float32")

    def entmax(self, z, *, order=None, alpha=None, dim=-1):
        return self.changed(z, NUMPY.entmax(self.given(z), order=order, alpha=alpha, dim=dim))

    def given(self, z):
        return z

    def changed(self, z, p):
        return p

    def weights(self, scores, kernel, rule, *, empty="nan"):
        return NUMPY.weights(scores, kernel, rule, empty=empty)

    def attention(self, q, k, v, kernel, rule, **options):
        return NUMPY.attention(q, k, v, kernel, rule, **options)

    def vjp(self, op, cotangent, *args, **options):
        return NUMPY.vjp(op, cotangent, *args, **options)

class Promises(Right):
    contract = Contract(grade="A", posinf="nan", scores="differences", masked_nonfinite="ignored", same="bits")

class ByBatch(Promises):
    """A kernel for many rows that rounds otherwise than the one for a single row."""
    def changed(self, z, found):
        return found * (1 + 2.0**-52) if z.ndim > 1 and z.shape[0] > 1 else found

class LeaksAcross(Right):
    """The maximum of the whole batch in the place of that of the row."""
    def changed(self, z, found):
        spread = np.exp(-abs(z.max() - z.max(axis=-1, keepdims=True)) / 64) if z.size else found
        return found * np.where(spread < 0.5, 0, 1).astype(z.dtype)

class ByStride(Promises):
    def changed(self, z, found):
        return found if z.flags.c_contiguous else found * (1 + 2.0**-52)

class WrongStride(Right):
    """Reads memory as if it were in C order."""
    def given(self, z):
        base = z if z.base is None or z.flags.c_contiguous else z.base.reshape(-1)[: z.size].reshape(z.shape)
        return np.nan_to_num(base)

class Writes(Right):
    """Needs arrays it may write to."""
    def given(self, z):
        z[...] = z
        return z

class MultipliesGarbage(Right):
    """A weight of 0 times whatever stands behind the mask."""
    def attention(self, q, k, v, kernel, rule, **options):
        found = super().attention(q, k, v, kernel, rule, **options)
        return found + 0 * v.sum()

class GarbageGradient(Right):
    def vjp(self, op, cotangent, *args, **options):
        found = dict(super().vjp(op, cotangent, *args, **options))
        if op == "attention":
            found["v"] = found["v"] + 0 * args[2]
        return found

class IgnoresAxis(Right):
    def entmax(self, z, *, order=None, alpha=None, dim=-1):
        return super().entmax(z, order=order, alpha=alpha)

class NoisyGradient(Right):
    def vjp(self, op, cotangent, *args, **options):
        found = super().vjp(op, cotangent, *args, **options)
        return found if cotangent.any() else {name: value + 1e-300 for name, value in found.items()}

class InfiniteSlope(Right):
    """∞·0 at a key without weight."""
    def vjp(self, op, cotangent, *args, **options):
        found = dict(super().vjp(op, cotangent, *args, **options))
        if not cotangent.any():
            found["z"] = np.where(self.entmax(args[0], **options) == 0, np.nan, found["z"])
        return found

class PoisonedGradient(Right):
    """One NaN of the batch in every row of the gradient."""
    def vjp(self, op, cotangent, *args, **options):
        found = dict(super().vjp(op, cotangent, *args, **options))
        if op == "entmax":
            found["z"] = found["z"] + 0 * found["z"].sum()
        return found

class WrongShape(Right):
    """A power of the right weights, on the simplex all the same."""
    def changed(self, z, p):
        p = p**1.001
        return p / p.sum(axis=-1, keepdims=True)

class Jagged(Right):
    """Stops early at some gaps."""
    def changed(self, z, p):
        p = np.array(p)
        if z.shape[-1] == 2:
            p[::3, 0] -= 0.25 * p[::3, 0] * p[::3, 1]
            p[::3, 1] = 1 - p[::3, 0]
        return p

class GivesUp(Right):
    """Large orders are taken for softmax."""
    def entmax(self, z, *, order=None, alpha=None, dim=-1):
        far = order is not None and order >= 64
        return super().entmax(z, order=math.inf if far else order, alpha=alpha, dim=dim)

class Draws(Right):
    def given(self, z):
        np.random.seed(0)
        return z

class Flushes(Right):
    """Subnormal weights are 0."""
    def changed(self, z, p):
        return np.where(np.abs(p) < np.finfo(p.dtype).tiny, 0, p).astype(p.dtype)

class MisreadsSubnormals(Right):
    """The exponent of a subnormal score is taken for that of a normal one."""
    def given(self, z):
        tiny = np.finfo(z.dtype).tiny
        return np.where(np.abs(z) < tiny, z / tiny, z)

class Overflows(Right):
    """Gaps taken in the dtype: ∞ − ∞."""
    def changed(self, z, p):
        with np.errstate(over="ignore", invalid="ignore"):
            gap = z.max(axis=-1, keepdims=True, initial=-np.inf) - z
            lost = np.where(np.isinf(gap) & np.isfinite(z), np.nan, 0)
        return p + lost

class KinkOff(Right):
    """A gradient near a kink that counts the key at the threshold fully in."""
    def vjp(self, op, cotangent, *args, **options):
        found = dict(super().vjp(op, cotangent, *args, **options))
        if op == "entmax" and found["z"].size:
            found["z"] = found["z"] + 0.25 * (found["z"] == 0) * np.abs(cotangent)
        return found

right, promises = Right(), Promises()
by_batch, leaks_across, by_stride, wrong_stride, writes = ByBatch(), LeaksAcross(), ByStride(), WrongStride(), Writes()
multiplies_garbage, garbage_gradient, ignores_axis = MultipliesGarbage(), GarbageGradient(), IgnoresAxis()
noisy_gradient, infinite_slope, poisoned_gradient = NoisyGradient(), InfiniteSlope(), PoisonedGradient()
wrong_shape, jagged, gives_up, draws = WrongShape(), Jagged(), GivesUp(), Draws()
flushes, misreads_subnormals, overflows, kink_off = Flushes(), MisreadsSubnormals(), Overflows(), KinkOff()
'''

_ENTMAX = "entmax order={} rule=adaptive:1 dtype=float64 family={} shape={} feature={} seed=0"
RANDOM = _ENTMAX.format(2, "random", "3x8", 1)
LARGE = _ENTMAX.format(64, "random", "3x8", 1)
CUBE = _ENTMAX.format(2, "random", "2x2x16", 4)
STRIDED = _ENTMAX.format(2, "layouts", "4x11", "strided")
READ_ONLY = _ENTMAX.format(2, "layouts", "3x10", "readonly")
KINK = _ENTMAX.format("3/2", "kink", "4x8", "0")
SPECIAL = _ENTMAX.format(2, "special", "4x7", "nan")
SWEEP = _ENTMAX.format(2, "two_keys", "33x2", "wide")
TINY = _ENTMAX.format("inf", "subnormals", "3x8", "weights")
TINY_SCORES = _ENTMAX.format(2, "subnormals", "3x8", "scores")
HUGE = _ENTMAX.format(2, "huge_gaps", "3x8", "overflow")
MIXED = _ENTMAX.format(2, "composition", "13x12", "mixed")
PADDING = "attention order=2 rule=adaptive:1 dtype=float64 family=padding shape=2x1x3x8x4x2 feature=mask seed=0"

FAULTS = (
    ("by_batch", "promises", "batch", RANDOM, True),
    ("leaks_across", "right", "batch", MIXED, False),
    ("by_stride", "promises", "layout", STRIDED, False),
    ("wrong_stride", "right", "layout", STRIDED, False),
    ("writes", "right", "layout", READ_ONLY, False),
    ("multiplies_garbage", "right", "garbage", PADDING, True),
    ("garbage_gradient", "right", "garbage", PADDING, True),
    ("ignores_axis", "right", "axis", CUBE, True),
    ("noisy_gradient", "right", "zero_upstream", RANDOM, True),
    ("infinite_slope", "right", "zero_upstream", KINK, True),
    ("poisoned_gradient", "right", "poison", SPECIAL, True),
    ("wrong_shape", "right", "renormalized", RANDOM, False),
    ("jagged", "right", "curve", SWEEP, False),
    ("gives_up", "right", "convergence", LARGE, False),
    ("draws", "right", "global_state", RANDOM, True),
    ("flushes", "right", "accuracy", TINY, False),
    ("misreads_subnormals", "right", "accuracy", TINY_SCORES, False),
    ("overflows", "right", "accuracy", HUGE, False),
    ("kink_off", "right", "gradients", KINK, False),
)
"""(fault, the same without it, the check that must say FAIL, the case, whether no other check sees it there)."""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "planted.py"
    path.write_text(SOURCE, encoding="utf-8")
    with loaded_here(tmp_path):
        yield path


@pytest.mark.parametrize(("name", "case"), sorted({(right, case) for _, right, _, case, _ in FAULTS}))
def test_without_a_fault_it_is_green(name: str, case: str, file: Path) -> None:
    results = verify(f"{file}:{name}", case=case, serial=True)
    assert failing(results) == {}
    for _, right, check, at, _ in FAULTS:
        if (right, at) == (name, case):
            assert check_of(results, check).verdict is Verdict.PASS
            assert check_of(results, check).decided > 0


@pytest.mark.parametrize(
    ("name", "check", "case", "only"), [pytest.param(n, c, at, only, id=f"{c}-{n}") for n, _, c, at, only in FAULTS]
)
def test_a_fault_turns_its_check_red(name: str, check: str, case: str, only: bool, file: Path) -> None:
    results = verify(f"{file}:{name}", case=case, serial=True)
    assert check_of(results, check).verdict is Verdict.FAIL, failing(results)
    assert check_of(results, check).failed > 0
    worst = check_of(results, check).worst
    assert worst is not None
    # What raised has no place where its output is wrong; to need writeable arrays is such a fault.
    assert worst.index is not None or name == "writes", worst.message
    if only:
        assert failing(results).keys() == {check}


def test_the_suite_quick_finds_each_fault_by_name(file: Path) -> None:
    """Without a case that somebody chose: one fault for each new check."""
    for name, check in (("ignores_axis", "axis"), ("jagged", "curve"), ("poisoned_gradient", "poison")):
        results = verify(f"{file}:{name}", op="entmax", order="2", dtype="float64", suite="quick", serial=True)
        assert check_of(results, check).verdict is Verdict.FAIL, failing(results)
