"""The first calls of a target: what they may leave behind, and what they tell."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelproof.api import verify
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.process.limits import watchdog
from kernelproof.verify.records import Array, Call
from kernelproof.verify.targets.caller import Caller
from kernelproof.verify.targets.declaration import Shapes
from kernelproof.verify.targets.target import Target, describe, find, load

SOURCE = """
import numpy as np

def attends(q, k, v, scale):
    s = (q.shape[-1] ** -0.5 if scale is None else scale) * (q @ np.swapaxes(k, -1, -2))
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)) @ v

def plain(q, k, v, scale=None):
    return attends(q, k, v, scale)

def grouped(q, k, v, scale=None):
    count = q.shape[-3] // k.shape[-3]
    return attends(q, np.repeat(k, count, axis=-3), np.repeat(v, count, axis=-3), scale)

def tiled(q, k, v, scale=None):
    # Head 1 reads key head 1, where it shares key head 0 with head 0.
    turn = np.arange(q.shape[-3]) % k.shape[-3]
    return attends(q, k[..., turn, :, :], v[..., turn, :, :], scale)

def equal(q, k, v, scale=None):
    assert v.shape[-1] == k.shape[-1], "as wide"
    return grouped(q, k, v, scale)

def broken(q, k, v, scale=None):
    raise ValueError("no")

def batched(q, k, v, scale=None):
    b, h, t, d = q.shape
    return plain(q, k, v, scale)

def tokens_first(q, k, v, scale=None):
    q, k, v = (np.swapaxes(x, 1, 2) for x in (q, k, v))
    return np.swapaxes(plain(q, k, v, scale), 1, 2)

ASKED = []

def entmax(z, order):
    ASKED.append((float(order), z.dtype.name))
    return z
"""


def described(folder: Path, name: str, **contract: object) -> Target:
    path = folder / "heads.py"
    lines = f"{name}.KERNELPROOF = {contract!r}\n"
    path.write_text(SOURCE + (lines if contract else ""), encoding="utf-8")
    found = describe(find(f"{path}:{name}"))
    assert not isinstance(found, str)
    return found[0]


@pytest.mark.parametrize(("name", "takes"), [("plain", False), ("grouped", True), ("tiled", True), ("broken", True)])
def test_grouped_heads_are_not_given_where_they_alone_raise(name: str, takes: bool, tmp_path: Path) -> None:
    target = described(tmp_path, name)
    scope = target.scope("attention")
    assert scope is not None
    assert scope.shapes.grouped_heads is takes
    assert ("fewer key heads than heads, for which it raises ValueError" in target.note) is not takes


def test_narrower_values_are_not_given_where_they_alone_raise(tmp_path: Path) -> None:
    for name in ("equal", "grouped"):
        target = described(tmp_path, name)
        scope = target.scope("attention")
        assert scope is not None
        assert scope.shapes.grouped_heads
        assert scope.shapes.equal_widths is (name == "equal")
        assert ("another width than the keys, for which it raises AssertionError: as wide" in target.note) is (
            name == "equal"
        )


@pytest.mark.parametrize(("name", "takes"), [("plain", True), ("grouped", False)])
def test_what_is_declared_of_heads_stands(name: str, takes: bool, tmp_path: Path) -> None:
    scope = described(tmp_path, name, grouped_heads=takes).scope("attention")
    assert scope is not None
    assert scope.shapes.grouped_heads is takes


@pytest.mark.parametrize(
    ("name", "passes"), [("plain", True), ("grouped", True), ("equal", True), ("tiled", False), ("broken", False)]
)
def test_heads_are_judged_as_they_are_taken(name: str, passes: bool, tmp_path: Path) -> None:
    path = tmp_path / "heads.py"
    path.write_text(SOURCE, encoding="utf-8")
    found = verify(f"{path}:{name}", op="attention", order="inf", dtype="float64", suite="quick", serial=True)
    assert found.passed is passes


def test_axes_beside_the_usual_four_are_not_given_where_they_raise(tmp_path: Path) -> None:
    target = described(tmp_path, "batched")
    scope = target.scope("attention")
    assert scope is not None
    assert (scope.shapes.least_rank, scope.shapes.most_rank) == (4, 4)


def test_what_raises_for_the_usual_axes_is_never_given_others_instead(tmp_path: Path) -> None:
    """With an inner batch of 1, the heads of this function are where it looks for them; it passed on these alone."""
    scope = described(tmp_path, "tokens_first").scope("attention")
    assert scope is not None
    assert scope.shapes == Shapes()
    (tmp_path / "other").mkdir()
    scope = described(tmp_path / "other", "tokens_first", layout="bthd").scope("attention")
    assert scope is not None
    assert (scope.layout, scope.shapes.least_rank, scope.shapes.grouped_heads) == ("bthd", 4, False)


@pytest.mark.parametrize(("asked", "passes"), [({}, False), ({"layout": "bthd"}, True)])
def test_tokens_before_heads_are_a_layout_that_is_declared(
    asked: dict[str, str], *, passes: bool, tmp_path: Path
) -> None:
    path = tmp_path / "heads.py"
    path.write_text(SOURCE, encoding="utf-8")
    options: dict[str, Any] = {"order": "inf", "dtype": "float64", "suite": "quick", "serial": True, "contract": asked}
    found = verify(f"{path}:tokens_first", op="attention", **options)
    assert found.passed is passes
    assert ('declares layout = "bthd"' in found.targets[0].note) is not passes


def test_a_probe_keeps_to_what_the_run_is_restricted_to(tmp_path: Path) -> None:
    path = tmp_path / "asked_orders.py"
    path.write_text(SOURCE, encoding="utf-8")
    place = find(f"{path}:entmax")
    for selection in (Selection(orders=("3/2",), dtypes=("float16",)), Selection(alphas=("5/3",), dtypes=("float16",))):
        assert not isinstance(describe(place, asked=selection), str)
    asked = load(place)[1].ASKED
    assert asked
    assert set(asked) == {(1.5, "float16")}


HALF = "entmax order=3 rule=adaptive:1 dtype=float16 family=random shape=3x8 feature=1 seed=0"
TORCH = """
import torch

def whole(z, alpha):
    return torch.softmax(z * alpha, -1)

def branches(z, alpha):
    return torch.softmax(z, -1) if alpha == 1 else torch.softmax(z * alpha, -1)

def sparsemax(z, alpha):
    s = z.sort(-1, descending=True).values
    inside = 1 + torch.arange(1, z.shape[-1] + 1) * s > s.cumsum(-1)
    total = torch.where(inside, s, 0).sum(-1, keepdim=True)
    return torch.relu(z - (total - 1) / inside.sum(-1, keepdim=True)) + (alpha - 2) * z

def inverse(z, order):
    # As exact as z only if its reciprocal is no half.
    alpha = 1 + 1 / order
    p = torch.softmax(z.double() * (alpha - 1 if order < 1e6 else 1), -1)
    return p.to(z.dtype)

def refuses(z, alpha):
    assert alpha != 3 or isinstance(alpha, int | float), "no array here"
    return torch.softmax(z * alpha, -1)

def cut(z, alpha):
    return torch.softmax(z * float(alpha), -1)

def near(z, alpha):
    # Most rows of three keep one key, whose weight is 1 whatever alpha is.
    p = torch.relu(1 - (z.amax(-1, keepdim=True) - z) * alpha)
    return p / p.sum(-1, keepdim=True)
"""


@pytest.mark.torch
@pytest.mark.parametrize(("name", "offered"), [("whole", True), ("branches", True), ("near", True), ("cut", False)])
def test_the_gradients_that_autograd_gives_are_asked_for_and_others_are_listed(
    name: str, *, offered: bool, tmp_path: Path
) -> None:
    path = tmp_path / "alphas.py"
    path.write_text(TORCH, encoding="utf-8")
    found = describe(find(f"{path}:{name}"))
    assert not isinstance(found, str)
    scope = found[0].scope("entmax")
    assert scope is not None
    assert scope.gradients == (("z", "alpha", "order") if offered else ("z",))
    assert ("the gradient in alpha is not tried: autograd gives none" in found[0].note) is not offered


@pytest.mark.torch
def test_a_wrong_gradient_in_alpha_is_found_and_a_call_without_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "alphas.py"
    path.write_text(TORCH, encoding="utf-8")
    line = "entmax alpha={} rule=adaptive:1 dtype=float64 family=random shape=3x8 feature=1 seed=0"

    def failures(name: str, alpha: str) -> str:
        target = verify(f"{path}:{name}", case=line.format(alpha), serial=True).targets[0]
        return " ".join(each.message for check in target.checks for each in check.failures)

    assert "d/dalpha" in failures("sparsemax", "2")
    assert "d/dalpha" not in failures("cut", "3/2")
    assert failures("branches", "1") == ""


@pytest.mark.torch
def test_numbers_that_nothing_declares_are_given_as_exact_as_floats_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "alphas.py"
    path.write_text(TORCH, encoding="utf-8")

    def pulled(name: str, number: str, dtype: str = "float16") -> dict[str, Array]:
        found = describe(find(f"{path}:{name}"))
        assert not isinstance(found, str)
        case = Case.parse(f"entmax {number} rule=adaptive:1 dtype={dtype} family=random shape=3x8 feature=1 seed=0")
        return Caller(found[0])(case, Call(inputs_of(case), "vjp")).arrays

    z, order = inputs_of(Case.parse(HALF)).arrays["z"].astype(np.float64), 3
    g = np.asarray(inputs_of(Case.parse(HALF)).cotangent).astype(np.float64)
    e = np.exp((z - z.max(-1, keepdims=True)) / order)
    p = e / e.sum(-1, keepdims=True)
    exact = p * (g - (p * g).sum(-1, keepdims=True)) / order
    # One rounding to float16, of numbers below 1; 1/3 rounded to float16 would add 2^-12 to every weight.
    np.testing.assert_allclose(
        pulled("inverse", "order=3")["z"].astype(np.float64), exact, rtol=2.0**-11, atol=2.0**-25
    )
    assert set(pulled("inverse", "order=inf")) == {"z"}
    assert {"z", "alpha"} <= set(pulled("refuses", "alpha=2"))
    assert set(pulled("refuses", "alpha=3")) == {"z"}


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX systems fork")
def test_a_child_that_comes_back_leaves_the_watchdog() -> None:
    # The thread of the watchdog is not in the child; one that cancels it waits for ever and outlives the run.
    process = os.getpid()
    try:
        with watchdog(30.0, 2**32):
            child = os.fork()
    finally:
        if os.getpid() != process:
            os._exit(7)
    end = time.monotonic() + 10
    ended = (0, 0)
    while ended[0] == 0 and time.monotonic() < end:
        ended = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 7
