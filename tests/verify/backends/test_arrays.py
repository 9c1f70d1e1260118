"""The NumPy and Numba backends as a caller sees them: arguments, shapes, dtypes, masks, special values, gradients."""

from __future__ import annotations

import math
import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.reference.model import Adaptive, Anchored, AttentionInfo, Fixed, Kernel, Nearest
from kernelproof.verify import backends
from kernelproof.verify.backends._arrays.rounding import DTYPES, rounded

U = 2.0**-53
INF = math.inf
# Sums of some ten numbers of order 1, each good to a few roundings.
CLOSE: Any = {"rtol": 256 * U, "atol": 256 * U}
MECHANISMS = [
    (Kernel(INF), Adaptive(1.5)),
    (Kernel(1), Adaptive()),
    (Kernel("1/2"), Adaptive(2)),
    (Kernel(2), Fixed(3)),
    (Kernel(INF), Fixed(2)),
    (Kernel(0), Fixed(2.5)),
    (Kernel(1.5), Anchored(2)),
    (Kernel(INF), Anchored(1)),
    (Kernel(2), Nearest(3, Adaptive(0.5))),
    (Kernel(0), Nearest(2)),
    (Kernel(3), Nearest(4, Fixed(3))),
    (Kernel(-2), Adaptive(2)),
    (Kernel("-3/2"), Fixed(3)),
    (Kernel(-64), Anchored(2)),
    (Kernel(-1e6), Nearest(3, Adaptive())),
]


BISECTED = 2.0**-53 * 2.0**23
"""What `plain` is good to: its threshold is rounded, and a weight [x]₊^n has slopes up to ½·x^(−1/2), at order ½ and x
down to 2^-48 from the edge, where no key of these rows lies."""


@pytest.fixture(params=["numpy", "numba"])
def backend(request: pytest.FixtureRequest) -> Any:
    return backends.backend(request.param)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape) * scale


def plain(scores: NDArray[np.float64], kernel: Kernel, rule: Any) -> NDArray[np.float64]:
    """Weights of one row by the one form, with γ by bisection; good to some 1e-12, for tests of plumbing."""
    if isinstance(rule, Nearest):
        kept = np.sort(np.argsort(-scores, kind="stable")[: rule.k])
        weights = np.zeros_like(scores)
        uniform = kernel.order == 0 and not isinstance(rule.then, Fixed)
        weights[kept] = 1 / len(kept) if uniform else plain(scores[kept], kernel, rule.then)
        return weights
    n, d = float(kernel.order), scores.max() - scores
    if n < 0:
        return heavy(d, scores.max(), n, rule)
    if isinstance(rule, Fixed):
        gamma = rule.h**2 / 2 + scores.max()
        r = np.exp(-d / rule.h**2) if n == INF else np.where(d <= gamma, np.maximum(1 - d / gamma, 0) ** n, 0)
    elif isinstance(rule, Anchored):
        r = (d == 0).astype(float) if n == INF else np.maximum(1 - d / rule.gamma, 0) ** n
    else:
        d = d * rule.beta
        low, high = 0.0, 1.0
        for _ in range(200 if n < INF else 0):
            u = (low + high) / 2
            low, high = (low, u) if (np.maximum(u - d / n, 0) ** n).sum() > 1 else (u, high)
        r = np.exp(-d) if n == INF else np.maximum(low - d / n, 0) ** n
    return np.asarray(r / r.sum())


def heavy(d: NDArray[np.float64], top: float, n: float, rule: Any) -> NDArray[np.float64]:
    """`plain` for a negative order."""
    if isinstance(rule, Adaptive):
        d, low, high = d * rule.beta, -n, -n * len(d) ** (-1 / n)
        for _ in range(200):
            reach = (low + high) / 2
            mass = np.exp(n * (np.log1p(d / reach) + np.log(reach / -n))).sum()
            low, high = (reach, high) if mass > 1 else (low, reach)
    else:
        low = rule.gamma if isinstance(rule, Anchored) else rule.h**2 / 2 - top
    r = np.exp(n * np.log1p(d / low))
    return np.asarray(r / r.sum())


@pytest.mark.parametrize(("kernel", "rule"), MECHANISMS)
def test_attention_is_weights_of_scaled_products(backend: Any, kernel: Kernel, rule: Any) -> None:
    q, k, v = normal(2, 4, 3, 5, scale=0.3), normal(2, 2, 6, 5, seed=1, scale=0.3), normal(2, 2, 6, 7, seed=2)
    info = backend.attention(q, k, v, kernel, rule, info=True)
    assert isinstance(info, AttentionInfo)
    assert (info.y.shape, info.log_normalizer.shape, info.support.shape) == ((2, 4, 3, 7), (2, 4, 3), (2, 4, 3, 6))
    for b, h, t in np.ndindex(2, 4, 3):
        weights = plain(k[b, h // 2] @ q[b, h, t] / math.sqrt(5), kernel, rule)
        np.testing.assert_allclose(info.y[b, h, t], weights @ v[b, h // 2], atol=BISECTED)
        np.testing.assert_array_equal(info.support[b, h, t], weights > 0)


@pytest.mark.parametrize(("kernel", "rule"), MECHANISMS)
def test_regression_is_attention_with_the_norm_of_the_keys(backend: Any, kernel: Kernel, rule: Any) -> None:
    q, k, v = normal(3, 5, scale=0.5), normal(6, 5, seed=1, scale=0.5), normal(6, 2, seed=2)
    y = backend.regression(q, k, v, kernel, rule)
    same = backend.attention(q[None], k[None], v[None], kernel, rule, scale=1, key_norm_term=True)
    np.testing.assert_array_equal(y, same[0])
    for t in range(3):
        weights = plain(-((q[t] - k) ** 2).sum(-1) / 2, kernel, rule)
        np.testing.assert_allclose(y[t], weights @ v, atol=BISECTED)


@pytest.mark.parametrize(("kernel", "rule"), [m for m in MECHANISMS if m[0].order not in {0, 1, INF}] + MECHANISMS[:1])
def test_gradients_are_differences(backend: Any, kernel: Kernel, rule: Any) -> None:
    q, k, v = normal(1, 4, 2, 3, scale=0.5), normal(1, 2, 5, 3, seed=1, scale=0.5), normal(1, 2, 5, 2, seed=2)
    cotangent = normal(1, 4, 2, 2, seed=3)
    mask = np.array([True, True, False, True, True])
    for options in ({"mask": mask}, {"causal": True, "key_norm_term": True, "scale": 0.7}):
        found = backend.vjp("attention", cotangent, q, k, v, kernel, rule, **options)

        def value(arrays: list[Any], options: Any = options) -> float:
            return float((cotangent * backend.attention(*arrays, kernel, rule, **options)).sum())

        step = 1e-6  # central differences: 1e-12 of truncation, 1e-16/1e-6 of rounding
        for number, name in enumerate("qkv"):
            for index in np.ndindex(*(q, k, v)[number].shape):
                sides = []
                for sign in (1, -1):
                    arrays = [q.copy(), k.copy(), v.copy()]
                    arrays[number][index] += sign * step
                    sides.append(value(arrays))
                assert abs((sides[0] - sides[1]) / (2 * step) - found[name][index]) < 1e-7


def test_gradients_of_parameters_are_differences(backend: Any) -> None:
    scores, cotangent, step = -np.abs(normal(4, 6)), normal(4, 6, seed=1), 1e-6
    for name, make in (("h", Fixed), ("gamma", Anchored), ("beta", Adaptive)):
        for n in (1.5, 3.0, -1.5, -64.0):
            found = backend.vjp("weights", cotangent, scores, Kernel(n), make(2.0))
            assert set(found) == {"scores", "order", name}

            def value(order: float, number: float, make: Any = make) -> float:
                return float((cotangent * backend.weights(scores, Kernel(order), make(number))).sum())

            slope = (value(n, 2 + step) - value(n, 2 - step)) / (2 * step)
            of_order = (value(n + step, 2.0) - value(n - step, 2.0)) / (2 * step)
            assert abs(found[name] - slope) < 1e-7  # as above
            assert abs(found["order"] - of_order) < 1e-7
            assert found["order"].dtype == np.float64


def test_entmax_gradient_names_what_was_passed(backend: Any) -> None:
    z = normal(2, 3)
    assert set(backend.vjp("entmax", z, z)) == {"z"}
    assert set(backend.vjp("entmax", z, z, alpha=1.5)) == {"z", "alpha"}
    by_order = backend.vjp("entmax", z, z, order=2)
    np.testing.assert_allclose(by_order["order"], -backend.vjp("entmax", z, z, alpha=1.5)["alpha"] / 4, **CLOSE)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_is_kept_and_rounded_once(backend: Any, dtype: str) -> None:
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    z = normal(4, 8).astype(kind)
    found = backend.entmax(z, order=1.5)
    assert found.dtype == kind
    exact = backend.entmax(z.astype(np.float64), order=1.5)
    np.testing.assert_array_equal(found, rounded(exact, kind))
    assert backend.vjp("entmax", z, z, order=1.5)["z"].dtype == kind
    q = normal(1, 2, 3).astype(kind)
    assert backend.attention(q, q, q, Kernel(2), Adaptive()).dtype == kind


def test_rounding_is_one_rounding() -> None:
    # Just above and below the midpoint of 1 and 1 + 2^-7, where float32 sees the midpoint itself.
    values = np.array([1 + 2**-8 + 2**-40, 1 + 2**-8, 1 + 2**-8 - 2**-40, -(1 + 2**-8 + 2**-40), 1e-300, -1e-300])
    found = rounded(values, np.dtype(ml_dtypes.bfloat16)).astype(np.float64)
    np.testing.assert_array_equal(found, [1 + 2**-7, 1, 1, -(1 + 2**-7), 0, 0])
    special = rounded(np.array([np.nan, np.inf, -np.inf, 1e39]), np.dtype(ml_dtypes.bfloat16)).astype(np.float64)
    np.testing.assert_array_equal(special, [np.nan, np.inf, -np.inf, np.inf])


def test_dim_and_layout(backend: Any) -> None:
    z = normal(3, 4, 5)
    for dim in (0, 1, -1, -3):
        axis = dim % 3
        expected = np.moveaxis(backend.entmax(np.ascontiguousarray(np.moveaxis(z, axis, -1)), order=2), -1, axis)
        np.testing.assert_array_equal(backend.entmax(z, order=2, dim=dim), expected)
    np.testing.assert_array_equal(backend.entmax(z[..., ::2], order=2), backend.entmax(z[..., ::2].copy(), order=2))


def test_axis_is_another_name_for_dim(backend: Any) -> None:
    z, g = normal(3, 4), normal(3, 4)
    for dim in (0, -1):
        for given in ({"axis": dim}, {"axis": dim, "dim": dim % 2}):
            np.testing.assert_array_equal(backend.entmax(z, order=2, **given), backend.entmax(z, order=2, dim=dim))
            named, along = (backend.vjp("entmax", g, z, order=2, **where)["z"] for where in (given, {"dim": dim}))
            np.testing.assert_array_equal(named, along)
    with pytest.raises(DomainError, match="dim and axis name one axis; pass one of them; got dim=0, axis=1"):
        backend.entmax(z, dim=0, axis=1)
    np.testing.assert_array_equal(backend.entmax(z, order=2, axis=np.int64(0)), backend.entmax(z, order=2, axis=0))
    for wrong in (2, True, 1.0, "0", np.bool_(True)):
        with pytest.raises(DomainError, match=re.escape(f"axis must be an int from -2 to 1; got {wrong!r}")):
            backend.entmax(z, axis=wrong)


def test_a_row_alone_is_the_row_in_a_batch(backend: Any) -> None:
    q, k, v = normal(1, 9, 16), normal(1, 33, 16, seed=1), normal(1, 33, 5, seed=2)
    for n in (0.5, 2, INF, -2):
        together = backend.attention(q, k, v, Kernel(n), Adaptive())
        alone = [backend.attention(q[:, t : t + 1], k, v, Kernel(n), Adaptive()) for t in range(9)]
        np.testing.assert_array_equal(together, np.concatenate(alone, axis=1))


def test_inputs_are_not_modified_and_may_be_read_only(backend: Any) -> None:
    q, k, v = normal(1, 2, 3, 4), normal(1, 2, 5, 4, seed=1), normal(1, 2, 5, 2, seed=2)
    mask = np.where(normal(3, 5, seed=4) > 0, 0.0, -np.inf)
    for array in (q, k, v, mask):
        array.flags.writeable = False
    before = [array.copy() for array in (q, k, v, mask)]
    y = backend.attention(q, k, v, Kernel(2), Nearest(2), mask=mask, empty="zeros")
    backend.vjp("attention", np.ones_like(y), q, k, v, Kernel(2), Nearest(2), mask=mask)
    for array, copy in zip((q, k, v, mask), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_masks_agree(backend: Any) -> None:
    q, k, v = normal(2, 2, 3, 4), normal(2, 2, 5, 4, seed=1), normal(2, 2, 5, 2, seed=2)
    kernel, rule = Kernel(1.5), Adaptive()
    causal = np.tril(np.ones((3, 5), dtype=bool), k=2)
    lengths = np.array([5, 3])
    both = causal & (np.arange(5) < lengths[:, None, None, None])
    y = backend.attention(q, k, v, kernel, rule, causal=True, lengths=lengths)
    np.testing.assert_array_equal(y, backend.attention(q, k, v, kernel, rule, mask=both))
    additive = np.where(both, 0.0, -np.inf)
    np.testing.assert_array_equal(y, backend.attention(q, k, v, kernel, rule, mask=additive))
    biased = backend.attention(q, k, v, kernel, rule, mask=np.full((1, 5), 3.0))
    np.testing.assert_allclose(biased, backend.attention(q, k, v, kernel, rule), **CLOSE)


def test_garbage_behind_a_mask_is_ignored(backend: Any) -> None:
    q, k, v = normal(1, 2, 3, 4), normal(1, 2, 5, 4, seed=1), normal(1, 2, 5, 2, seed=2)
    bad_k, bad_v, g = k.copy(), v.copy(), np.ones((1, 2, 3, 2))
    bad_k[..., 3:, :], bad_v[..., 3:, :] = np.nan, np.inf
    for options in ({"lengths": np.array([3])}, {"lengths": np.array([3]), "key_norm_term": True}):
        expected = backend.attention(q, k, v, Kernel(2), Adaptive(), **options)
        np.testing.assert_array_equal(backend.attention(q, bad_k, bad_v, Kernel(2), Adaptive(), **options), expected)
        clean = backend.vjp("attention", g, q, k, v, Kernel(2), Adaptive(), **options)
        found = backend.vjp("attention", g, q, bad_k, bad_v, Kernel(2), Adaptive(), **options)
        for name, part in clean.items():
            np.testing.assert_array_equal(found[name], part)
    # An unmasked NaN spoils the rows that see it, and no other.
    spoiled = backend.attention(q, bad_k, v, Kernel(2), Adaptive(), causal=True)
    assert np.isfinite(spoiled[:, :, 0]).all()
    assert np.isnan(spoiled[:, :, 1:]).all()


@pytest.mark.parametrize("order", [0.5, 1, 2, INF, -1.5, -2])
def test_special_values_stay_in_their_row(backend: Any, order: float) -> None:
    z = normal(5, 4)
    expected = backend.entmax(z, order=order)
    z[1, 2], z[2, 0], z[3] = np.nan, np.inf, -np.inf
    z[1, 0] = -np.inf
    found = backend.entmax(z, order=order)
    np.testing.assert_array_equal(found[[0, 4]], expected[[0, 4]])
    assert np.isnan(found[1:4]).all()
    gradient = backend.vjp("entmax", np.ones_like(z), z, order=order)["z"]
    assert np.isfinite(gradient[[0, 3, 4]]).all()
    assert not gradient[3].any()


def test_huge_logits(backend: Any) -> None:
    for order in (0.5, 1, 2, 64, INF):
        found = backend.entmax(np.array([[1e30, -1e30], [1.7e308, -1.7e308]]), order=order)
        np.testing.assert_array_equal(found, [[1, 0], [1, 0]])


def test_empty_rows_by_policy(backend: Any) -> None:
    scores = np.array([[-5.0, -4.0, -4.0, -np.inf], [-np.inf] * 4, [0.0, -0.25, -9.0, -np.inf]])
    kernel, rule = Kernel(1), Fixed(1)
    good = [2 / 3, 1 / 3, 0, 0]
    for empty, first, second in (
        ("zeros", [0] * 4, [0] * 4),
        ("nan", [np.nan] * 4, [np.nan] * 4),
        ("uniform", [1 / 3, 1 / 3, 1 / 3, 0], [np.nan] * 4),
        ("nearest", [0, 0.5, 0.5, 0], [np.nan] * 4),
    ):
        found = backend.weights(scores, kernel, rule, empty=empty)
        np.testing.assert_allclose(found, [first, second, good], **CLOSE)
        gradient = backend.vjp("weights", normal(3, 4), scores, kernel, rule, empty=empty)
        assert not gradient["scores"][:2].any()
        assert np.isfinite(gradient["h"])
    with pytest.raises(DomainError, match="row 0 of 3"):
        backend.weights(scores, kernel, rule, empty="raise")
    v = normal(1, 4, 2)
    y = backend.regression(np.full((1, 1, 1), 9.0), np.arange(4.0)[None, :, None], v, kernel, rule, empty="uniform")
    np.testing.assert_allclose(y[0, 0], v[0].mean(0), **CLOSE)


def test_no_keys_and_no_rows(backend: Any) -> None:
    assert backend.entmax(np.zeros((3, 0)), order=2).shape == (3, 0)
    assert backend.entmax(np.zeros((0, 3)), order=2).shape == (0, 3)
    q, k, v = np.ones((2, 1, 3, 4)), np.ones((2, 1, 0, 4)), np.ones((2, 1, 0, 5))
    info = backend.attention(q, k, v, Kernel(2), Adaptive(), info=True)
    np.testing.assert_array_equal(info.y, np.zeros((2, 1, 3, 5)))
    assert (info.support.shape, info.log_normalizer.shape) == ((2, 1, 3, 0), (2, 1, 3))
    found = backend.vjp("attention", info.y, q, k, v, Kernel(2), Adaptive())
    assert [found[name].shape for name in "qkv"] == [q.shape, k.shape, v.shape]


def test_nearest_keeps_the_first_of_tied_keys(backend: Any) -> None:
    scores = np.array([1.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(backend.weights(scores, Kernel(0), Nearest(2)), [0.5, 0, 0.5, 0])
    gradient = backend.vjp("weights", np.arange(4.0), scores, Kernel(INF), Nearest(2))["scores"]
    np.testing.assert_allclose(gradient, [-0.5, 0, 0.5, 0], **CLOSE)
    np.testing.assert_allclose(backend.weights(scores, Kernel(0), Nearest(9)), 0.25)


def test_thresholds_separate_the_support(backend: Any) -> None:
    q, k = normal(1, 3, 4), normal(1, 8, 4, seed=1)
    scores = k[0] @ q[0].T / 2
    for kernel, rule, factor in ((Kernel(2), Adaptive(3), 3), (Kernel(1), Anchored(1), 1), (Kernel(3), Fixed(1.5), 1)):
        info = backend.attention(q, k, k, kernel, rule, info=True, empty="zeros")
        above = factor * scores.T / float(kernel.order) > info.threshold[0][:, None]
        np.testing.assert_array_equal(info.support[0], above)
    info = backend.attention(q, k, k, Kernel(INF), Adaptive(), info=True)
    assert (info.threshold == -np.inf).all()
    gaps = scores.max(0) - scores
    np.testing.assert_allclose(info.log_normalizer[0], np.log(np.exp(-gaps).sum(0)), **CLOSE)


BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("entmax", (np.array([1, 2]),), {}, "z must be a floating array; got dtype int64"),
    ("entmax", (np.array([1j]),), {}, "complex128"),
    ("entmax", ([[1.0], [1.0, 2.0]],), {}, "z must be an array"),
    ("entmax", (np.array(1.0),), {}, r"got shape \(\)"),
    ("entmax", (np.ones(3),), {"dim": 1}, "dim must be an int from -1 to 0"),
    ("entmax", (np.ones(3),), {"dim": 0.5}, "dim must be an int"),
    ("entmax", (np.ones(3),), {"order": 2, "alpha": 2}, "not both"),
    ("entmax", (np.ones(3),), {"order": -1}, "Adaptive takes orders below -1 or above 0, alpha above 0; got order -1"),
    ("entmax", (np.ones(3),), {"order": -INF}, r"order must be in \(-inf, inf\]"),
    ("entmax", (np.ones(3),), {"alpha": 0}, r"alpha must be in \(0, inf\]"),
    ("entmax", (np.ones(3),), {"order": 0}, "order 0"),
    ("weights", (np.ones(3), 2, Adaptive()), {}, "kernel must be a Kernel"),
    ("weights", (np.ones(3), Kernel(2), "sparsemax"), {}, "rule must be"),
    ("weights", (np.ones(3), Kernel(2), Fixed(1)), {"empty": "zero"}, "empty must be one of"),
    ("regression", (np.ones((2, 3)), np.ones((4, 2)), np.ones((4, 1)), Kernel(2), Fixed(9)), {}, r"\(2, 3\).*\(4, 2\)"),
    ("regression", (np.ones((2, 3)), np.ones((4, 3)), np.ones((5, 1)), Kernel(2), Fixed(9)), {}, r"\(4, 3\).*\(5, 1\)"),
    ("regression", (np.ones(3), np.ones((4, 3)), np.ones((4, 1)), Kernel(2), Fixed(9)), {}, "at least 2"),
]
QKV = (np.ones((2, 4, 3, 5)), np.ones((2, 2, 6, 5)), np.ones((2, 2, 6, 1)))
BAD += [
    ("attention", (*QKV, Kernel(2), Adaptive()), options, message)
    for options, message in (
        ({"mask": np.ones((4, 3, 5), dtype=bool)}, r"broadcast to \(..., H, T, S\) = \(2, 4, 3, 6\); got shape"),
        ({"mask": np.ones((9, 2, 4, 3, 6), dtype=bool)}, "broadcast"),
        ({"mask": np.ones(6, dtype=int)}, "mask must be bool"),
        ({"lengths": [1, 2, 3]}, r"shape \(2,\)"),
        ({"lengths": [1.0, 2.0]}, "ints"),
        ({"lengths": [1, 7]}, "from 0 to 6; got 1 to 7"),
        ({"mask": np.full(6, np.nan)}, "mask must be finite or -inf"),
        ({"mask": np.full(6, INF)}, "mask must be finite or -inf"),
        ({"mask": [[True], [True, False]]}, "mask must be an array"),
        ({"causal": "yes"}, "causal must be True or False; got 'yes'"),
        ({"key_norm_term": 2}, "key_norm_term must be True or False; got 2"),
        ({"scale": INF}, "scale must be finite"),
        ({"scale": "x"}, "scale must be a number"),
    )
]
BAD += [
    ("attention", (QKV[0][:, :3], *QKV[1:], Kernel(2), Adaptive()), {}, "multiple of those of k; got 3 and 2"),
    ("attention", (QKV[0].astype("f4"), *QKV[1:], Kernel(2), Adaptive()), {}, "share one dtype; got float32"),
    ("vjp", ("entmax", np.ones(4), np.ones(3)), {}, r"cotangent must have the shape of the output, \(3,\); got \(4,\)"),
    ("vjp", ("softmax", np.ones(3), np.ones(3)), {}, "op must be one of"),
]


@pytest.mark.parametrize(("op", "args", "kwargs", "message"), BAD)
def test_bad_input_is_named(backend: Any, op: str, args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        getattr(backend, op)(*args, **kwargs)


def test_backends_are_found_by_name() -> None:
    assert {"numba", "numpy"} <= set(backends.backend_names())
    for name in ("numpy", "numba"):
        found = backends.backend(name)
        assert (found.name, found.devices(), found.available()) == (name, ("cpu",), None)
        assert found.dtypes == DTYPES
    with pytest.raises(TargetError, match=r"unknown backend 'cupy'; known: .*numba, numpy"):
        backends.backend("cupy")
