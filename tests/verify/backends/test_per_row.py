"""Numbers for each row on every backend: weights and gradients are the certified ones, in the shape of their array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernelproof import backend, reference
from kernelproof.reference import Adaptive, Anchored, DomainError, Fixed, Kernel, Nearest
from kernelproof.reference.model import Student

Z = np.random.default_rng(0).normal(size=(2, 4, 5))
G = np.random.default_rng(1).normal(size=Z.shape)
EPS = 2.0**-52
"""Weights are at most 1 and within four roundings; gradients add at most 40 products of a cotangent below 4."""
ORDERS = np.array([1.0, 1.5, 4.0, 2.0])[None, :, None]
BACKENDS = ["numpy", pytest.param("torch", marks=pytest.mark.torch), "numba"]


def products(name: str, op: str, upstream: Any, array: Any, leaves: dict[str, Any], call: Any) -> dict[str, Any]:
    """The output and the gradients in the array, "array", and in the numbers."""
    if name != "torch":
        found = backend(name).vjp(op, upstream, array, *call(leaves)[0], **call(leaves)[1])
        return {"array": found["z" if op == "entmax" else "scores"], **{each: found[each] for each in leaves}}
    import torch

    held = {each: torch.tensor(value, requires_grad=True) for each, value in leaves.items()}
    given = torch.tensor(array, requires_grad=True)
    positional, keywords = call(held)
    getattr(backend(name), op)(given, *positional, **keywords).backward(torch.tensor(upstream))
    return {"array": given.grad, **{each: leaf.grad for each, leaf in held.items()}}


def plain(name: str, array: Any) -> Any:
    if name != "torch":
        return array
    import torch

    return torch.tensor(array)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("number", ["order", "alpha"])
@pytest.mark.parametrize("dim", [-1, 0, 1])
def test_entmax_with_an_order_for_each_row(name: str, number: str, dim: int) -> None:
    numbers = ORDERS if number == "order" else 1 + 1 / ORDERS
    z, g, held = (np.ascontiguousarray(np.moveaxis(each, -1, dim)) for each in (Z, G, numbers))
    said: dict[str, Any] = {number: held, "dim": dim}
    expected = reference.entmax(z, **said).weights.round("float64")
    for given in (held, plain(name, held)):
        found = backend(name).entmax(plain(name, z), **{**said, number: given})
        np.testing.assert_allclose(np.asarray(found), expected, atol=4 * EPS)
    certified = reference.entmax_vjp(z, g, **said)
    got = products(name, "entmax", g, z, {number: held}, lambda told: ((), {**told, "dim": dim}))
    assert got[number].shape == held.shape
    np.testing.assert_allclose(np.asarray(got["array"]), certified["z"].round("float64"), atol=64 * EPS)
    np.testing.assert_allclose(np.asarray(got[number]), certified[number].round("float64"), atol=64 * EPS)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    ("number", "rule"), [("h", Fixed), ("gamma", Anchored), ("beta", Adaptive)], ids=["fixed", "anchored", "adaptive"]
)
@pytest.mark.parametrize("kept", [None, 3])
def test_weights_with_a_parameter_for_each_row(name: str, number: str, rule: Any, kept: int | None) -> None:
    values = np.array([[3.0], [2.5], [3.0], [4.0]])

    def made(value: Any) -> Any:
        return rule(value) if kept is None else Nearest(kept, rule(value))

    expected = reference.weights(Z, Kernel(2), made(values)).weights.round("float64")
    found = backend(name).weights(plain(name, Z), Kernel(2), made(values))
    np.testing.assert_allclose(np.asarray(found), expected, atol=4 * EPS)
    certified = reference.weights_vjp(Z, G, Kernel(2), made(values))
    got = products(name, "weights", G, Z, {number: values}, lambda told: ((Kernel(2), made(told[number])), {}))
    assert got[number].shape == values.shape
    np.testing.assert_allclose(np.asarray(got["array"]), certified["scores"].round("float64"), atol=64 * EPS)
    np.testing.assert_allclose(np.asarray(got[number]), certified[number].round("float64"), atol=64 * EPS)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"order": np.ones(3)}, r"order must be a number or broadcast to one for each row, \(2, 4, 1\); got an array"),
        ({"alpha": np.ones((4, 5))}, "alpha must be a number or broadcast"),
        ({"alpha": np.zeros((4, 1))}, r"alpha must be in \(0, inf\]; got 0"),
        ({"order": np.array([[1.0], [np.nan], [2.0], [2.0]])}, "order must be a number; got nan"),
        ({"order": np.array([[1.0], [-0.5], [2.0], [2.0]])}, "below -1 or above 0"),
    ],
)
def test_what_does_not_broadcast_or_defines_nothing_says_so(name: str, numbers: Any, words: str) -> None:
    with pytest.raises(DomainError, match=words):
        backend(name).entmax(plain(name, Z), **numbers)


@pytest.mark.torch
def test_rows_of_equal_numbers_have_a_gradient_of_their_own() -> None:
    import torch

    alpha = torch.full((4, 1), 1.5, dtype=torch.float64, requires_grad=True)
    backend("torch").entmax(torch.tensor(Z), alpha=alpha).backward(torch.tensor(G))
    expected = reference.entmax_vjp(Z, G, alpha=np.full((4, 1), 1.5))["alpha"].round("float64")
    assert len(set(expected.ravel())) == 4
    np.testing.assert_allclose(np.asarray(alpha.grad), expected, atol=64 * EPS)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("shape", [(3, 0), (2, 3, 0), (0, 5)])
def test_nothing_is_no_error(name: str, shape: tuple[int, ...]) -> None:
    z = np.zeros(shape)
    assert backend(name).entmax(plain(name, z), order=[2.0]).shape == shape
    assert reference.entmax(z, order=[2.0]).weights.shape == shape
    found = reference.entmax_vjp(z, z, order=[2.0])
    assert (found["z"].shape, found["order"].shape) == (shape, (1,))
    got = products(name, "entmax", z, z, {"order": np.array([2.0])}, lambda told: ((), told))
    assert got["array"].shape == shape


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    ("kernel", "rule", "words"),
    [
        (Student(3), Fixed([[1.0], [2.0], [1.0], [1.0]]), "depends on the width of keys"),
        ("abc", Fixed([[1.0]]), "kernel must be a Kernel"),
        (Kernel([[1.0], [2.0], [1.0], [1.0]]), "abc", "rule must be Fixed"),
        (Kernel([[1.0], [2.0]]), Fixed(1), "must be a number or broadcast"),
    ],
)
def test_what_is_no_kernel_and_no_rule_says_so(name: str, kernel: Any, rule: Any, words: str) -> None:
    with pytest.raises(DomainError, match=words):
        backend(name).weights(plain(name, Z), kernel, rule)


@pytest.mark.parametrize("name", BACKENDS)
def test_an_empty_row_is_named_by_its_place(name: str) -> None:
    scores = np.zeros((4, 3))
    scores[3] = -10
    orders = Kernel([[1.0], [2.0], [3.0], [4.0]])
    assert not np.asarray(backend(name).weights(plain(name, scores), orders, Fixed(1), empty="zeros"))[3].any()
    with pytest.raises(DomainError, match=r"row (3|\[3\])"):
        backend(name).weights(plain(name, scores), orders, Fixed(1), empty="raise")


@pytest.mark.parametrize("name", BACKENDS)
def test_ops_of_one_number_say_so(name: str) -> None:
    q = plain(name, np.zeros((1, 2, 3, 4)))
    with pytest.raises(DomainError, match="one order holds for all rows here"):
        backend(name).attention(q, q, q, Kernel(np.array([[1.0], [2.0]])), Adaptive())
    with pytest.raises(DomainError, match="one parameter of the rule holds for all rows here"):
        backend(name).regression(q, q, q, Kernel(1), Fixed([1.0, 2.0]))
