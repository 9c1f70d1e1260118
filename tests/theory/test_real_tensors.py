"""The real tensors are those that were described, and the theory holds on them."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest

from kernelproof.theory import real_tensors
from kernelproof.theory.real_tensors import Distance, Layer, LimitFit, Sparsity, TermCost

# layer: std and max of the logits, mean and relative spread (%) of ‖k‖, effective keys of softmax.
# Source: the README that came with the tensors, to the digits printed there.
DESCRIBED = {0: (3.92, 40.5, 6.37, 20, 57.8), 2: (2.79, 10.6, 8.14, 13, 8.5), 5: (1.34, 6.8, 5.19, 34, 23.4)}


@pytest.fixture(scope="module")
def layers() -> tuple[Layer, ...]:
    return real_tensors.load()


@pytest.fixture(scope="module")
def sparsity(layers: tuple[Layer, ...]) -> list[Sparsity]:
    return real_tensors.sparsity(layers, rows=8)


@pytest.fixture(scope="module")
def distances(layers: tuple[Layer, ...]) -> tuple[list[Distance], list[LimitFit]]:
    return real_tensors.softmax_distance(layers, rows=2)


@pytest.fixture(scope="module")
def costs(layers: tuple[Layer, ...]) -> list[TermCost]:
    return real_tensors.term_cost(layers, rows=2)


def test_the_tensors_are_three_layers_of_twelve_heads(layers: tuple[Layer, ...]) -> None:
    assert [layer.index for layer in layers] == [0, 2, 5]
    for layer in layers:
        assert {part.shape for part in (layer.q, layer.k, layer.v)} == {(12, 128, 32)}
        assert {part.dtype for part in (layer.q, layer.k, layer.v)} == {np.dtype(np.float32)}
        assert layer.beta == 1 / math.sqrt(32)


def test_the_numbers_are_those_of_the_description(layers: tuple[Layer, ...]) -> None:
    found = real_tensors.key_norms(layers)
    for layer in layers:
        std, largest, norm, spread, effective = DESCRIBED[layer.index]
        z = np.stack([layer.logits(head, np.arange(128)) for head in range(12)])
        p = np.exp(z - z.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        heads = [row for row in found if row.layer == layer.index]
        assert len(heads) == 12
        # Half a unit of the last digit printed.
        assert abs(z.std() - std) <= 0.005
        assert abs(z.max() - largest) <= 0.05
        assert abs(np.mean([row.mean for row in heads]) - norm) <= 0.005
        assert abs(100 * np.mean([row.spread for row in heads]) - spread) <= 0.5
        assert abs(real_tensors.effective_number(p).mean() - effective) <= 0.05


def test_key_norms_are_not_constant_in_any_head(layers: tuple[Layer, ...]) -> None:
    spreads = [100 * row.spread for row in real_tensors.key_norms(layers)]
    assert round(min(spreads)) == 10
    assert round(max(spreads)) == 41


def test_logits_with_the_term_are_distances(layers: tuple[Layer, ...]) -> None:
    layer = layers[0]
    z = layer.logits(3, np.array([5, 9]), key_norm_term=True)
    q, k = layer.q[3, [5, 9]].astype(np.float64), layer.k[3].astype(np.float64)
    exact = -layer.beta * ((q[:, None] - k) ** 2).sum(axis=-1) / 2
    differences = z - exact
    # Constant in the key: β‖q‖²/2. 40 roundings of sums whose terms are at most ‖q‖² + ‖k‖² in size.
    room = 40 * np.finfo(np.float64).eps * layer.beta * ((q * q).sum() + (k * k).sum(axis=-1).max())
    assert np.ptp(differences, axis=-1).max() <= room


def test_dropping_the_term_moves_the_weights(costs: list[TermCost]) -> None:
    assert len(costs) == 3 * 12 * 3
    assert all(0 <= row.total_variation <= 1 for row in costs)
    for layer in (0, 2, 5):
        assert np.mean([row.total_variation for row in costs if row.layer == layer]) > 0.2


def test_supports_and_effective_numbers_only_grow_with_the_order(sparsity: list[Sparsity]) -> None:
    for layer in (0, 2, 5):
        rows = [row for row in sparsity if row.layer == layer]
        assert [row.order for row in rows] == list(real_tensors.SPARSITY_ORDERS)
        for before, after in pairwise(rows):
            assert before.support <= after.support
            assert before.effective <= after.effective
        assert rows[-1].support == rows[-1].keys == 128
        assert all(1 <= row.effective <= row.support for row in rows)


def test_slope_and_constant_of_the_limit_are_those_of_theory(distances: tuple[list[Distance], list[LimitFit]]) -> None:
    found, limits = distances
    assert [row.order for row in found if row.layer == 0] == list(real_tensors.LIMIT_ORDERS)
    assert len(limits) == 6
    for limit in limits:
        # The next term is O(1/n) relative, with constants of size ℓ² below 40² here: 1600/2^10 at the start of the
        # fit moves the slope by less than its hundredth part over ten doublings, and 1600/2^20 the constant.
        assert abs(limit.slope / limit.slope_theory - 1) <= 0.01
        assert abs(limit.constant / limit.constant_theory - 1) <= 1600 / 2**20


def test_distances_fall(distances: tuple[list[Distance], list[LimitFit]]) -> None:
    for layer in (0, 2, 5):
        rows = [row for row in distances[0] if row.layer == layer and row.order >= 16]
        assert all(after.total_variation < before.total_variation for before, after in pairwise(rows))
        assert all(after.divergence < before.divergence for before, after in pairwise(rows))


def test_the_same_seed_draws_the_same_rows(layers: tuple[Layer, ...]) -> None:
    one = layers[:1]
    assert real_tensors.sparsity(one, seed=3, rows=2) == real_tensors.sparsity(one, seed=3, rows=2)
    assert real_tensors.sparsity(one, seed=3, rows=2) != real_tensors.sparsity(one, seed=4, rows=2)


@pytest.mark.parametrize("tiny", [1e-2, 1e-9, 1e-15])
def test_divergence_is_right_for_near_equal_weights(tiny: float) -> None:
    q = np.array([[0.5, 0.25, 0.125, 0.125]])
    p = q + tiny * np.array([[1.0, -1.0, 0.5, -0.5]])
    with mpmath.workdps(60):
        pairs = [(mpmath.mpf(a), mpmath.mpf(b)) for a, b in zip(p[0].tolist(), q[0].tolist(), strict=True)]
        # p sums to 1 but for its own rounding, which the sum of the positive terms leaves out by definition.
        exact = sum(a * mpmath.log(a / b) - (a - b) for a, b in pairs)
        found = float(real_tensors.divergence(p, q)[0])
        # Each term keeps u/x of its digits, x = tiny/q: two terms of relative size x cancel to x².
        assert abs(found - exact) <= 16 * np.finfo(np.float64).eps * tiny + 1e-15 * exact


def test_distances_of_extreme_weights() -> None:
    p, q = np.array([1.0, 0.0, 0.0]), np.array([0.5, 0.5, 1e-300])
    assert real_tensors.total_variation(p, q) == 0.5
    few = 4 * np.finfo(np.float64).eps  # a quotient, a logarithm, a product, a sum
    assert float(real_tensors.divergence(p, q)) == pytest.approx(math.log(2), rel=few)
    tiny = np.array([1e-30, 1.0])
    assert float(real_tensors.divergence(tiny, np.array([0.5, 0.5]))) == pytest.approx(math.log(2), rel=few)
    assert real_tensors.effective_number(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist() == [1.0, 2.0]
    assert Fraction(1, 2) in real_tensors.SPARSITY_ORDERS
