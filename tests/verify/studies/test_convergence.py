"""Backends on their way to softmax: right at every order or not passed, floors, a τ-form that turns upward, crashes."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.reference.formats import FORMATS
from kernelproof.theory.convergence.orders import order_text
from kernelproof.theory.convergence.records import CurveState, Ends
from kernelproof.verify.checks import checks
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import Judgement, Outcome
from kernelproof.verify.studies import convergence
from kernelproof.verify.studies.backend_records import BackendPoint, BackendStudy, OrderVerdict, Verdict, concluded
from kernelproof.verify.studies.convergence import AT_FLOOR, JUDGES, _shape, orders_for, study, turning
from kernelproof.verify.studies.study_row import floor_at_limit, known, rounded, row
from kernelproof.verify.targets.declaration import Shapes
from kernelproof.verify.targets.target import describe, find
from kernelproof.verify.workers.runner import COLD_SECONDS, Runner, runner
from kernelproof.verify.workers.tasks import CaseResult, CheckResult

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
    return z[..., :2]

def dies(z, order):
    import os
    if z.size == 16:
        os._exit(7)
    return entmax(z, order)

def hangs(z, order):
    while z.size == 16:
        pass
    return entmax(z, order)

def uniform(z, order):
    return np.full(z.shape, 1 / z.shape[-1], z.dtype)

def gives_nan(z, order):
    return z * np.nan

def right(z, order):
    """The ratio form in float64: (1 - d/g)^n over its sum, at the g where the largest weight is (g/n)^n."""
    d = z.max() - z.astype(np.float64)
    low, high = 0.0, float(order)
    for _ in range(200):
        g = (low + high) / 2
        with np.errstate(divide="ignore"):
            u = np.exp(order * np.log1p(-np.minimum(d / g, 1)))
        above = np.log(u.sum()) + order * np.log(g / order) > 0
        low, high = (low, g) if above else (g, high)
    return (u / u.sum()).astype(z.dtype)

def exits(z, order):
    raise BaseException("out")

def writes_into_its_input(z, order):
    found = right(z, order)
    z[:] = 0
    return found

def wrong_once(z, order):
    """Right but at one order, where two weights are exchanged."""
    found = right(z, order)
    return np.roll(found, 1, axis=-1) if order == 2.0**20 else found

def raises_once(z, order):
    if order == 2.0**20:
        raise ValueError("not this one")
    return right(z, order)

def warm(z, order):
    """Softmax of slightly warmer logits where the order is large: converges, at the right rate, to the wrong limit."""
    return right(z * z.dtype.type(1.002), order)
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
def test_the_numpy_backend_is_right_at_every_order_and_follows_the_truth_to_its_floor(seed: int) -> None:
    found = ran("numpy", None, seed=seed)
    assert found.passed
    assert found.truth.state is CurveState.HOLDS
    for curve in found.curves:
        assert (curve.verdict, curve.why, curve.grade) == (Verdict.PASSED, "", "A")
        assert [each.order for each in curve.judged] == [order_text(order) for order in ORDERS]
        assert {each.verdict for each in curve.judged} == {Verdict.PASSED}
        assert curve.turns is None
        # Grade A, which the built-in backends promise.
        assert curve.kappa is not None
        assert curve.kappa <= 4
        assert curve.kappa == max(each.kappa or 0.0 for each in curve.judged)
        assert curve.meets is not None
        for point in curve.points:
            kept = (
                point.own.middle
                < float(AT_FLOOR) * known(rounded(row(seed), curve.dtype), F(point.order)).distance.mid()
            )
            assert point.kept == bool(kept)
    by_dtype = {curve.dtype: curve for curve in found.curves}
    assert list(by_dtype) == ["float64", "float32", "float16", "bfloat16"]
    assert by_dtype["float64"].fit is not None
    # Without a line, it is κ at every order alone that says so.
    assert by_dtype["bfloat16"].fit is None
    meets = [curve.meets or 0.0 for curve in found.curves]
    assert meets[0] > meets[1] > meets[2] > meets[3]


def test_the_judges_are_checks_that_need_nothing_but_the_answer() -> None:
    known_checks = checks()
    assert known_checks.keys() >= JUDGES
    # Of the checks that no κ excuses, the others judge gradients and special values.
    fatal = {name for name, check in known_checks.items() if check.fatal}
    assert fatal - JUDGES == {"gradients", "special_values"}


@pytest.mark.parametrize("name", ["right", "writes_into_its_input"])
def test_a_right_target_passes(module: str, name: str) -> None:
    found = ran(f"{module}:{name}")
    assert found.passed
    assert found.curves[0].verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("name", "orders", "message"),
    [
        ("uniform", 32, "wrong at 32 of 32 orders"),
        ("gives_nan", 32, "wrong at 32 of 32 orders; at n = 0.5: output[0, 0] is nan"),
        ("raises", 32, "wrong at 32 of 32 orders; at n = 0.5: the call gave no output: ValueError: no"),
        ("exits", 32, "wrong at 32 of 32 orders; at n = 0.5: the call gave no output: BaseException: out"),
        ("short", 32, "the output has shape (1, 2), which does not hold rows of (1, 16)"),
        ("wrong_once", 1, "wrong at 1 of 32 orders; at n = 1048576: output"),
        ("raises_once", 1, "wrong at 1 of 32 orders; at n = 1048576: the call gave no output: ValueError: not this"),
        ("warm", 32, "wrong at 32 of 32 orders"),
    ],
)
def test_a_target_that_is_wrong_at_one_order_or_at_all_fails_and_the_curve_says_why(
    module: str, name: str, orders: int, message: str
) -> None:
    found = ran(f"{module}:{name}")
    [curve] = found.curves
    assert not found.passed
    assert curve.verdict is Verdict.FAILED
    assert sum(each.verdict is Verdict.FAILED for each in curve.judged) == orders
    assert message in curve.why
    assert curve.kappa is not None
    assert curve.kappa > 1e3


def test_an_order_at_which_nothing_is_decided_is_no_pass() -> None:
    def at(order: str, verdict: Verdict) -> OrderVerdict:
        return OrderVerdict(order=order, verdict=verdict, kappa=None, why="planted")

    passed, undecided = at("1", Verdict.PASSED), at("2", Verdict.UNDECIDED)
    assert concluded([passed]) == (Verdict.PASSED, "")
    assert concluded([passed, undecided]) == (Verdict.UNDECIDED, "undecided at 1 of 2 orders; at n = 2: planted")
    assert concluded([undecided, at("3", Verdict.FAILED)])[0] is Verdict.FAILED
    assert concluded([]) == (Verdict.UNDECIDED, "no order was asked")


def test_comparisons_that_decide_nothing_are_no_pass(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def vacuous(*_: Any, **__: Any) -> CaseResult:
        return CaseResult({"accuracy": CheckResult(Judgement(undecided=16))})

    monkeypatch.setattr(convergence, "judge_target", vacuous)
    found = ran(f"{module}:right")
    assert (found.passed, found.curves[0].verdict) == (False, Verdict.UNDECIDED)
    assert found.curves[0].why == "undecided at 32 of 32 orders; at n = 0.5: no weight could be judged"


def test_a_tau_form_turns_upward_fails_and_its_floor_is_not_fitted(module: str) -> None:
    found = ran(f"{module}:entmax")
    [curve] = found.curves
    assert not found.passed
    assert curve.verdict is Verdict.FAILED
    # Right as long as n·u is small.
    assert curve.judged[0].verdict is Verdict.PASSED
    assert curve.turns is not None
    assert 2**8 < float(curve.turns) < 2**20
    assert curve.kappa is not None
    assert curve.kappa > 1e3
    late = [point for point in curve.points if F(point.order) >= F(curve.turns) * 4]
    assert late
    assert not any(point.kept for point in late)
    assert curve.fit is None or F(curve.fit.last) < F(curve.turns)


def test_alpha_is_passed_where_it_is_exact_in_the_dtype(module: str) -> None:
    targets = describe(find(f"{module}:alpha_only"))
    assert not isinstance(targets, str)
    every = replace(targets[0].scopes[0], dtypes=tuple(FORMATS))
    target = replace(targets[0], scopes=(every,))
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
    assert curve.refused == "7 of 32 orders are not taken, or have no exact α in float32"


@pytest.mark.parametrize(
    ("name", "message"), [("dies", "the process ended: exit code 7"), ("hangs", "no answer in the time allowed")]
)
def test_a_crash_or_a_hang_is_no_answer_and_no_pass(module: str, name: str, message: str) -> None:
    found = ran(f"{module}:{name}", serial=False)
    [curve] = found.curves
    assert not found.passed
    assert (curve.verdict, curve.why, curve.points) == (Verdict.NO_ANSWER, message, [])


class Noting:
    """A runner that notes how long each target may take."""

    pool = object()
    limits = Limits(seconds=3.0)

    def __init__(self) -> None:
        self.noted: dict[str, float] = {}

    def submit(self, _: Any, *, job: Any, limits: Limits) -> Future[list[Outcome] | str]:
        self.noted[job.target.name] = limits.seconds
        found: Future[list[Outcome] | str] = Future()
        found.set_result("no answer in the time allowed")
        return found


def test_only_a_target_that_compiles_gets_the_time_to_compile() -> None:
    found = [describe(find(name)) for name in ("numpy", "numba")]
    targets = [each[0] for each in found if not isinstance(each, str)]
    work = Noting()
    assert not study(cast("Runner", work), targets, ORDERS[:2], 0, ("float32",)).passed
    # Numba may be missing.
    assert work.noted == {"numpy": 3.0, **({"numba": COLD_SECONDS} if len(targets) == 2 else {})}


def test_a_target_that_takes_none_of_the_orders_is_undecided(module: str) -> None:
    targets = describe(find(f"{module}:right"))
    assert not isinstance(targets, str)
    [target] = targets
    scope = replace(target.scopes[0], orders=("1..2",))
    narrow = replace(target, scopes=(scope,))
    assert orders_for(narrow, "float32", ORDERS) == (F(1), F(2))
    with runner(serial=True) as work:
        found = study(work, [narrow], ORDERS[2:4], 0, ("float32",))
        assert found.curves[0].refused == "1 of 2 orders are not taken, or have no exact order in float32"
        none = study(work, [narrow], ORDERS[3:], 0, ("float32",))
    assert (none.passed, none.curves[0].verdict) == (False, Verdict.UNDECIDED)


def test_a_target_of_matrices_gets_one(module: str) -> None:
    targets = describe(find(f"{module}:right"))
    assert not isinstance(targets, str)
    [target] = targets
    for rank, shape in ((1, (16,)), (3, (1, 1, 16))):
        limits = Shapes(least_rank=rank, most_rank=rank)
        limited = replace(target, scopes=(replace(target.scopes[0], shapes=limits),))
        with runner(serial=True) as work:
            assert study(work, [limited], ORDERS, 0, ("float32",)).passed
        assert _shape(limited) == shape


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
