"""Negative orders in the built-in backends, against the certified truth, in condition units."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernelproof import reference
from kernelproof.api import verify
from kernelproof.reference.errors import DomainError
from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Nearest
from kernelproof.verify import backends

Floats = NDArray[np.float64]
U = 2.0**-53
INF = math.inf
# Grade A, and half a unit in the last place of the truth as float64.
KAPPA = 4.5
# Below −1 by as little as float64 can tell, and so far that only log1p keeps the digits.
ADAPTIVE_ORDERS = (-1 - 2.0**-52, -1.5, -2.0, -3.0, -64.0, -64.5, -1e6, -1e8)
ORDERS = (-0.25, -1.0, *ADAPTIVE_ORDERS)
RULES = (Fixed(1.25), Fixed(40.0), Anchored(0.75), Anchored(100.0), Adaptive(), Adaptive(2.5))
SMALLEST = 2.0**-1074


class Plain:
    """A backend as a function of NumPy arrays, whatever its own arrays are."""

    def __init__(self, name: str) -> None:
        self.name, self.backend = name, backends.backend(name)

    def given(self, value: Any) -> Any:
        if self.name != "torch" or not isinstance(value, np.ndarray):
            return value
        torch = pytest.importorskip("torch")
        return torch.from_numpy(value.copy())

    def call(self, op: str, *arguments: Any, **options: Any) -> Any:
        options = {name: self.given(value) for name, value in options.items()}
        found = getattr(self.backend, op)(*map(self.given, arguments), **options)
        return found if isinstance(found, tuple | dict) else np.asarray(found)

    def vjp(self, op: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        options = {name: self.given(value) for name, value in options.items()}
        found = self.backend.vjp(op, *map(self.given, arguments), **options)
        return {name: np.asarray(part) for name, part in found.items()}


@pytest.fixture(params=["numba", "numpy", "torch"])
def backend(request: pytest.FixtureRequest) -> Plain:
    if request.param == "torch":
        pytest.importorskip("torch", reason="torch is not installed; pip install 'kernelproof[torch]'")
    return Plain(request.param)


def random_rows() -> list[Floats]:
    """Random at several scales, near ties, ties, gaps to the end of the range, and from 1 to 4096 keys."""
    rng = np.random.default_rng(5)
    rows = [rng.normal(size=16) * scale for scale in (1e-3, 1.0, 30.0, 1e3)]
    rows += [1.0 + rng.normal(size=16) * 10.0**-power for power in (4, 9, 15)]
    rows += [np.zeros(5), np.array([3.0]), np.array([0.0, -INF, -0.5, -INF]), np.array([-INF, 2.0])]
    rows += [np.append(0.0, -(10.0 ** np.arange(-300.0, 301.0, 20.0))), np.array([1.7e308, 0.0, -1.7e308])]
    rows += [rng.normal(size=4096), np.where(np.arange(4096) == 7, 0.0, -100 - rng.random(4096)), np.zeros(4096)]
    return rows


def rate(row: Floats, n: float, p: Floats, rule: Any) -> Floats:
    """``|n|·x/(1 + x)``, x = d/|γ|: how much a weight moves, relative to itself, per relative error of its gap."""
    with np.errstate(over="ignore", under="ignore"):
        if isinstance(rule, Adaptive):
            # |n| + λ + βd = |n|·p^(1/n)
            part = (rule.beta * (row.max() / 2 - row / 2)) * p ** (-1 / n) * 2
            return np.where(p > 0, np.minimum(part, -n), 0.0)
        reach = rule.gamma if isinstance(rule, Anchored) else rule.h**2 / 2 - row.max()
        return np.asarray(-n * (1 - 1 / (1 + (row.max() - row) / reach)))


def assert_grade_a(found: Any, row: Floats, n: float, rule: Any) -> None:
    kept = row > -INF
    expected = reference.weights(row, Kernel(n), rule).weights.round("float64").astype(float)
    assert not found[~kept].any()
    p, moves = expected[kept], rate(row[kept], n, expected[kept], rule)
    share = p * p ** (-1 / n) if isinstance(rule, Adaptive) else p
    unit = p * (1 + moves + (share * moves).sum() / share.sum()) + SMALLEST / U
    np.testing.assert_array_less(np.abs(found[kept] - p), KAPPA * U * unit, err_msg=f"{n} {rule} {row[:5]}")


@pytest.mark.parametrize("n", ADAPTIVE_ORDERS)
def test_entmax_is_of_grade_a(backend: Plain, n: float) -> None:
    for row in random_rows():
        assert_grade_a(backend.call("entmax", row, order=n), row, n, Adaptive())


@pytest.mark.parametrize("n", ORDERS)
def test_rules_with_a_given_bandwidth_are_of_grade_a(backend: Plain, n: float) -> None:
    for row in random_rows():
        for rule in (Anchored(0.75), Anchored(1e3)):
            assert_grade_a(backend.call("weights", row, Kernel(n), rule), row, n, rule)
        if row.size < 4096:
            moved = np.where(row > -INF, row / 4 - row.max() / 4, row)
            for fixed in (Fixed(0.1), Fixed(30.0)):
                assert_grade_a(backend.call("weights", moved, Kernel(n), fixed), moved, n, fixed)


def size_of(row: Floats, n: float, rule: Any, name: str) -> float:
    """The terms of the derivative in a parameter without their signs, for cotangents of size 1."""
    row = row[row > -INF]
    p = reference.weights(row, Kernel(n), rule).weights.round("float64").astype(float)
    if name == "order":
        logs = np.log(np.maximum(p, SMALLEST) / p.max()) / n
        return float((p * (logs * logs if isinstance(rule, Adaptive) else logs)).sum())
    return float((p * rate(row, n, p, rule)).sum() / getattr(rule, name))


def of_truth(row: Floats, g: Floats, kernel: Kernel, rule: Any) -> dict[str, Any]:
    found = reference.weights_vjp(row, g, kernel, rule)
    return {name: part.round("float64").astype(float) for name, part in found.items()}


@pytest.mark.parametrize("n", ORDERS)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_gradients_are_those_of_the_truth(backend: Plain, n: float, rule: Any) -> None:
    if isinstance(rule, Adaptive) and n >= -1:
        return
    rng = np.random.default_rng(11)
    rows = [-np.abs(rng.normal(size=12)), -1 - rng.random(12) * 1e-9, np.array([-1.0, -1, -1, -2, -5])]
    rows += [-(10.0 ** np.linspace(-3, 30, 12)), np.array([-1.0, -INF, -3, -0.5]), -4 * rng.random(300)]
    for row in rows:
        g = rng.normal(size=row.size)
        found, expected = backend.vjp("weights", g, row, Kernel(n), rule), of_truth(row, g, Kernel(n), rule)
        assert found.keys() == expected.keys() - {"alpha"}
        for name in found:
            want = expected[name]
            # Some 8 roundings, of numbers whose condition, at most log p of the keys that count, is below 100; a
            # derivative in a parameter may be small only because the terms of its sum cancel.
            size = float(np.abs(want).max()) + (0.0 if name == "scores" else 2.0**-4 * size_of(row, n, rule, name))
            atol = 8 * 100 * U * size + np.finfo(np.float64).tiny
            np.testing.assert_allclose(found[name], want, rtol=0, atol=atol, err_msg=f"{name} {row[:5]}")


def test_gradients_of_entmax_in_alpha(backend: Plain) -> None:
    row, g = np.array([0.3, 0.0, -0.2, 0.25, -3.0]), np.array([1.0, -0.5, 0.25, 2.0, 1.0])
    for alpha in (Fraction(1, 4), 0.5, 0.75, 1 - 2.0**-20):
        found = backend.vjp("entmax", g, row, alpha=alpha)
        truth = reference.entmax_vjp(row, g, alpha=alpha)
        for name in ("z", "alpha"):
            want = truth[name].round("float64").astype(float)
            np.testing.assert_allclose(found[name], want, rtol=0, atol=512 * U * np.abs(want).max())


def test_orders_without_end_meet_softmax(backend: Plain) -> None:
    row, g = np.random.default_rng(2).normal(size=30), np.random.default_rng(3).normal(size=30)
    limit, slopes = backend.call("entmax", row), backend.vjp("entmax", g, row, alpha=1)
    for n in (-1e6, -1e8, -1e20, -1e300, -1.7e308):
        # The first term of the difference: (λ + d)²/2|n|, with λ below log 30 and gaps below 6.
        bound = -50 / n + 64 * U
        np.testing.assert_allclose(backend.call("entmax", row, order=n), limit, rtol=bound, atol=0)
    near = backend.vjp("entmax", g, row, alpha=1 - 2.0**-50)
    for name, want in slopes.items():
        np.testing.assert_allclose(near[name], want, rtol=0, atol=1e-12 * np.abs(want).max())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("n", [-1.5, -2.0, -64.0, -1e6])
def test_narrow_dtypes_are_rounded_once(backend: Plain, dtype: str, n: float) -> None:
    z = np.random.default_rng(4).normal(size=(3, 40)).astype(dtype)
    found, exact = backend.call("entmax", z, order=n), backend.call("entmax", z.astype(np.float64), order=n)
    assert found.dtype == z.dtype
    # Half a unit in the last place, and what the errors of both may add.
    np.testing.assert_allclose(
        found, exact, rtol=(0.5 + 2.0**-4) * float(np.finfo(dtype).eps), atol=float(np.finfo(dtype).tiny)
    )
    g = np.ones_like(z) * np.arange(40, dtype=dtype) / 8
    assert backend.vjp("entmax", g, z, order=n)["z"].dtype == z.dtype


def test_fixed_rows_without_a_kernel_are_empty(backend: Plain) -> None:
    # 0.1² is no float64, and its exact half is not the float64 next to it.
    h = 0.1
    half = float(Fraction(h) ** 2 / 2)
    edge = half if Fraction(half) > Fraction(h) ** 2 / 2 else np.nextafter(half, 1)
    rows = np.array([[edge, 0.0], [np.nextafter(edge, 0), 0.0], [1.0, -INF], [-1.0, -3.0], [-INF, -INF]])
    for n in (-0.5, -1.0, -2.0, -1e6):
        found = backend.call("weights", rows, Kernel(n), Fixed(h), empty="zeros")
        assert found.any(axis=1).tolist() == [False, True, False, True, False]
        assert found[1][0] > 1 - 1e-7
        with pytest.raises(DomainError, match="row"):
            backend.call("weights", rows, Kernel(n), Fixed(h), empty="raise")
        found = backend.vjp("weights", np.ones_like(rows) + np.eye(5, 2), rows, Kernel(n), Fixed(h))
        assert not found["scores"][[0, 2, 4]].any()
        assert all(np.isfinite(part).all() for part in found.values())
    exact = np.array([[2.0, 0.0]])
    assert np.isnan(backend.call("weights", exact, Kernel(-1), Fixed(2))).all()
    uniform = backend.call("weights", rows[:1], Kernel(-1), Fixed(h), empty="uniform")
    np.testing.assert_array_equal(uniform, [[0.5, 0.5]])


@pytest.mark.parametrize("n", [-1.5, -2.0, -64.0, -1e6])
def test_special_values_stay_in_their_row(backend: Plain, n: float) -> None:
    z = np.random.default_rng(1).normal(size=(5, 4))
    expected = backend.call("entmax", z, order=n)
    z[1, 2], z[2, 0], z[3], z[1, 0] = np.nan, INF, -INF, -INF
    found = backend.call("entmax", z, order=n)
    np.testing.assert_array_equal(found[[0, 4]], expected[[0, 4]])
    assert np.isnan(found[1:4]).all()
    gradient = backend.vjp("entmax", np.arange(20.0).reshape(5, 4), z, order=n)["z"]
    assert np.isfinite(gradient[[0, 4]]).all()
    assert not gradient[3].any()
    masked = np.array([[1.0, -INF, 0.5], [-INF, -INF, 3.0]])
    alone = backend.call("entmax", np.array([1.0, 0.5]), order=n)
    found = backend.call("entmax", masked, order=n)
    np.testing.assert_allclose(found, [[alone[0], 0, alone[1]], [0, 0, 1]], rtol=8 * U)
    assert found[0, 1] == 0


def heads(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape) / 2


@pytest.mark.parametrize("rule", [*RULES[:5], Nearest(3, Adaptive()), Nearest(2, Fixed(2.0))], ids=str)
@pytest.mark.parametrize("n", [-1.5, -2.0, -1e6])
def test_attention_and_regression_are_those_of_the_truth(backend: Plain, n: float, rule: Any) -> None:
    q, k, v, g = heads(0, 2, 3, 4), heads(1, 1, 7, 4), heads(2, 1, 7, 2), heads(3, 2, 3, 2)
    kernel, mask = Kernel(n), np.array([True, True, False, True, True, True, True])
    options: dict[str, Any] = {"key_norm_term": True, "scale": 1.0, "mask": mask}
    found = backend.call("attention", q, k, v, kernel, rule, **options)
    gradients = backend.vjp("attention", g, q, k, v, kernel, rule, **options)
    truth = reference.attention(q, k, v, kernel, rule, **options)
    # Condition units of these rows are below 2^6, and Σ|w·v| is below 1.
    np.testing.assert_allclose(np.asarray(found), truth.y.round("float64"), rtol=0, atol=256 * U)
    exact = reference.attention_vjp(q, k, v, g, kernel, rule, **options)
    for name, part in gradients.items():
        want = exact[name].round("float64").astype(float)
        np.testing.assert_allclose(part, want, rtol=0, atol=2048 * U * max(np.abs(want).max(), 2.0**-60), err_msg=name)
    y = backend.call("regression", q[0], k[0], v[0], kernel, rule)
    np.testing.assert_allclose(
        y, reference.regression(q[0], k[0], v[0], kernel, rule).y.round("float64"), rtol=0, atol=256 * U
    )


def test_info_has_signed_thresholds_and_the_whole_support(backend: Plain) -> None:
    q, k, v = heads(0, 1, 3, 4), heads(1, 1, 7, 4), heads(2, 1, 7, 2)
    mask = np.array([True, True, False, True, True, True, True])
    for n in (-1.5, -2.0, -64.0):
        for rule in (Fixed(3.0), Anchored(0.5), Adaptive(2.0)):
            found = backend.call("attention", q, k, v, Kernel(n), rule, mask=mask, info=True)
            truth = reference.attention(q, k, v, Kernel(n), rule, mask=mask)
            assert (np.asarray(found.support) == mask).all()
            for name, part in (("threshold", truth.weighting.threshold), ("log_normalizer", truth.log_normalizer)):
                want = part.round("float64").astype(float)
                np.testing.assert_allclose(np.asarray(getattr(found, name)), want, rtol=64 * U, atol=64 * U)


def test_orders_outside_the_domain_are_refused(backend: Plain) -> None:
    z = np.ones(3)
    for order in (-1, -0.5, Fraction(-1, 3)):
        with pytest.raises(DomainError, match="Adaptive takes orders below -1 or above 0, alpha above 0; got order -"):
            backend.call("entmax", z, order=order)
    with pytest.raises(DomainError, match=r"order must be in \(-inf, inf\]"):
        backend.call("entmax", z, order=-INF)
    for alpha in (0, -0.5):
        with pytest.raises(DomainError, match=r"alpha must be in \(0, inf\]"):
            backend.call("entmax", z, alpha=alpha)


@pytest.mark.parametrize("name", ["numpy", pytest.param("torch", marks=pytest.mark.torch), "numba"])
@pytest.mark.parametrize(
    "case",
    [
        "weights order=-1/2 rule=anchored:1/2 dtype=float64 family=huge_gaps shape=3x8 feature=overflow seed=0",
        "weights order=-3/2 rule=anchored:1/2 dtype=float64 family=huge_gaps shape=3x8 feature=ends seed=0",
        "weights order=-64 rule=adaptive:2 dtype=float64 family=subnormals shape=3x8 feature=weights seed=0",
        "weights order=-1000000 rule=anchored:1/2 dtype=float64 family=subnormals shape=3x8 feature=weights seed=0",
    ],
)
def test_products_of_what_overflows_and_underflows_keep_their_digits(name: str, case: str) -> None:
    assert verify(name, case=case, serial=True, cache=False).passed
