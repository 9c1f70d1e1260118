"""The row map in torch: one rounding, arithmetic in two parts, derivatives of both orders, torch.compile."""

from __future__ import annotations

import math
import shutil
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Nearest
from kernelproof.verify.backends.torch import BACKEND as TORCH

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'kernelproof[torch]'")
rounding = pytest.importorskip("kernelproof.verify.backends.torch.rounding", reason="it imports torch")
double_word = pytest.importorskip("kernelproof.verify.backends.torch.double_word", reason="it imports torch")

# torch.compile imports parts of torch that some versions of it deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

BACKEND: Any = TORCH
U = 2.0**-53
NARROW = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


def numbers_of(dtype: Any) -> Any:
    """All finite numbers of a dtype of 8 or 16 bits that are not negative, ascending, as float64."""
    bits = torch.finfo(dtype).bits
    carrier = torch.int16 if bits == 16 else torch.uint8
    found = torch.arange(2 ** (bits - 1), dtype=carrier).view(dtype).to(torch.float64)
    return found[found.isfinite()]


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("device", DEVICES)
def test_one_rounding_to_nearest_even(name: Any, device: Any) -> None:
    dtype = rounding.DTYPES[name]
    numbers = numbers_of(dtype)
    low, high = numbers[:-1], numbers[1:]
    middle = (low + high) / 2  # exact in float64
    even = torch.where(torch.arange(len(low)) % 2 == 0, low, high)
    for value, want in (
        (numbers, numbers),
        (middle, even),
        (torch.nextafter(middle, high), high),
        (torch.nextafter(middle, low), low),
        (middle * (1 + 2.0**-30), high),
        (middle * (1 - 2.0**-30), low),
    ):
        for sign in (1, -1):
            got = rounding.narrow((sign * value).to(device), dtype).cpu().to(torch.float64)
            assert torch.equal(got, sign * want)


def test_torch_alone_rounds_twice() -> None:
    value = torch.tensor([1 + 2.0**-8 + 2.0**-40], dtype=torch.float64)
    assert rounding.narrow(value, torch.bfloat16).item() == 1 + 2.0**-7
    assert value.to(torch.bfloat16).item() == 1  # if this fails torch has changed, and `rounding` may go


def test_narrow_outside_the_range() -> None:
    value = torch.tensor([math.inf, -math.inf, math.nan, 1e300, -1e300, 1e-320, 0.0, -0.0], dtype=torch.float64)
    for name, top in zip(NARROW, (math.inf, math.inf, math.nan, math.inf), strict=True):
        got = rounding.narrow(value, rounding.DTYPES[name]).to(torch.float64)
        want = torch.tensor([top, -top, math.nan, top, -top, 0.0, 0.0, 0.0], dtype=torch.float64)
        assert torch.equal(got.nan_to_num(nan=7), want.nan_to_num(nan=7))
        assert torch.equal(got.signbit()[5:], torch.tensor([False, False, True]))


@pytest.mark.parametrize("name", ["float32", *NARROW])
def test_every_dtype_is_computed_in_float64(name: Any) -> None:
    dtype = rounding.DTYPES[name]
    z = torch.randn(6, 9, generator=torch.Generator().manual_seed(0)).to(dtype)
    for order in (0.5, 1, 2, math.inf):
        got, wide = BACKEND.entmax(z, order=order), BACKEND.entmax(z.to(torch.float64), order=order)
        assert got.dtype == dtype
        assert torch.equal(got.to(torch.float64), rounding.narrow(wide, dtype).to(torch.float64))
        grad = BACKEND.vjp("entmax", torch.ones_like(z), z, order=order)
        assert grad["z"].dtype == dtype
        assert grad["order"].dtype == torch.float64
        assert grad["order"].shape == ()


def test_powers_and_logarithms_in_two_parts() -> None:
    rng = np.random.default_rng(2)
    x = torch.tensor(np.concatenate([10.0 ** rng.uniform(-290, 290, 300), rng.uniform(0.5, 2, 300)]))
    with mpmath.workdps(50):
        exact = [mpmath.log(v) for v in x.tolist()]
        parts = double_word.logarithm(x)
        for head, tail, want in zip(parts[0].tolist(), parts[1].tolist(), exact, strict=True):
            assert abs(mpmath.mpf(head) + tail - want) <= 2.0**-58 * max(1, abs(want))
        for n in (1 / 16, 0.5, 0.9):
            parts = double_word.power(x, n)
            for head, tail, log in zip(parts[0].tolist(), parts[1].tolist(), exact, strict=True):
                assert abs((mpmath.mpf(head) + tail) / mpmath.exp(n * log) - 1) <= 2.0**-57


def test_sums_and_quotients_in_two_parts() -> None:
    rng = np.random.default_rng(4)
    terms = torch.tensor(rng.normal(size=(3, 1001)) * 10.0 ** rng.integers(-8, 9, size=(3, 1001)))
    heads, tails = double_word.total(terms, torch.zeros_like(terms))
    for row, head, tail in zip(terms.tolist(), heads.tolist(), tails.tolist(), strict=True):
        exact = sum(map(Fraction, row))
        # Ten levels of pairs; each rounds the tails once, and they are below u times the terms.
        assert abs(Fraction(head[0]) + Fraction(tail[0]) - exact) <= 11 * U * U * sum(map(abs, row)) * 11
    head, tail = double_word.quotient(
        *(torch.tensor(x, dtype=torch.float64) for x in (1.0, 2.0**-60, 3.0, -(2.0**-58)))
    )
    exact = (1 + Fraction(2) ** -60) / (3 - Fraction(2) ** -58)
    assert abs(Fraction(head.item()) + Fraction(tail.item()) - exact) <= U * U


def leaf(value: Any) -> Any:
    return torch.tensor(float(value), dtype=torch.float64, requires_grad=True)


def rows_for(order: Any, rule: Any) -> Any:
    generator = torch.Generator().manual_seed(3)
    z = 0.7 * torch.randn(3, 6, dtype=torch.float64, generator=generator)
    z[1] *= 0.3
    if rule is Fixed:
        return (-(z * z) / 2 - 0.1 * z).requires_grad_()
    return (z * min(abs(float(order)), 1.0)).requires_grad_()


@pytest.mark.parametrize(
    "order", [Fraction(1, 16), 0.5, 0.9, 1, 1.5, 2, 3, 8, 64, 1e4, math.inf, -1.5, -2, -64, -1e4], ids=str
)
@pytest.mark.parametrize("rule", [Fixed, Anchored, Adaptive])
@pytest.mark.parametrize("nearest", [False, True])
def test_first_derivatives(order: Any, rule: Any, nearest: Any) -> None:
    parameter = {Fixed: 1.7, Anchored: 0.8, Adaptive: 1.3}[rule]
    scores = rows_for(order, rule)

    def weights(s: Any, n: Any, x: Any) -> Any:
        then = rule(x)
        return BACKEND.weights(s, Kernel(n), Nearest(4, then) if nearest else then)

    n = torch.tensor(math.inf) if order == math.inf else leaf(order)
    step = 1e-7 * min(abs(float(order)), 1.0)
    assert torch.autograd.gradcheck(weights, (scores, n, leaf(parameter)), eps=step)


@pytest.mark.parametrize("order", [2, 3, 8, math.inf, -1.5, -2, -64], ids=str)
@pytest.mark.parametrize("rule", [Fixed, Anchored, Adaptive])
def test_second_derivatives(order: Any, rule: Any) -> None:
    parameter = {Fixed: 1.7, Anchored: 0.8, Adaptive: 1.3}[rule]
    n = torch.tensor(math.inf) if order == math.inf else leaf(order)
    inputs = (rows_for(order, rule), n, leaf(parameter))
    assert torch.autograd.gradgradcheck(lambda s, n, x: BACKEND.weights(s, Kernel(n), rule(x)), inputs)


@pytest.mark.parametrize("alpha", [1.125, 1.5, 2.0, 3.0, 17.0, 0.875, 0.5, 0.25])
def test_derivatives_in_alpha(alpha: Any) -> None:
    z = rows_for(1 / (alpha - 1), Adaptive)
    step = 1e-7 * min(1 / abs(alpha - 1), 1.0)
    assert torch.autograd.gradcheck(lambda z, a: BACKEND.entmax(z, alpha=a), (z, leaf(alpha)), eps=step)
    if alpha <= 1.5:
        assert torch.autograd.gradgradcheck(lambda z, a: BACKEND.entmax(z, alpha=a), (z, leaf(alpha)))


def test_derivative_at_alpha_one_and_near_it() -> None:
    z = torch.tensor([0.3, -1.0, 0.8, 0.0], dtype=torch.float64)
    g = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    p = torch.softmax(z, -1)
    log = p.log()
    want = (g * p * ((p * log * log).sum() - log * log)).sum() / 2
    assert abs(BACKEND.vjp("entmax", g, z, alpha=1)["alpha"] - want) <= 64 * U
    # The derivative moves by O(α − 1); the textbook form loses 0.38 here.
    assert abs(BACKEND.vjp("entmax", g, z, alpha=1 + 1e-8)["alpha"] - want) <= 1e-7
    assert BACKEND.vjp("entmax", g, z, order=math.inf)["order"] == 0


def test_gradient_of_a_dominated_row_keeps_its_digits() -> None:
    z, g = torch.tensor([40.0, 0.0], dtype=torch.float64), torch.tensor([3.0, 1.0], dtype=torch.float64)
    got = BACKEND.vjp("entmax", g, z)["z"]
    small = math.exp(-40) / (1 + math.exp(-40)) ** 2
    assert torch.allclose(got, torch.tensor([2 * small, -2 * small], dtype=torch.float64), rtol=8 * U, atol=0)


@pytest.mark.parametrize("top", [1e16, 1e300, 1.7e308])
def test_a_fixed_bandwidth_far_below_the_largest_score_keeps_its_gradient(top: float) -> None:
    h, z = Fraction(3), Fraction(top)
    far, near = h * h / 2 + z, h * h / 2  # the margins of the first two keys; the weight of the second is their share
    expected = {
        "scores": far / (far + near) ** 2,
        "h": h * (far - near) / (far + near) ** 2,
    }
    scores = torch.tensor([[top, 0.0, -top]], dtype=torch.float64)
    one = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    found = BACKEND.vjp("weights", one, scores, Kernel(1), Fixed(3))
    for name, got in (("scores", found["scores"][0, 1]), ("h", found["h"])):
        assert abs(Fraction(float(got)) - expected[name]) <= 8 * Fraction(U) * expected[name] + Fraction(2.0**-1074)


def test_tied_maximum_shares_the_gradient() -> None:
    z = torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64)
    grad = BACKEND.vjp("weights", torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), z, Kernel(1), Anchored(1))
    assert grad["scores"][0] == grad["scores"][1]
    assert abs(grad["scores"].sum()) <= 4 * U


def test_values_shared_with_an_empty_row_keep_their_gradient() -> None:
    q, k = torch.tensor([[0.0], [9.0]]), torch.tensor([[0.0], [0.5]])
    grads = BACKEND.vjp("regression", torch.ones(2, 1), q, k, torch.ones(2, 1), Kernel(1), Fixed(1))
    assert all(g.isfinite().all() for g in grads.values())
    assert grads["v"].sum() == 1


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_bits_twice(device: Any) -> None:
    generator = torch.Generator().manual_seed(5)
    q, k, v = (torch.randn(2, 4, 33, 8, generator=generator).to(device) for _ in range(3))
    k, v = k[:, :2], v[:, :2]
    for rule in (Adaptive(0.5), Nearest(5, Fixed(6)), Anchored(2)):
        first, second = (BACKEND.vjp("attention", q, q, k, v, Kernel(1.5), rule, causal=True) for _ in range(2))
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_is_the_same(backend: Any) -> None:
    torch._dynamo.reset()
    z, g = torch.randn(4, 9, dtype=torch.float64, requires_grad=True), torch.randn(4, 9, dtype=torch.float64)
    compiled = torch.compile(lambda z, n: BACKEND.entmax(z, order=n), backend=backend, fullgraph=True)
    for order in (2, 0.5, math.inf, 3, -2, -1.5):
        got, want = compiled(z, order), BACKEND.entmax(z, order=order)
        assert torch.equal(got, want)
        assert torch.equal(torch.autograd.grad(got, z, g)[0], torch.autograd.grad(want, z, g)[0])
    by_alpha = torch.compile(lambda z, a: BACKEND.entmax(z, alpha=a), backend=backend)
    for alpha in (1.5, "3/2", torch.tensor(1.5), 0.5, torch.tensor(0.25)):
        assert torch.equal(by_alpha(z, alpha), BACKEND.entmax(z, alpha=alpha))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_attention(backend: Any) -> None:
    torch._dynamo.reset()
    q, k, v = (torch.randn(1, 2, 5, 3, requires_grad=True) for _ in range(3))
    compiled = torch.compile(
        lambda q, k, v, kernel, rule: BACKEND.attention(q, k, v, kernel, rule, causal=True), backend=backend
    )
    for kernel, rule in ((Kernel(2), Adaptive(1)), (Kernel("3/2"), Nearest(2, Fixed(3)))):
        got, want = compiled(q, k, v, kernel, rule), BACKEND.attention(q, k, v, kernel, rule, causal=True)
        assert torch.equal(got, want)
        ours, theirs = (torch.autograd.grad(y.sum(), (q, k, v)) for y in (got, want))
        # Ahead of time the graph may add gradients in another order; they are rounded to float32 at the end.
        assert all(torch.allclose(a, b, rtol=2.0**-22, atol=2.0**-22) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.nightly  # it compiles C++ for a minute; the same graph runs every time by `eager` and `aot_eager`
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="no C++ compiler is here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own imports
def test_inductor() -> None:
    torch._dynamo.reset()
    z = torch.randn(4, 9, requires_grad=True)
    compiled = torch.compile(lambda z: BACKEND.entmax(z, order=2))
    got, want = compiled(z), BACKEND.entmax(z, order=2)
    assert torch.equal(got, want)
    g = torch.randn(4, 9)
    ours, theirs = torch.autograd.grad(got, z, g)[0], torch.autograd.grad(want, z, g)[0]
    assert torch.allclose(ours, theirs, rtol=2.0**-22, atol=2.0**-22)


def test_operators_keep_their_schemas() -> None:
    z = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    arguments = (z, leaf(1), leaf(2), 2.0, False, "adaptive")
    torch.library.opcheck(torch.ops.kernelproof.row.default, arguments)
    torch.library.opcheck(torch.ops.kernelproof.widen.default, (torch.randn(3, requires_grad=True),))
