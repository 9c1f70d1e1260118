"""Backends on their way to softmax: floors predicted and seen, a τ-form that turns upward, crashes that are results."""

from __future__ import annotations

from fractions import Fraction as F
from pathlib import Path

import numpy as np
import pytest

from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.reference.formats import FORMATS
from kernelproof.theory.convergence.records import CurveState, Ends
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.studies.convergence import (
    AT_FLOOR,
    BackendPoint,
    BackendStudy,
    floor_at_limit,
    known,
    orders_for,
    rounded,
    row,
    study,
    turning,
)
from kernelproof.verify.targets.target import describe, find
from kernelproof.verify.workers.runner import runner

ORDERS = tuple(F(2) ** k for k in range(-1, 31))
TAU = '''
import numpy as np

def entmax(z, order):
    """p = [z/n − τ]₊^n by bisection in the dtype of z: it loses n·u."""
    n = z.dtype.type(order)
    low, high = z.max() / n - z.dtype.type(1), z.max() / n
    for _ in range(200):
        middle = (low + high) / z.dtype.type(2)
        mass = (np.maximum(z / n - middle, 0) ** n).sum(dtype=z.dtype)
        low, high = (middle, high) if mass > 1 else (low, middle)
    return np.maximum(z / n - low, 0) ** n

def alpha_only(z, alpha):
    return entmax(z, 1 / (alpha - 1))

def fixed(z):
    return entmax(z, 1)

def raises(z, order):
    raise ValueError("no")

def short(z, order):
    return z[:2]

def dies(z, order):
    import os
    if len(z) == 16:
        os._exit(7)
    return entmax(z, order)

def hangs(z, order):
    while len(z) == 16:
        pass
    return entmax(z, order)
'''


def ran(
    target: str, dtypes: tuple[str, ...] | None = ("float32",), *, serial: bool = True, seed: int = 0
) -> BackendStudy:
    with runner(serial=serial, limits=None if serial else Limits(seconds=3.0)) as work:
        [targets] = work.describe([find(target)])
        assert not isinstance(targets, str)
        return study(work, targets[:1], ORDERS, seed, dtypes)


@pytest.fixture
def module(tmp_path: Path) -> str:
    path = tmp_path / "tau_form.py"
    path.write_text(TAU)
    return str(path)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_numpy_backend_follows_the_truth_to_its_floor_and_stays_there(seed: int) -> None:
    found = ran("numpy", None, seed=seed)
    assert found.passed
    assert found.truth.state is CurveState.HOLDS
    for curve in found.curves:
        assert curve.turns is None
        # Grade A, which the built-in backends promise.
        assert curve.kappa is not None
        assert curve.kappa < 4
        assert curve.meets is not None
        for point in curve.points:
            kept = (
                point.own.middle
                < float(AT_FLOOR) * known(rounded(row(seed), curve.dtype), F(point.order)).distance.mid()
            )
            assert point.kept == bool(kept)
    by_dtype = {curve.dtype: curve for curve in found.curves}
    assert list(by_dtype) == ["float64", "float32", "float16", "bfloat16"]
    assert by_dtype["float64"].state is CurveState.HOLDS
    assert by_dtype["bfloat16"].fit is None
    meets = [curve.meets or 0.0 for curve in found.curves]
    assert meets[0] > meets[1] > meets[2] > meets[3]


def test_a_tau_form_turns_upward_and_its_floor_is_not_fitted(module: str) -> None:
    [curve] = ran(f"{module}:entmax").curves
    assert curve.turns is not None
    assert 2**8 < float(curve.turns) < 2**20
    assert curve.kappa is not None
    assert curve.kappa > 1e3
    late = [point for point in curve.points if F(point.order) >= F(curve.turns) * 4]
    assert late
    assert not any(point.kept for point in late)
    assert curve.fit is None or F(curve.fit.last) < F(curve.turns)


def test_a_built_in_that_turned_upward_would_not_pass(module: str) -> None:
    found = ran(f"{module}:entmax")
    assert found.passed  # of others a turn is a finding
    ours = found.model_copy(update={"curves": [found.curves[0].model_copy(update={"built_in": True})]})
    assert not ours.passed


def test_alpha_is_passed_where_it_is_exact_in_the_dtype(module: str) -> None:
    targets = describe(find(f"{module}:alpha_only"))
    assert not isinstance(targets, str)
    [target] = targets
    real = (F(3, 2), F(2**0.5), F(1, 2), F(2) ** 40)
    assert orders_for(target, "float32", (*ORDERS, *real))[-1] == F(1, 2)
    assert max(orders_for(target, "float32", ORDERS)) == 2**23
    assert max(orders_for(target, "float16", ORDERS)) == 2**10
    assert max(orders_for(target, "bfloat16", ORDERS)) == 2**7
    for dtype in ("float16", "float32"):
        for order in orders_for(target, dtype, ORDERS):
            alpha = 1 + 1 / order
            assert F(float(np.array(float(alpha)).astype(FORMATS[dtype].dtype))) == alpha
    [curve] = ran(f"{module}:alpha_only").curves
    assert curve.points[-1].order == str(2**23)
    assert curve.refused == "7 of 32 orders have no exact α in float32"


@pytest.mark.parametrize(
    ("name", "message"),
    [("raises", "32 of 32 orders: ValueError: no"), ("short", "the output has shape (2,), not (16,)")],
)
def test_a_target_that_fails_is_a_result(module: str, name: str, message: str) -> None:
    [curve] = ran(f"{module}:{name}").curves
    assert message in curve.failure
    assert curve.points == []


@pytest.mark.parametrize(("name", "message"), [("dies", "exit code 7"), ("hangs", "no answer in 3 s")])
def test_a_crash_or_a_hang_is_a_result(module: str, name: str, message: str) -> None:
    [curve] = ran(f"{module}:{name}", serial=False).curves
    assert message in curve.failure


def test_a_target_of_one_order_is_refused(module: str) -> None:
    with pytest.raises(TargetError, match="a parameter for the order or alpha"):
        ran(f"{module}:fixed")


def test_a_dtype_that_nobody_takes_is_refused(module: str) -> None:
    with pytest.raises(DomainError, match="no target takes bfloat16; they take: float32, float64"):
        ran(f"{module}:entmax", ("bfloat16",))


def test_the_predicted_floor_is_u_times_the_unit_of_the_row() -> None:
    """By the formula of the theory, written out: p_i + w_i[(1 − 2w_i/W)d_i + Σ w_j d_j/W], summed and halved."""
    logits = row(3)
    gaps = max(logits) - np.array(logits)
    p = np.exp(-gaps) / np.exp(-gaps).sum()
    unit = p + p * ((1 - 2 * p) * gaps + (p * gaps).sum())
    roundings = 8 * len(logits) * np.finfo(np.float64).eps  # sums of as many terms, each of a few products
    assert floor_at_limit(logits) == pytest.approx(unit.sum() / 2, rel=roundings)
    # (1 − d/n)^n is e^(−d) but for d²/2n of it, in numerators and sums, and d itself is within as much.
    apart = 4 * (1 + gaps.max()) ** 2 / 2.0**40
    assert known(logits, F(2) ** 40).unit == pytest.approx(unit.sum() / 2, rel=apart)


def point(order: int, error: float, own: float) -> BackendPoint:
    def ends(value: float) -> Ends:
        return Ends(lo=repr(value), hi=repr(value))

    return BackendPoint(order=str(order), error=ends(error), own=ends(own), floor=1e-3, kept=False)


def test_a_turn_is_a_rise_of_its_own_doing() -> None:
    down = [point(1, 0.5, 0.0), point(2, 0.1, 0.0)]
    assert turning([*down, point(4, 0.2, 0.19)]) == "2"
    # The truth itself rises there.
    assert turning([*down, point(4, 0.2, 0.0)]) is None
    # Within what two errors of grade A explain.
    assert turning([*down, point(4, 0.107, 0.1)]) is None
    assert turning([]) is None


def test_entmax_1_3_in_float32_turns_upward() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed; pip install 'kernelproof[torch]'")
    pytest.importorskip("entmax", reason="entmax is not installed; pip install entmax")
    [curve] = ran("entmax:entmax_bisect").curves
    assert curve.turns is not None
    assert 2**10 <= float(curve.turns) <= 2**16
