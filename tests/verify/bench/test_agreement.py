"""Outputs that were timed: right ones agree, wrong ones do not, and the units are those of the checks."""

from __future__ import annotations

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.verify.backends import backend
from kernelproof.verify.bench import agreement
from kernelproof.verify.bench.agreement import exact_agreement, product_agreement, row_truth, weights_agreement
from kernelproof.verify.cases.case import Case
from kernelproof.verify.records import Inputs
from kernelproof.verify.truth.truth import truth_of

ORDERS = (0.5, 1.0, 1.5, 2.0, 3.0, 64.0, np.inf)


def logits(dtype: str, rows: int = 3, keys: int = 40) -> np.ndarray:
    return np.random.default_rng(7).normal(0, 2, (rows, keys)).astype(dtype)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_unit_is_that_of_the_accuracy_check(order: float, dtype: str) -> None:
    z = logits(dtype)
    text = "inf" if order == np.inf else f"{order:g}"
    case = Case("entmax", text, None, "adaptive:1", dtype, "random", z.shape, "1")
    truth = truth_of(case, Inputs({"z": z}))
    assert truth is not None
    # Sums of as many terms, each of a few powers and quotients, in float64.
    roundings = 16 * z.shape[1] * np.finfo(np.float64).eps
    for at, row in enumerate(z):
        np.testing.assert_allclose(row_truth(row, order).unit, truth.output.unit[at], rtol=roundings)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_backend_agrees_and_small_faults_do_not(order: float, dtype: str) -> None:
    z = logits(dtype)
    weights = backend("numpy").entmax(z, order=order)
    found = weights_agreement(z, weights, order)
    assert found.passed, found.what
    assert found.compared > z.size // 2
    # Of the size of the largest weight, which is never left out: sixteen roundings of its unit.
    top = int(np.argmax(weights[0]))
    unit = row_truth(z[0], order).unit[top]
    wrong = weights.copy()
    wrong[0, top] -= np.asarray(16 * np.finfo(dtype).eps / 2 * unit, dtype)
    assert not weights_agreement(z, wrong, order).passed


def test_weight_off_the_support_nan_and_a_lost_row_do_not_agree() -> None:
    z = logits("float32")
    weights = backend("numpy").entmax(z, order=2)
    for value, at in ((1e-12, np.argmin), (np.nan, np.argmin), (np.nan, np.argmax), (np.inf, np.argmax)):
        wrong = weights.copy()
        wrong[0, int(at(z[0]))] = value
        assert not weights_agreement(z, wrong, 2.0).passed
    assert not weights_agreement(z, np.roll(weights, 1, axis=0), 2.0).passed


def test_the_last_row_is_looked_at() -> None:
    z = logits("float32", rows=500, keys=64)
    weights = backend("numpy").entmax(z, order=1)
    assert weights_agreement(z, weights, 1.0).passed
    weights[-1] = weights[-1][::-1]
    assert not weights_agreement(z, weights, 1.0).passed


@pytest.mark.parametrize("order", [1.0, 1.5, 2.0, 3.0, 64.0, np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_a_backend_agree_and_faults_do_not(order: float, dtype: str) -> None:
    z = logits(dtype)
    g = np.random.default_rng(1).normal(size=z.shape).astype(dtype)
    product = backend("numpy").vjp("entmax", g, z, order=order)["z"]
    found = product_agreement(z, g, product, order)
    assert found.passed, found.what
    centred = product + row_truth(z[0], order).slope.max() * np.finfo(dtype).eps * 64
    assert not product_agreement(z, g, np.where(product == 0, product, centred.astype(dtype)), order).passed
    assert not product_agreement(z, g, -product, order).passed
    assert not product_agreement(z, g, np.full_like(product, np.nan), order).passed


def test_the_gradient_off_the_support_is_zero() -> None:
    z = logits("float32")
    g = np.ones_like(z) + np.arange(z.shape[1], dtype=np.float32)
    product = np.array(backend("numpy").vjp("entmax", g, z, order=2)["z"])
    product[0, int(np.argmin(z[0]))] = 1e-9
    assert not product_agreement(z, g, product, 2.0).passed


def test_exact_agreement_counts_what_differs_and_needs_something_to_compare() -> None:
    z = logits("float32")
    truth = reference.entmax(z, order=2).weights.round("float32")
    assert exact_agreement(truth, truth, "weights").passed
    wrong = truth.copy()
    wrong[0, 0] = np.nextafter(np.float32(wrong[0, 0]), np.float32(1))
    found = exact_agreement(wrong, truth, "weights")
    assert (found.passed, found.what) == (False, "weights: 1 differ")
    assert not exact_agreement(truth[:0], truth[:0], "weights").passed


def test_nothing_compared_does_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "sampled", lambda _: ())
    z = logits("float32")
    assert not weights_agreement(z, backend("numpy").entmax(z, order=2), 2.0).passed
