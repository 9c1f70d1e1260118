"""Regression and attention tile by tile: the edges of tiles, memory, batches, and what is left to whom."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Nearest
from kernelproof.verify import backends
from kernelproof.verify.backends._arrays import contraction, tiles
from kernelproof.verify.backends._arrays.policy import plan_of
from kernelproof.verify.backends._arrays.problem import attention_of
from kernelproof.verify.backends.numba.tiles import broad_queries, core
from kernelproof.verify.backends.numba.tiles.gaussian_queries import VISIBLE
from kernelproof.verify.backends.numba.tiles.screening import Proposer, reach_of
from kernelproof.verify.backends.numba.tiles.visible_keys import KeyHead
from kernelproof.verify.backends.numpy import core as dense

U = 2.0**-53
INF = math.inf
MECHANISMS = [
    (Kernel(1), Adaptive()),
    (Kernel(2), Adaptive(3)),
    (Kernel("1/2"), Adaptive()),
    (Kernel(8), Adaptive(2)),
    (Kernel(INF), Adaptive(1.5)),
    (Kernel(2), Fixed(3)),
    (Kernel(0), Fixed(3)),
    (Kernel(INF), Fixed(2)),
    (Kernel(1.5), Anchored(1)),
    (Kernel(INF), Anchored(1)),
    (Kernel(2), Nearest(3)),
]
DTYPES = ("float64", "float32")


@pytest.fixture(params=["numpy", "numba"])
def backend(request: pytest.FixtureRequest) -> Any:
    return backends.backend(request.param)


def arrays(heads: int, queries: int, keys: int, dtype: str, groups: int | None = None) -> Any:
    """q, k, v and a cotangent."""
    rng = np.random.default_rng(queries)
    shapes: tuple[tuple[int, ...], ...] = (
        (2, heads, queries, 8),
        (2, groups or heads, keys, 8),
        (2, groups or heads, keys, 3),
    )
    shapes += ((2, heads, queries, 3),)
    return tuple(rng.normal(size=shape).astype(dtype) for shape in shapes)


def small_tiles(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(tiles, "TILE", size)
    monkeypatch.setattr(core, "TILE", size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kernel", "rule"), MECHANISMS)
@pytest.mark.parametrize("queries", [8, 17])  # one tile to the last query; two and one query
def test_many_tiles_are_one_tile(
    backend: Any, kernel: Kernel, rule: Any, queries: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, k, v, g = arrays(2, queries, 21, dtype)
    options = {"key_norm_term": True, "empty": "zeros"} if isinstance(rule, Fixed) else {"causal": True}
    whole = backend.attention(q, k, v, kernel, rule, **options)
    back = backend.vjp("attention", g, q, k, v, kernel, rule, **options)
    small_tiles(monkeypatch, 8 * 21)
    found = backend.attention(q, k, v, kernel, rule, **options)
    parts = backend.vjp("attention", g, q, k, v, kernel, rule, **options)
    # Causal tiles end at other keys, which the order of a sum of 21 weights and values of order 1 may show.
    unit = 2.0**-24 if dtype == "float32" else U
    np.testing.assert_allclose(found, whole, rtol=4 * unit, atol=21 * 4 * U)
    # Sums over queries of order 10 each, in another order.
    for name, part in back.items():
        np.testing.assert_allclose(parts[name], part, rtol=16 * unit, atol=queries * 10 * 16 * U)


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_causal_no_bit_depends_on_the_tile(backend: Any, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, g = arrays(2, 33, 70, dtype)
    for kernel, rule in MECHANISMS:
        if dtype == "float32" and (backend.name == "numpy" or kernel.order == INF):
            continue  # through BLAS, in float64: see the test of batches
        whole = backend.attention(q, k, v, kernel, rule, empty="zeros")
        back = backend.vjp("attention", g, q, k, v, kernel, rule, empty="zeros")["q"]
        with monkeypatch.context() as patch:
            small_tiles(patch, 8 * 70)
            np.testing.assert_array_equal(backend.attention(q, k, v, kernel, rule, empty="zeros"), whole)
            found = backend.vjp("attention", g, q, k, v, kernel, rule, empty="zeros")["q"]
            np.testing.assert_array_equal(found, back)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kernel", "rule"), MECHANISMS)
def test_a_query_alone_is_the_query_in_a_batch(backend: Any, kernel: Kernel, rule: Any, dtype: str) -> None:
    q, k, v, _ = arrays(1, 9, 333, dtype)
    together = backend.attention(q, k, v, kernel, rule, empty="zeros")
    alone = [backend.attention(q[:, :, t : t + 1], k, v, kernel, rule, empty="zeros") for t in range(9)]
    if dtype == "float64":
        np.testing.assert_array_equal(np.concatenate(alone, axis=2), together)
        return
    # BLAS may add in another order, in float64: an ulp of float32 where that decides a rounding, no more.
    np.testing.assert_allclose(np.concatenate(alone, axis=2), together, rtol=2.0**-23, atol=333 * 4 * U)
    law = plan_of(kernel, rule, "nan").law
    if backend.name == "numba" and reach_of(law.kind, law.order, law.parameter) is not None:
        # What BLAS says is only where to look, or it has 29 bits to spare, which no rounding here shows.
        np.testing.assert_array_equal(np.concatenate(alone, axis=2), together)


@pytest.mark.parametrize(("dtype", "groups"), [("float64", 1), ("float32", 2)])
def test_the_backends_agree(dtype: str, groups: int) -> None:
    q, k, v, g = arrays(2, 20, 280, dtype, groups)
    rng = np.random.default_rng(1)
    for kernel, rule in MECHANISMS:
        for options in (
            {},
            {"lengths": np.array([280, 77]), "mask": rng.random((20, 280)) > 0.2},
            {"mask": np.where(rng.random((280,)) > 0.1, rng.normal(size=(2, 1, 20, 280)), -INF), "causal": True},
        ):
            plain, fast = (
                [
                    backends.backend(name).attention(q, k, v, kernel, rule, empty="zeros", **options),
                    *backends.backend(name)
                    .vjp("attention", g, q, k, v, kernel, rule, empty="zeros", **options)
                    .values(),
                ]
                for name in ("numpy", "numba")
            )
            # Both are good to κ ≤ 4; sums over 40 queries of order 10, whose slopes at n = 1/2 reach some 10.
            unit = 2.0**-24 if dtype == "float32" else U
            for a, b in zip(plain, fast, strict=True):
                np.testing.assert_allclose(b, a, rtol=64 * unit, atol=8 * unit * 40 * 100)


@pytest.mark.parametrize(("dtype", "causal"), [("float64", False), ("float32", True)])
@pytest.mark.parametrize(("name", "order"), [("numpy", INF), ("numba", 1), ("numba", INF)])
def test_memory_grows_as_the_inputs_do(
    name: str, dtype: str, causal: bool, order: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backends.backend(name)
    small_tiles(monkeypatch, 1 << 12)
    monkeypatch.setattr(contraction, "CHUNK", 1 << 12)
    monkeypatch.setattr(dense, "BLOCK", 1 << 12)

    def peak(size: int) -> int:
        q, k, v, g = (array[:1] for array in arrays(1, size, size, dtype))
        tracemalloc.start()
        try:
            backend.attention(q, k, v, Kernel(order), Adaptive(), causal=causal)
            backend.vjp("attention", g, q, k, v, Kernel(order), Adaptive(), causal=causal)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(64)  # what is imported and compiled once
    # A query has some 2·(d + e) = 22 numbers in and out of 8 bytes, of which the halves, copies and pieces of the
    # gradients make 12 at most; a tile of one query, which grows too, has 40 arrays at most.
    assert peak(768) - peak(384) < 384 * 8 * (22 * 12 + 40)
    # Half of the scores of the larger would already be more than that.
    assert 384 * 8 * (22 * 12 + 40) < 768 * 768 * 4 / 2


def test_an_empty_query_is_named_by_its_number_in_all(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small_tiles(monkeypatch, 64)
    q, k, v, _ = arrays(2, 20, 9, "float64")
    mask = np.ones((2, 2, 20, 9), np.bool_)
    mask[1, 0, 13] = False
    with pytest.raises(DomainError, match="row 53 of 80 has nothing"):
        backend.attention(q, k, v, Kernel(2), Adaptive(), mask=mask, empty="raise")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [1, 2, 0.5, INF])
def test_what_lies_behind_a_mask_changes_no_bit(backend: Any, dtype: str, order: float) -> None:
    q, k, v, g = arrays(2, 20, 90, dtype)
    mask = np.random.default_rng(3).random((20, 90)) > 0.3
    mask[:, 40:44] = False
    worse_k, worse_v = k.copy(), v.copy()
    worse_k[:, :, 40], worse_k[:, :, 41], worse_v[:, :, 42], worse_v[:, :, 43] = np.nan, 1e15, np.inf, 1e30
    for given in (mask, np.where(mask, 0.0, -INF)):
        expected = backend.attention(q, k, v, Kernel(order), Adaptive(), mask=given)
        np.testing.assert_array_equal(
            backend.attention(q, worse_k, worse_v, Kernel(order), Adaptive(), mask=given), expected
        )
        clean = backend.vjp("attention", g, q, k, v, Kernel(order), Adaptive(), mask=given)
        found = backend.vjp("attention", g, q, worse_k, worse_v, Kernel(order), Adaptive(), mask=given)
        for name, part in clean.items():
            np.testing.assert_array_equal(found[name], part)


@pytest.mark.parametrize("order", [1, INF])
def test_a_key_with_nan_spoils_the_queries_that_see_it(backend: Any, order: float) -> None:
    q, k, v, _ = arrays(1, 80, 80, "float32")
    k[0, 0, 50] = np.nan
    y = backend.attention(q, k, v, Kernel(order), Adaptive(), causal=True)
    assert np.isnan(y).any(axis=(1, 3)).tolist() == [[t >= 50 for t in range(80)], [False] * 80]
    assert np.isnan(y[0, 0, 50:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_no_bit(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = backends.backend("numba")
    q, k, v, g = arrays(3, 64, 128, dtype)
    for kernel, rule in ((Kernel(2), Adaptive()), (Kernel(INF), Adaptive())):
        with monkeypatch.context() as patch:
            patch.setattr(core, "SMALL", INF)
            y, back = fast.attention(q, k, v, kernel, rule), fast.vjp("attention", g, q, k, v, kernel, rule)
        with monkeypatch.context() as patch:
            patch.setattr(core, "SMALL", 0)
            patch.setattr("numba.get_num_threads", lambda: 3)
            # The Gaussian below float64 goes through BLAS, which may add otherwise on one thread than on all.
            close = {"rtol": 2.0**-23, "atol": 2.0**-40} if dtype == "float32" and kernel.order == INF else {"rtol": 0}
            np.testing.assert_allclose(fast.attention(q, k, v, kernel, rule), y, **close)
            for name, part in fast.vjp("attention", g, q, k, v, kernel, rule).items():
                np.testing.assert_allclose(part, back[name], **close)


@pytest.mark.parametrize(
    ("order", "rule"), [(1, Fixed(5)), (2, Anchored(40)), (3, Adaptive(0.2)), (2.5, Adaptive(0.1)), (64, Adaptive(2))]
)
@pytest.mark.parametrize("op", ["attention", "regression"])
def test_queries_with_most_keys_in_reach_go_through_blas(
    op: str, order: float, rule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, k, v, _ = arrays(2, 33, 280, "float32")
    left: list[int] = []
    forward = core.Broad.forward

    def watched(self: core.Broad, piece: core.KeyHeadPiece, y: Any) -> None:
        left.append(int(self.left.sum()))
        forward(self, piece, y)
        left.append(int(self.left.sum()))

    monkeypatch.setattr(core.Broad, "forward", watched)
    found = getattr(backends.backend("numba"), op)(q, k, v, Kernel(order), rule, empty="zeros")
    assert left[0] > 0
    assert left[-1] == 0
    # The same numbers in float64, which never go that way: half a unit of float32 and what is lost in that dtype.
    wide = (array.astype(np.float64) for array in (q, k, v))
    exact = getattr(backends.backend("numba"), op)(*wide, Kernel(order), rule, empty="zeros")
    np.testing.assert_allclose(found, exact, rtol=2.0**-24 * (1 + 2.0**-3), atol=2.0**-28)


def test_a_query_is_left_where_the_error_of_its_scores_would_be_seen() -> None:
    scores = np.linspace(-1.0, 0.0, 80).reshape(1, -1)
    law = np.array([1.0, 1.0, 2.0, 2.0, 1.0])  # anchored, order 1, γ = 2
    x = -scores[0] / 2
    # Error of Σ|w|: 3ε/γ·(keys in the ball)/Σ[1 − d/γ], and it may be VISIBLE at most.
    edge = VISIBLE / (3 / 2 * 80 / (1 - x).sum())
    for error, expected in ((edge * 0.99, False), (edge * 1.01, True), (np.nan, True)):
        weights, totals, left = scores.copy(), np.empty(1), np.zeros(1, np.bool_)
        broad_queries.weigh(weights, np.array([80]), np.array([error]), np.zeros(1), law, totals, left)
        assert bool(left[0]) is expected
        np.testing.assert_allclose(weights[0], np.zeros(80) if expected else 1 - x, rtol=4 * U)


@pytest.mark.parametrize("distances", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 3, 64])
def test_proposed_scores_are_within_their_slack(width: int, dtype: str, distances: bool) -> None:
    rng = np.random.default_rng(width)
    nearest = 0.0
    for scale, offset in ((1.0, 0.0), (1e-20, 0.0), (1e6, 0.0), (1.0, 100.0), (1e-3, 1.0), (1e-43, 0.0)):
        q, k = ((rng.normal(size=(1, 40, width)) * scale + offset).astype(dtype) for _ in range(2))
        mask = rng.normal(size=(40, 40)) * scale
        problem = attention_of(q, k, np.ones((1, 40, 1), dtype), 0.7, mask, False, None, distances)
        head = KeyHead(problem, 0)
        found = Proposer(problem, head).propose(problem.heads.q[0], np.full(40, 40), mask, np.ones((40, 40), bool))
        for t, j in np.ndindex(40, 40):
            # float64 products of float32 are exact, those of float64 good to 2^-53: nothing beside a slack of 2^-22.
            pairs = zip(problem.heads.q[0, t], problem.heads.k[0, j], strict=True)
            exact = math.fsum(-((a - b) ** 2) / 2 if distances else a * b for a, b in pairs) * 0.7 + mask[t, j]
            apart = abs(float(found.scores[t, j]) - found.shifts[t] - exact)
            assert apart <= found.slacks[t]
            nearest = max(nearest, float(apart / found.slacks[t]))
    assert nearest > 1 / 64  # no slack so wide that nothing could exceed it


def test_no_slack_beyond_float32() -> None:
    for q, k in ((1e30, 1e10), (1.0, 1e38), (1e38, 1e-38)):
        problem = attention_of(
            np.full((1, 1, 1), q), np.full((1, 1, 1), k), np.ones((1, 1, 1)), 1.0, None, False, None, False
        )
        found = Proposer(problem, KeyHead(problem, 0)).propose(problem.heads.q[0], np.ones(1, np.intp), None, None)
        assert found.slacks.tolist() == [INF]
