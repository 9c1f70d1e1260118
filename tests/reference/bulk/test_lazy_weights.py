"""`entmax` and `weights` of many rows: roundings, flags and balls are those of arb, whoever found them."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from tests.reference.bulk.hard_rows import FAMILIES, Floats

from kernelproof import reference
from kernelproof.reference.bulk import lazy_weights
from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Nearest, Rule
from kernelproof.reference.progress import Progress

FLAGS = ("support", "boundary", "empty", "unsure", "kink")


def hard(order: float) -> Floats:
    rng = np.random.default_rng(5)
    z = np.concatenate([family(rng, order, 4, 12) for family in FAMILIES])
    z[5] = -np.inf
    return z


def by_both(monkeypatch: pytest.MonkeyPatch, call: Any) -> tuple[Any, Any]:
    """(by the filter, by arb)."""
    monkeypatch.setattr(lazy_weights, "WORTH", 1)
    monkeypatch.setattr(lazy_weights, "is_loaded", lambda _elements: True)
    fast = call()
    monkeypatch.setattr(lazy_weights, "WORTH", 1 << 60)
    return fast, call()


@pytest.mark.parametrize("rule", [Adaptive(1), Adaptive(0.3), Fixed(3), Anchored(2), Nearest(3, Adaptive(2))], ids=str)
@pytest.mark.parametrize("order", [Fraction(1, 2), 1, 2, 2.7, 64, 10**8, math.inf])
def test_weights_are_those_of_arb(order: Any, rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    z = hard(float(order))
    fast, slow = by_both(monkeypatch, lambda: reference.weights(z, Kernel(order), rule))
    for flag in FLAGS:
        np.testing.assert_array_equal(getattr(fast, flag), getattr(slow, flag))
    for dtype in ("float64", "float32", "bfloat16"):
        found, truth = fast.weights.rounding(dtype), slow.weights.rounding(dtype)
        np.testing.assert_array_equal(found.values.astype(np.float64), truth.values.astype(np.float64))
        np.testing.assert_array_equal(found.ambiguous, truth.ambiguous)
    there = ~np.isnan(slow.weights.lo)
    assert np.all((fast.weights.lo <= slow.weights.hi) & (slow.weights.lo <= fast.weights.hi) | ~there)
    (head, tail, radius), (heads, tails, radii) = fast.weights.split(), slow.weights.split()
    with np.errstate(invalid="ignore"):
        apart = np.abs((head - heads) + (tail - tails))
        # The differences of heads and of tails are rounded once each.
        assert np.all((apart <= radius + radii + 2.0**-104 * heads + 1e-323) | ~there)
    # Balls are those of arb itself.
    assert str(fast.weights.values()[7].tolist()) == str(slow.weights.values()[7].tolist())
    assert str(fast.threshold.values()[7]) == str(slow.threshold.values()[7])


def test_another_axis_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    z = np.where(hard(2.0) > 1e300, 1e300, hard(2.0)).reshape(4, 13, 12)
    fast, slow = by_both(monkeypatch, lambda: reference.entmax(z, order=2, dim=1))
    np.testing.assert_array_equal(fast.weights.round("float64"), slow.weights.round("float64"))
    np.testing.assert_array_equal(fast.support, slow.support)
    np.testing.assert_array_equal(fast.threshold.round("float64"), slow.threshold.round("float64"))


def test_an_empty_row_is_called_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    z = hard(2.0)
    monkeypatch.setattr(lazy_weights, "WORTH", 1)
    monkeypatch.setattr(lazy_weights, "is_loaded", lambda _elements: True)
    with pytest.raises(reference.DomainError, match="row 5 has nothing"):
        reference.weights(z, Kernel(2), Adaptive(), empty="raise")


def test_nothing_but_what_is_asked_for_goes_to_arb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_weights, "WORTH", 1)
    monkeypatch.setattr(lazy_weights, "is_loaded", lambda _elements: True)
    z = np.random.default_rng(0).normal(size=(50, 16))
    found = reference.weights(z, Kernel(2), Adaptive()).weights
    found.round("float32")
    assert not found.blocks.ready  # type: ignore[attr-defined]
    assert found.known is not None and not found.known.open.any()
    np.testing.assert_array_equal(found.blocks[3].positions // 16, 3)
    assert list(found.blocks.ready) == [3]  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked", [False, True])
def test_progress_is_shown_where_it_is_asked_for(
    asked: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(total: int, **options: Any) -> Progress:
        return Progress(total, **{**options, "after": 0.0})

    monkeypatch.setattr(import_module("kernelproof.reference.bulk.lazy_weights"), "Progress", at_once)
    z = np.random.default_rng(0).normal(size=(4000, 16))
    calls: list[Callable[..., object]] = [
        lambda **options: reference.entmax(z, order=2, **options),
        lambda **options: reference.weights(z, Kernel(2), Adaptive(), **options),
    ]
    for call in calls:
        call(**({"progress": True} if asked else {}))
        said = capsys.readouterr()
        assert said.out == ""
        assert ("kernelproof: 4000 of 4000 rows" in said.err) == asked
        assert bool(said.err) == asked


def test_long_work_speaks_and_short_work_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    for after, said in ((1e9, ""), (1e-9, "kernelproof: 4 of 4 rows")):
        with Progress(4, shown=True, noun="rows", verb="proving", after=after) as progress:
            progress.advance(4)
        assert capsys.readouterr().err.startswith(said) and bool(said) == (after < 1)
