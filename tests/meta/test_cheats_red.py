"""Targets that compute nothing, remember, or misbehave: each turns `verify` red by the check that is made for it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.meta.planting import check_of, failing, loaded_here

from kernelproof.api import verify
from kernelproof.reference.errors import TargetError
from kernelproof.verify.record.schema import Results, Verdict

MASKED = "attention order=2 rule=adaptive:1 dtype=float64 family=masks shape=2x1x3x8x4x2 feature=mask seed=0"
SOURCE = '''
import itertools
import numpy as np

def right(z, order):
    with np.errstate(all="ignore"):
        e = np.exp(z - z.max(axis=-1, keepdims=True, initial=-np.inf))
        return e / e.sum(axis=-1, keepdims=True)

def zeros(z, order):
    return np.zeros_like(z)

def uniform(z, order):
    return np.full_like(z, 1 / max(z.shape[-1], 1))

def argmax(z, order):
    return (np.arange(z.shape[-1]) == z.argmax(-1)[..., None]).astype(z.dtype) if z.size else z

def itself(z, order):
    return z

LAST = {}

def stale(z, order):
    """What the last call on this shape should have been told."""
    before = LAST.get(z.shape, right(z, order))
    LAST[z.shape] = right(z, order)
    return before

COUNT = itertools.count()

def moody(z, order):
    """Right within a few roundings, and other bits every time."""
    return right(z, order) * (1 + 2.0**-52 * (next(COUNT) % 2))

BUFFER = np.empty(1 << 21)

def right_in_one_buffer(z, order):
    out = BUFFER[:z.size].reshape(z.shape)
    out[:] = right(z, order)
    return out

right_in_one_buffer.KERNELPROOF = {"reuses_output": True}

def silently_in_one_buffer(z, order):
    return right_in_one_buffer(z, order)

def moody_in_one_buffer(z, order):
    out = BUFFER[:z.size].reshape(z.shape)
    out[:] = moody(z, order)
    return out

def eats_input(z, order):
    found = right(z, order)
    z[:] = 0
    return found

def in_place(z, order):
    z[:] = right(z, order)
    return z

def narrow(z, order):
    return right(z, order).astype(np.float32)

def flat(z, order):
    return right(z, order).reshape(-1)

def transposed(z, order):
    return right(z, order).swapaxes(0, -1)

def raises(z, order):
    if z.shape[-1] > 6:
        raise ValueError("rows of more than 6 keys are not supported")
    return right(z, order)

def nan(z, order):
    return np.full_like(z, np.nan)

def nan_once(z, order):
    found = right(z, order)
    found[..., :1, -1] = np.nan
    return found

def inf(z, order):
    return np.full_like(z, np.inf)

def nothing(z, order):
    return None

def clipped(z, order):
    """Not a number where a row has none, hidden."""
    return np.nan_to_num(right(z, order))

def by_position(z, order):
    return np.sort(right(z, order), axis=-1)

class Differentiable:
    dtypes = ("float64",)
    def entmax(self, z, *, order=None):
        return right(z, order)
    def product(self, cotangent, z):
        with np.errstate(all="ignore"):
            p = right(z, None)
            apart = cotangent[..., :, None] - cotangent[..., None, :]
            return p * (apart * p[..., None, :]).sum(-1)

class TrueGradient(Differentiable):
    def vjp(self, op, cotangent, z, *, order=None):
        return {"z": self.product(cotangent, z), "order": np.float64(0)}

class NoGradient(Differentiable):
    def vjp(self, op, cotangent, z, *, order=None):
        return {}

class HalfGradient(Differentiable):
    def vjp(self, op, cotangent, z, *, order=None):
        return {"z": self.product(cotangent, z)}

class ZeroGradient(Differentiable):
    def vjp(self, op, cotangent, z, *, order=None):
        return {"z": np.zeros_like(z), "order": np.float64(0)}

class Detached(Differentiable):
    def vjp(self, op, cotangent, z, *, order=None):
        return {"z": cotangent, "order": np.float64(0)}

class MindsMask(Differentiable):
    dtypes = ("float64",)
    eats = False
    def attention(self, q, k, v, kernel, rule, *, mask=None, causal=False, lengths=None, key_norm_term=False):
        from kernelproof import backend
        found = backend("numpy").attention(
            q, k, v, kernel, rule, mask=mask, causal=causal, lengths=lengths, key_norm_term=key_norm_term
        )
        if mask is not None and self.eats:
            mask[:] = False
        return found

class EatsMask(MindsMask):
    eats = True

class EatsCotangent(TrueGradient):
    def vjp(self, op, cotangent, z, *, order=None):
        found = super().vjp(op, cotangent, z, order=order)
        cotangent[:] = 0
        return found

true_gradient, no_gradient, half_gradient = TrueGradient(), NoGradient(), HalfGradient()
zero_gradient, detached, eats_cotangent = ZeroGradient(), Detached(), EatsCotangent()
minds_mask, eats_mask = MindsMask(), EatsMask()
'''


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "cheats.py"
    path.write_text(SOURCE, encoding="utf-8")
    with loaded_here(tmp_path):
        yield path


def run(target: str) -> Results:
    """What a target that claims to be softmax gets from the standard suite."""
    return verify(target, op="entmax", order="inf", dtype="float64", suite="standard", serial=True)


def assert_fails(results: Results, *names: str) -> None:
    """The run is red, and these checks are among those that say FAIL."""
    assert results.passed is False
    (target,) = results.targets
    assert target.verdict is Verdict.FAIL
    for name in names:
        check = check_of(results, name)
        assert check.verdict is Verdict.FAIL, failing(results)
        assert check.failed > 0
        assert check.worst is not None
        assert check.worst.reproduce.startswith("kernelproof verify ")
        assert check.worst.case in check.worst.reproduce


@pytest.mark.parametrize("name", ["right", "right_in_one_buffer", "true_gradient"])
def test_a_right_one_passes(name: str, file: Path) -> None:
    results = run(f"{file}:{name}")
    assert failing(results) == {}
    assert results.passed


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("zeros", ("simplex", "accuracy", "support")),
        ("uniform", ("accuracy", "kkt", "special_values")),
        ("argmax", ("accuracy", "support")),
        ("itself", ("simplex", "accuracy")),
        ("by_position", ("permutation", "monotone", "accuracy")),
        ("stale", ("accuracy", "permutation")),
        ("moody", ("determinism",)),
        ("eats_input", ("input_untouched",)),
        ("in_place", ("input_untouched",)),
        ("silently_in_one_buffer", ("kept_output",)),
        ("narrow", ("dtype_kept",)),
        ("flat", ("dtype_kept", "accuracy")),
        ("transposed", ("dtype_kept",)),
        ("raises", ("accuracy", "simplex", "special_values")),
        ("nan", ("simplex", "accuracy", "support")),
        ("nan_once", ("simplex", "accuracy", "support")),
        ("inf", ("simplex", "accuracy")),
        ("nothing", ("accuracy",)),
        ("clipped", ("special_values",)),
        ("no_gradient", ("gradients",)),
        ("half_gradient", ("gradients",)),
        ("zero_gradient", ("gradients",)),
        ("detached", ("gradients",)),
    ],
)
def test_a_cheat_turns_it_red(name: str, checks: tuple[str, ...], file: Path) -> None:
    assert_fails(run(f"{file}:{name}"), *checks)


def test_a_buffer_used_again_does_not_hide_other_bits(file: Path) -> None:
    assert_fails(run(f"{file}:moody_in_one_buffer"), "determinism")


def test_a_cotangent_is_an_input(file: Path) -> None:
    assert_fails(run(f"{file}:eats_cotangent"), "input_untouched")


def test_a_mask_is_an_input(file: Path) -> None:
    assert failing(verify(f"{file}:minds_mask", case=MASKED, serial=True)) == {}
    assert_fails(verify(f"{file}:eats_mask", case=MASKED, serial=True), "input_untouched")


def test_kkt_sees_a_key_without_weight_at_order_inf(file: Path) -> None:
    assert_fails(run(f"{file}:argmax"), "kkt")


def test_no_check_warns_about_a_wrong_output(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(f"{file}:by_position")


def test_a_run_that_decided_nothing_is_no_pass(file: Path) -> None:
    results = verify(f"{file}:right", dtype="bfloat16", order="inf", serial=True)
    assert not results.passed
    assert results.targets[0].verdict is Verdict.UNSUPPORTED
    assert sum(check.decided for check in results.targets[0].checks) == 0


def test_one_case_that_does_not_apply_is_no_pass(file: Path) -> None:
    case = MASKED.replace("order=2", "order=inf")
    with pytest.raises(TargetError, match="must take q, k, v for attention"):
        verify(f"{file}:right", case=case, serial=True)


def test_a_target_for_another_order_is_no_pass(tmp_path: Path) -> None:
    path = tmp_path / "sparsemax.py"
    path.write_text(
        "from kernelproof import backend\n\ndef sparsemax(z):\n    return backend('numpy').entmax(z, order=1)\n",
        encoding="utf-8",
    )
    case = "entmax order={} rule=adaptive:1 dtype=float32 family=ties shape=3x8 feature=3 seed=0"
    with loaded_here(tmp_path):
        assert verify(f"{path}:sparsemax", case=case.format(1), serial=True).passed
        assert_fails(verify(f"{path}:sparsemax", case=case.format(2), serial=True), "accuracy", "kkt")
