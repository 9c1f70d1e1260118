"""Targets with one planted fault: NumPy alone, and right but for that. The test of each check has its `FAULTS`.

`text_of` gives the file of a target, faulty or mended; `shows` holds its script against both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.meta.planting import check_of, loaded_here
from tests.verify.witness.test_script import pasted

from kernelproof.api import verify
from kernelproof.verify.record.schema import Verdict

RIGHT = '''
import os, signal
import numpy as np

class Right:
    """Orders from 1 on by bisection, and attention at order inf, in float64 inside."""
    KERNELPROOF = {"rule": "adaptive:1", "gradients": ["z"], "empty_row": "nan", "array_library": "numpy"}
    odd = False

    def gaps(self, z):
        wide = z.astype(np.float64)
        top = wide.max(-1, keepdims=True, initial=-np.inf)
        with np.errstate(invalid="ignore"):
            return np.where(np.isneginf(wide), np.inf, np.where(np.isfinite(top), top, np.nan) - wide)

    def shares(self, terms):
        with np.errstate(invalid="ignore", divide="ignore"):
            return terms / terms.sum(-1, keepdims=True)

    def powers(self, gaps, n):
        if n == np.inf:
            return np.exp(-gaps)
        held = np.where(np.isnan(gaps), np.inf, gaps)
        low, high = np.zeros((*gaps.shape[:-1], 1)), np.full((*gaps.shape[:-1], 1), float(n))
        for _ in range(100):
            middle = (low + high) / 2
            mass = (np.maximum((middle - held) / n, 0) ** n).sum(-1, keepdims=True)
            low, high = np.where(mass < 1, middle, low), np.where(mass < 1, high, middle)
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = np.exp(n * np.log1p(-np.minimum(gaps / high, 1)))
        return np.where(gaps < high, inside, np.where(np.isnan(gaps), np.nan, 0))

    def weights_of(self, z, n):
        return self.shares(self.powers(self.gaps(z), n))

    def entmax(self, z, order, dim=-1):
        rows = np.moveaxis(z, dim, -1)
        return np.moveaxis(self.weights_of(rows, order).astype(z.dtype), -1, dim)

    def vjp(self, op, cotangent, z, order, dim=-1):
        p, g = self.weights_of(z, order), cotangent.astype(np.float64)
        w = np.where(p > 0, p ** (1 - 1 / order), 0 * p)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (w * g).sum(-1, keepdims=True) / w.sum(-1, keepdims=True)
            return {"z": (w * (g - mean)).astype(z.dtype)}

class Weights(Right):
    """Order 2, and what the caller asks for in a row without keys."""
    KERNELPROOF = {"rule": "adaptive:1", "order": 2, "op": "weights", "array_library": "numpy"}
    entmax = vjp = None

    def weights(self, scores, empty="nan"):
        lost = np.isneginf(scores).all(-1, keepdims=True)
        if empty == "raise" and lost.any():
            raise ValueError("an empty row")
        filled = np.where(lost, {"zeros": 0}.get(empty, np.nan), self.weights_of(scores, 2))
        return filled.astype(scores.dtype)

class Attention(Right):
    KERNELPROOF = {"rule": "adaptive:1", "order": "inf", "op": "attention", "array_library": "numpy"}
    entmax = vjp = None

    def attention(self, q, k, v, mask=None):
        group = q.shape[-3] // k.shape[-3]
        wide = [part.astype(np.float64) for part in (q, np.repeat(k, group, -3), np.repeat(v, group, -3))]
        with np.errstate(invalid="ignore", over="ignore"):
            scores = wide[0] @ np.swapaxes(wide[1], -1, -2) / np.sqrt(q.shape[-1])
        scores = scores if mask is None else np.where(mask, scores, -np.inf)
        return self.mixed(self.weights_of(scores, np.inf), wide[2], mask).astype(q.dtype)

    def mixed(self, weights, values, mask):
        kept = values if mask is None else np.where(mask.any(-2)[..., None], values, 0)
        return weights @ kept
'''
TORCH = """
import torch

NOISE = torch.Generator()

class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(context, z, factor):
        p = torch.softmax(z.double(), -1)
        context.save_for_backward(p)
        context.factor = factor
        return p.to(z.dtype)

    @staticmethod
    def backward(context, g):
        (p,) = context.saved_tensors
        return (context.factor * p * (g - (p * g).sum(-1, keepdim=True))).to(g.dtype), None

class Right:
    KERNELPROOF = {"order": "inf", "array_library": "torch"}

    def entmax(self, z):
        return Scaled.apply(z, 1.0)
"""
PLANTED = "planted"
MENDED = "\n\n{planted} = {parent}()\n"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        check: the one that it is planted for.
        title: what is wrong, in a word.
        body: lines of a class `Planted`.
        case: where it is seen.
        parent: what the class is right by.
        right: the code of that.
    """

    check: str
    title: str
    body: str
    case: str
    parent: str = "Right"
    right: str = RIGHT

    def __str__(self) -> str:
        return f"{self.check}-{self.title}"


def text_of(fault: Fault, *, mended: bool) -> str:
    """The file with the target `PLANTED`."""
    lines = "\n".join(f"    {line}" for line in fault.body.strip("\n").split("\n"))
    planted = f"\nclass Planted({fault.parent}):\n{lines}\n\n{PLANTED} = Planted()\n"
    return fault.right + planted + (MENDED.format(planted=PLANTED, parent=fault.parent) if mended else "")


def parameters(faults: tuple[Fault, ...], *marks: pytest.MarkDecorator) -> list[Any]:
    """Each fault; only the first of a check outside of the nightly profile, since each starts two interpreters."""
    seen: set[str] = set()
    found = []
    for fault in faults:
        more = [pytest.mark.nightly] if fault.check in seen else []
        seen.add(fault.check)
        found.append(pytest.param(fault, marks=[*marks, *more], id=str(fault)))
    return found


Shown = Callable[[Fault], None]


def shows(fault: Fault, folder: Path) -> None:
    """Assert that the check finds the fault, and that its script shows it and is content with the mended target."""
    home, empty = folder / "home", folder / "empty"
    home.mkdir()
    empty.mkdir()
    file = home / "planted_target.py"
    file.write_text(text_of(fault, mended=False), encoding="utf-8")
    with loaded_here(home):
        results = verify(f"{file}:{PLANTED}", case=fault.case, serial=True)
    check = check_of(results, fault.check)
    assert check.verdict is Verdict.FAIL
    assert check.script
    assert "kernelproof" not in check.script
    run = pasted(check.script, empty)
    assert run.returncode == 1, (check.script, run.stdout, run.stderr)
    if "the call gave no output" not in check.script or "TargetError" in check.script:
        assert "Traceback" not in run.stderr, (check.script, run.stderr)
        assert (run.stdout + run.stderr).strip()
    file.write_text(text_of(fault, mended=True), encoding="utf-8")
    run = pasted(check.script, empty)
    assert run.returncode == 0, (check.script, run.stdout, run.stderr)
    assert list(empty.iterdir()) == []


def entmax_case(order: str, family: str, shape: str, feature: str) -> str:
    return f"entmax order={order} rule=adaptive:1 dtype=float64 family={family} shape={shape} feature={feature} seed=0"


RANDOM = entmax_case("2", "random", "3x8", "1")
LARGE = entmax_case("64", "random", "3x8", "1")
SWEEP = entmax_case("2", "two_keys", "33x2", "wide")
SPECIAL = entmax_case("2", "special", "4x7", "nan")
POLICY = "weights order=2 rule=adaptive:1 dtype=float64 family=masks shape=3x10 feature=all seed=0"
PADDING = "attention order=inf rule=adaptive:1 dtype=float64 family=padding shape=2x1x3x8x4x2 feature=mask seed=0"


def weighed(lines: str) -> str:
    """A fault in the weights `p` of rows `z`."""
    body = "\n".join(f"    {line}" for line in lines.strip("\n").split("\n"))
    return f"def weights_of(self, z, n):\n    p = super().weights_of(z, n)\n{body}"


def returned(change: str) -> str:
    """A change of what a call without an axis returns."""
    return f"def entmax(self, z, order):\n    return super().entmax(z, order){change}"


def in_gradient(lines: str) -> str:
    """A fault in the gradient `found` for the upstream `g`."""
    body = "\n".join(f"    {line}" for line in lines.strip("\n").split("\n"))
    return (
        "def vjp(self, op, g, z, order, dim=-1):\n"
        f"    found = super().vjp(op, g, z, order)['z']\n{body}\n"
        "    return {'z': found}"
    )


def _torch(check: str, title: str, body: str) -> Fault:
    case = "entmax order=inf rule=adaptive:1 dtype=float32 family=random shape=3x8 feature=1 seed=0"
    return Fault(check, title, f"def entmax(self, z):\n    {body}", case, right=TORCH)


TORCH_FAULTS = (
    _torch("gradients", "torch factor", "return Scaled.apply(z, 1.5)"),
    _torch("gradients", "torch detached", "return super().entmax(z.detach())"),
    _torch("accuracy", "torch array", "return super().entmax(z).detach().numpy()"),
    _torch("dtype_kept", "torch double", "return super().entmax(z).double()"),
    _torch("dtype_kept", "torch short", "return super().entmax(z)[..., 1:]"),
    _torch("determinism", "torch noise", "return super().entmax(z) * (1 + torch.rand((), generator=NOISE))"),
    _torch("global_state", "torch seed", "torch.manual_seed(0); return super().entmax(z)"),
)
