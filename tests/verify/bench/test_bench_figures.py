"""The families of figures on small inputs: their checks pass what is right, and fail what is planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import bulk
from kernelproof.verify.backends import backend
from kernelproof.verify.bench.figure import Contest, Missing, Sizes
from kernelproof.verify.bench.figures import (
    _dense,
    _rows,
    entmax_correct,
    entmax_cost,
    entmax_peers,
    entmax_softmax,
    entmax_vjp,
    mixing,
    truth,
    truth_cost,
)

SHAPE = (16, 64)
ROUNDINGS = 64 * float(np.finfo(np.float32).eps)
"""What float32 leaves of numbers near 1 in two different ways of computing them; another order is off by percents."""


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The NumPy backend in the place of Numba's, which would have to compile."""
    for module in (entmax_softmax, entmax_peers, entmax_vjp, mixing, entmax_cost):
        monkeypatch.setattr(module, "numba_backend", lambda *_: backend("numpy"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HEADS": 2, "TOKENS": 24, "WIDTH": 4, "BALL": 3.0}.items():
        monkeypatch.setattr(mixing, name, value)


def judged(contest: Contest, spoil: Callable[[Any], Any] = lambda found: found) -> bool:
    return contest.check(spoil(contest.ours()), contest.rival()).passed


def nudged(weights: Any) -> Any:
    """The largest weight of the first row off by a part in ten thousand."""
    wrong = weights.copy()
    wrong[0, int(np.argmax(wrong[0]))] *= np.float32(0.9999)
    return wrong


@pytest.mark.torch
@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("order", [1.0, 2.7, np.inf])
def test_entmax_beside_softmax(order: float) -> None:
    contest = entmax_softmax.prepare(order, SHAPE, "float32", Sizes())
    assert judged(contest)
    assert not judged(contest, nudged)


@pytest.mark.torch
@pytest.mark.usefixtures("plain")
def test_entmax_beside_its_peers() -> None:
    pytest.importorskip("entmax", reason="entmax is not installed; pip install 'kernelproof[peers]'")
    for name, order, call in (*entmax_peers.SORTS, *entmax_peers.BISECTIONS):
        contest = entmax_peers.prepare(order, SHAPE, name, call, Sizes())
        assert judged(contest)
        assert not judged(contest, nudged)
        # The rival computes the same: its κ is that of float32, and not of another order.
        ours, rival = contest.ours(), contest.rival().numpy()
        np.testing.assert_allclose(rival, ours, atol=ROUNDINGS)


@pytest.mark.torch
@pytest.mark.usefixtures("plain")
def test_a_peer_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "entmax", None)
    with pytest.raises(Missing, match=r"entmax is not installed; install it with: pip install 'kernelproof\[peers\]'"):
        entmax_peers.prepare(1.0, SHAPE, *entmax_peers.SORTS[0][::2], Sizes())


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", [2.0, 2.7, np.inf])
@pytest.mark.parametrize("wrt", [None, ("z",)])
def test_products_of_entmax(dtype: str, order: float, wrt: tuple[str, ...] | None) -> None:
    contest = entmax_vjp.prepare(order, SHAPE, dtype, wrt, Sizes())
    assert judged(contest)
    assert len(contest.ours()) == (2 if wrt is None else 1)
    for name, found in contest.ours().items():
        for wrong in (found * np.asarray(1.001, dtype), found * np.nan):
            assert not judged(contest, lambda right, wrong=wrong, name=name: right | {name: wrong})  # type: ignore[misc]


class Rounding:
    """A backend that rounds correctly when asked, or in the wrong direction."""

    def __init__(self, *, wrong: bool) -> None:
        self.wrong = wrong

    def entmax(self, z: Any, *, order: float, rounding: str = "fast") -> Any:
        found = bulk.round_entmax(z, order, "float32").values
        return np.nextafter(found, np.float32(0)) if self.wrong or rounding == "fast" else found


def test_correct_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (False, True):
        monkeypatch.setattr(entmax_correct, "numba_backend", lambda *_, wrong=wrong: Rounding(wrong=wrong))
        assert judged(entmax_correct.prepare(2.0, SHAPE, Sizes())) is not wrong


def test_an_argument_that_a_backend_does_not_take_is_missing() -> None:
    with pytest.raises(Missing, match="has no argument 'nonsense'"):
        _rows.numba_backend("nonsense")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_truth_beside_arb(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth, "ROWS", {"float32": 4, "float64": 4})
    contest = truth.beside_arb(2.0, dtype, Sizes())
    assert contest.ours_work == contest.rival_work == 4 * truth.KEYS
    assert judged(contest)

    def next_float(found: bulk.Rounded) -> bulk.Rounded:
        values = found.values.copy()
        values[0, int(np.argmax(values[0]))] = np.nextafter(values[0].max(), values.dtype.type(0))
        return replace(found, values=values)

    assert not judged(contest, next_float)


@pytest.mark.parametrize("order", [2.0, np.inf])
def test_truth_beside_mpmath(order: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth, "ROWS", {"float32": 1})
    contest = truth.beside_mpmath(order, Sizes())
    assert judged(contest)
    assert not judged(contest, lambda found: replace(found, values=nudged(found.values)))


@pytest.mark.torch
@pytest.mark.usefixtures("plain", "small")
@pytest.mark.parametrize("op", ["attention", "regression"])
def test_mixing(op: str) -> None:
    for variant in mixing.ATTENTION if op == "attention" else mixing.REGRESSION:
        contest = mixing.prepare(op, variant, Sizes())
        assert judged(contest), variant
        assert not judged(contest, lambda found: found * np.float32(1.0001)), variant


@pytest.mark.torch
def test_dense_torch_computes_the_same_ops() -> None:
    """Else the rival would be fast at something else."""
    import torch

    draw = np.random.default_rng(0)
    a, b, c = (torch.from_numpy(draw.normal(0, 1, (1, 5, 3)).astype(np.float32)) for _ in range(3))
    q, k, v = (each.numpy().astype(np.float64) for each in (a, b, c))
    pairs: list[tuple[Callable[..., Any], reference.Kernel, Any]] = [
        (_dense.softmax, reference.Kernel("inf"), reference.Adaptive()),
        *((partial(_dense.entmax, order=n), reference.Kernel(n), reference.Adaptive()) for n in (1, 2, 3)),
        *((partial(_dense.anchored, order=n, gamma=1.0), reference.Kernel(n), reference.Anchored(1)) for n in (1, 2)),
    ]
    for weigh, kernel, rule in pairs:
        truth_of_it = reference.attention(q, k, v, kernel, rule).y.round("float32")
        np.testing.assert_allclose(_dense.attention(a, b, c, weigh).numpy(), truth_of_it, atol=ROUNDINGS)
    for n in (1, 2):
        found = _dense.regression(a, b, c, partial(_dense.fixed, order=n, h=6.0)).numpy()
        expected = reference.regression(q, k, v, reference.Kernel(n), reference.Fixed(6)).y.round("float32")
        np.testing.assert_allclose(found, expected, atol=ROUNDINGS)


def test_planted_rows_have_the_support_that_is_asked_for() -> None:
    for support in (1, 7, 1024):
        rows = entmax_cost.planted(float(support), Sizes())[:2]
        assert (reference.entmax(rows, order=2).support.sum(axis=-1) == support).all()


@pytest.mark.torch
@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("family", [entmax_cost.FAMILY, truth_cost.FAMILY], ids=lambda family: family.id)
def test_every_curve_can_be_called_at_its_first_point(family: Any) -> None:
    pytest.importorskip("numba", reason="numba is not installed; pip install numba")
    for picture in family.pictures:
        xs = picture.xs(Sizes(quick=True))
        assert list(xs) == sorted(set(xs))
        for curve in picture.curves:
            assert curve.prepare(xs[0], Sizes(quick=True))() is not None
        picture.done()
