"""The torch backend: weights against mpmath, the contract of the ops, special values and bad input."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from kernelproof.reference.errors import BackendUnavailable, DomainError
from kernelproof.reference.model import Adaptive, Anchored, Fixed, Kernel, Nearest
from kernelproof.verify.backends.torch import BACKEND as TORCH

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'kernelproof[torch]'")

BACKEND: Any = TORCH
U = 2.0**-53
GRADE_A = 4.0
HEAVY = [Fraction(-3, 2), -2, -64, -1e6]
ORDERS = [Fraction(1, 16), Fraction(1, 2), 1, 1.5, 2, 3, 8, 64, 1e4, 1e8, math.inf, -1 - 2.0**-52, *HEAVY]
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")),
]


def exact_entmax(z: Any, n: Any) -> Any:
    """Weights p and slopes w of α-entmax to about 50 digits: a bisection, unlike the code under test."""
    z = [mpmath.mpf(float(x)) for x in z]
    top = max(z)
    if n == math.inf:
        terms = [mpmath.exp(x - top) for x in z]
        p = [term / mpmath.fsum(terms) for term in terms]
        return p, p
    n = mpmath.mpf(n.numerator) / n.denominator if isinstance(n, Fraction) else mpmath.mpf(n)
    gaps = [(top - x) / n for x in z]

    def u(height: Any) -> Any:
        return [max(height - gap, mpmath.mpf(0)) for gap in gaps]

    low, high = sorted([mpmath.mpf(len(z)) ** (-1 / n), mpmath.mpf(1)])
    for _ in range(250):
        middle = (low + high) / 2
        # At n < 0 the sum falls as the height grows.
        above = (mpmath.fsum(x**n for x in u(middle) if x > 0) > 1) != (n < 0)
        low, high = (low, middle) if above else (middle, high)
    found = u(high)
    return [x**n if x else x for x in found], [x ** (n - 1) if x else x for x in found]


def kappa(z: Any, n: Any, got: Any) -> Any:
    """The condition-normalized error of docs/theory.md §4, to first order."""
    with mpmath.workdps(80):
        p, w = exact_entmax(z, n)
        gaps = [mpmath.mpf(float(max(z))) - mpmath.mpf(float(x)) for x in z]
        mass = mpmath.fsum(w)
        mean = mpmath.fsum(a * d for a, d in zip(w, gaps, strict=True)) / mass
        units = [p[i] + w[i] * ((1 - 2 * w[i] / mass) * gaps[i] + mean) + 2.0**-1022 for i in range(len(p))]
        return max(float(abs(mpmath.mpf(x) - p[i]) / units[i]) / U for i, x in enumerate(got))


def rows(n: Any, rng: Any) -> Any:
    size = 4.0 if n == math.inf else min(abs(float(n)), 30.0)
    yield rng.normal(size=12) * size / 2
    yield rng.normal(size=12) * 1e-3
    yield 1e6 + rng.normal(size=12)
    yield rng.integers(0, 3, size=9) * size / 8
    yield np.zeros(7)
    yield 1.0 + rng.integers(-4, 5, size=9) * 2.0**-50
    yield rng.normal(size=2) * 200


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("device", DEVICES)
def test_weights_are_of_grade_a(order: Any, device: Any) -> None:
    rng = np.random.default_rng(7)
    for z in rows(order, rng):
        got = BACKEND.entmax(torch.tensor(z, device=device), order=order).cpu()
        assert kappa(z, order, got.tolist()) <= GRADE_A


@pytest.mark.parametrize("order", [0.5, 1, 2, 64, math.inf, -2, -64])
def test_long_rows_keep_their_mass(order: Any) -> None:
    z = torch.tensor(np.random.default_rng(1).normal(size=100_000) * 1e-3)
    w = BACKEND.entmax(z, order=order)
    # Each weight is off by at most GRADE_A units, most of which are the weight itself or cancel in the sum.
    assert abs(math.fsum(w.tolist()) - 1) <= GRADE_A * U


@pytest.mark.parametrize("order", [Fraction(1, 2), 1, 2, 3])
def test_planted_support_is_exact(order: Any) -> None:
    # Σ over the larger keys of ((z_j − z_i)/n)^n = 1 for the third key: it is out, and anything above it is in.
    n = float(order)
    edge = -n * 0.5 ** (1 / n)
    for shift, size in ((0.0, 2), (-(2.0**-20), 2), (2.0**-20, 3)):
        w = BACKEND.entmax(torch.tensor([0.0, 0.0, edge + shift, -n, -2 * n], dtype=torch.float64), order=order)
        if shift or order < 2:  # else the edge itself is no float64
            assert int((w > 0).sum()) == size


@pytest.mark.parametrize(
    ("order", "logits"),
    [(Fraction(1, 2), [9 / 32, 1 / 32, 0]), (Fraction(1, 2), [25 / 128, 9 / 128, 0.0]), (1, [0.3125, 0.6875, 0.0])],
)
def test_keys_exactly_at_the_threshold_are_out(order: Any, logits: Any) -> None:
    z = torch.tensor(logits, dtype=torch.float64)
    assert BACKEND.entmax(z, order=order)[2] == 0
    assert BACKEND.entmax(z + torch.tensor([0, 0, 2.0**-45]), order=order)[2] > 0


@pytest.mark.parametrize("order", [1, 1.5, 2, 3, 8, 64])
def test_no_weight_is_negative_around_the_threshold(order: Any) -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        z = np.sort(rng.normal(size=6))[::-1] * min(order, 3) / 4
        p, _ = exact_entmax(z[:5], order)
        edge = float(z[0] - order * max(p) ** (1 / mpmath.mpf(order)))
        z[5] = edge
        for steps in range(-3, 4):
            z[5] = edge + steps * np.spacing(edge)
            w = BACKEND.entmax(torch.tensor(z.copy()), order=order)
            assert (w >= 0).all()
            assert abs(math.fsum(w.tolist()) - 1) <= GRADE_A * U


def test_alpha_and_order_mean_the_same() -> None:
    z = torch.randn(5, 8, dtype=torch.float64)
    for alpha, order in (
        (1.5, 2),
        (2, 1),
        (1, math.inf),
        ("3/2", "2"),
        (Fraction(4, 3), 3),
        (3.0, Fraction(1, 2)),
        (0.5, -2),
    ):
        assert torch.equal(BACKEND.entmax(z, alpha=alpha), BACKEND.entmax(z, order=order))
    assert torch.equal(BACKEND.entmax(z), BACKEND.entmax(z, order="inf"))


def test_axis_is_another_name_for_dim() -> None:
    z = torch.randn(3, 4, dtype=torch.float64)
    for dim in (0, -1):
        for given in ({"axis": dim}, {"axis": dim, "dim": dim % 2}):
            assert torch.equal(BACKEND.entmax(z, order=2, **given), BACKEND.entmax(z, order=2, dim=dim))
            named, along = (BACKEND.vjp("entmax", z, z, order=2, **where)["z"] for where in (given, {"dim": dim}))
            assert torch.equal(named, along)
    with pytest.raises(DomainError, match="dim and axis name one axis; pass one of them; got dim=0, axis=1"):
        BACKEND.entmax(z, dim=0, axis=1)
    assert torch.equal(BACKEND.entmax(z, order=2, axis=np.int64(0)), BACKEND.entmax(z, order=2, axis=0))
    for wrong in (2, True, 1.0, "0", np.bool_(True)):
        with pytest.raises(DomainError, match=re.escape(f"axis must be an int from -2 to 1; got {wrong!r}")):
            BACKEND.entmax(z, axis=wrong)


def test_dim_and_inputs_left_alone() -> None:
    z = torch.randn(3, 4, 5, dtype=torch.float64)
    before = z.clone()
    for dim in (0, 1, -1):
        w = BACKEND.entmax(z, order=2, dim=dim)
        assert w.shape == z.shape
        assert torch.allclose(w.sum(dim), torch.ones((), dtype=torch.float64), rtol=0, atol=32 * U)
    assert torch.equal(z, before)
    assert BACKEND.entmax(z.movedim(0, -1), order=3).shape == (4, 5, 3)


@pytest.mark.parametrize("rule", [Fixed(1.5), Anchored(0.75), Adaptive(2), Nearest(3, Fixed(1.5)), Nearest(2)], ids=str)
@pytest.mark.parametrize("order", [Fraction(1, 2), 1, 2.5, 8, math.inf, *HEAVY[:3]], ids=str)
def test_rules_are_the_one_form(rule: Any, order: Any) -> None:
    scores = -np.random.default_rng(3).uniform(0, 1.5, size=8)
    then: Any = rule.then if isinstance(rule, Nearest) else rule
    kept = np.sort(scores)[::-1][: rule.k] if isinstance(rule, Nearest) else np.sort(scores)[::-1]
    gaps = [mpmath.mpf(kept[0]) - mpmath.mpf(s) for s in kept]
    got = np.sort(BACKEND.weights(torch.tensor(scores), Kernel(order), rule).numpy())[::-1]
    if isinstance(then, Adaptive):
        terms, _ = exact_entmax(np.array([-float(then.beta) * float(d) for d in gaps]), order)
    elif order == math.inf and isinstance(then, Anchored):
        terms = [mpmath.mpf(d == 0) for d in gaps]
    elif order == math.inf:
        terms = [mpmath.exp(-d / then.h**2) for d in gaps]
    else:
        side = -1 if order < 0 else 1
        gamma = (
            side * mpmath.mpf(then.h) ** 2 / 2 + kept[0] if isinstance(then, Fixed) else side * mpmath.mpf(then.gamma)
        )
        n = mpmath.mpf(order.numerator) / order.denominator if isinstance(order, Fraction) else mpmath.mpf(order)
        terms = [max(1 - d / gamma, 0) ** n for d in gaps]
    total = mpmath.fsum(terms)
    want = np.array([float(t / total) for t in terms] + [0.0] * (len(got) - len(terms)))
    # First-order units with d/(γ − d) below 100 on these rows.
    assert np.abs(got - want).max() <= 100 * GRADE_A * U


def test_order_zero() -> None:
    scores = torch.tensor([0.0, -0.5, -2.0, -4.5, -5.0])
    assert BACKEND.weights(scores, Kernel(0), Fixed(3)).tolist() == [0.25, 0.25, 0.25, 0.25, 0]
    assert BACKEND.weights(scores, Kernel(0), Nearest(2)).tolist() == [0.5, 0.5, 0, 0, 0]
    assert BACKEND.weights(scores, Kernel(0), Nearest(2, Fixed(1))).tolist() == [0.5, 0.5, 0, 0, 0]


def test_ties_at_the_kth_key_go_to_the_lowest_index() -> None:
    w = BACKEND.weights(torch.tensor([1.0, 2.0, 1.0, 1.0], dtype=torch.float64), Kernel(0), Nearest(2))
    assert w.tolist() == [0.5, 0.5, 0, 0]


@pytest.mark.parametrize("order", [0.5, 1, 2, 1e4, math.inf])
def test_special_values(order: Any) -> None:
    inf, nan = math.inf, math.nan
    z = torch.tensor([[nan, 0.0, 1.0], [inf, 0.0, 1.0], [-inf, -inf, -inf], [-inf, 0.0, -1e3], [0.0, 0.0, -inf]])
    w = BACKEND.entmax(z, order=order)
    assert w[:3].isnan().all()
    assert w[3].tolist() == [0, 1, 0]
    assert w[4].tolist() == [0.5, 0.5, 0]
    big = torch.tensor([[1e30, -1e30], [1.7e308, -1.7e308], [1e30, 1e30]], dtype=torch.float64)
    assert BACKEND.entmax(big, order=order).tolist() == [[1, 0], [1, 0], [0.5, 0.5]]
    wide = torch.tensor([1.7e308, -1.7e308], dtype=torch.float64)
    narrow = (
        BACKEND.weights(wide, Kernel(order), Adaptive(2.0**-1024)),
        BACKEND.weights(wide * 2.0**-1023, Kernel(order), Adaptive(0.5)),
    )
    assert torch.equal(*narrow)
    assert BACKEND.entmax(torch.zeros(2, 0)).shape == (2, 0)
    assert BACKEND.entmax(torch.zeros(0, 3)).shape == (0, 3)
    assert BACKEND.entmax(torch.tensor([-3.0]), order=order).tolist() == [1]


def test_a_bad_row_poisons_no_other() -> None:
    z = torch.tensor([[math.nan, 0.0], [-math.inf, -math.inf], [0.5, 0.25], [-math.inf, 1.0]], dtype=torch.float64)
    grad = BACKEND.vjp("entmax", torch.ones_like(z) * torch.tensor([1.0, 2.0]), z, order=2)["z"]
    assert (grad[1] == 0).all()
    assert (grad[3] == 0).all()
    assert grad[2].isfinite().all()
    assert (grad[2] != 0).all()


@pytest.mark.parametrize(
    ("empty", "want"), [("zeros", [0, 0, 0]), ("nan", None), ("uniform", [0.5, 0.5, 0]), ("nearest", [1, 0, 0])]
)
def test_empty_balls(empty: Any, want: Any) -> None:
    scores = torch.tensor([[-9.0, -10.0, -math.inf], [0.0, -0.25, -math.inf], [-math.inf] * 3], dtype=torch.float64)
    w = BACKEND.weights(scores, Kernel(1), Fixed(1), empty=empty)
    assert w[0].isnan().all() if want is None else w[0].tolist() == want
    assert w[1].tolist() == [2 / 3, 1 / 3, 0]
    assert (w[2] == 0).all() if empty == "zeros" else w[2].isnan().all()
    with pytest.raises(DomainError, match=r"row \[0\] is empty"):
        BACKEND.weights(scores, Kernel(1), Fixed(1), empty="raise")


def plain_attention(q: Any, k: Any, v: Any, allowed: Any, bias: Any, scale: Any, *, norm: Any) -> Any:
    heads, groups = q.shape[0], q.shape[0] // k.shape[0]
    y = np.full((heads, q.shape[1], v.shape[2]), np.nan)
    for h in range(heads):
        for t in range(q.shape[1]):
            keys = [j for j in range(k.shape[1]) if allowed[h, t, j]]
            if not keys:
                continue
            ours = k[h // groups, keys]
            s = -((q[h, t] - ours) ** 2).sum(-1) / 2 if norm else ours @ q[h, t]
            p, _ = exact_entmax(scale * s + bias[h, t, keys], 2)
            y[h, t] = np.array([float(x) for x in p]) @ v[h // groups, keys]
    return y


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("kind", ["none", "bool", "float", "causal", "lengths", "all"])
def test_attention_with_masks_and_grouped_heads(kind: Any, norm: Any, device: Any) -> None:
    rng = np.random.default_rng(5)
    q, k, v = rng.normal(size=(4, 3, 2)), rng.normal(size=(2, 5, 2)), rng.normal(size=(2, 5, 3))
    allowed, bias = np.ones((4, 3, 5), dtype=bool), np.zeros((4, 3, 5))
    options: dict[str, Any] = {}
    if kind in {"bool", "all"}:
        allowed &= (chosen := rng.random((3, 5)) < 0.7)
        options["mask"] = torch.tensor(chosen, device=device)
    if kind == "float":
        bias = np.where(rng.random((4, 3, 5)) < 0.3, -np.inf, rng.normal(size=(4, 3, 5)))
        allowed &= bias > -np.inf
        options["mask"] = torch.tensor(bias, device=device)
    if kind in {"causal", "all"}:
        allowed &= np.tri(3, 5, 2, dtype=bool)
        options["causal"] = True
    if kind in {"lengths", "all"}:
        allowed &= np.arange(5) < 4
        options["lengths"] = torch.tensor(4, device=device)
    arrays = [torch.tensor(x, device=device) for x in (q, k, v)]
    y = BACKEND.attention(*arrays, Kernel(2), Adaptive(), key_norm_term=norm, **options).cpu().numpy()
    want = plain_attention(q, k, v, allowed, bias, 1 / math.sqrt(2), norm=norm)
    assert np.array_equal(np.isnan(y), np.isnan(want))
    # Scores and outputs are sums of a few numbers below 10: some 40 roundings of them.
    assert np.nanmax(np.abs(y - want)) <= 400 * U


def test_attention_info() -> None:
    q, k, v = torch.randn(2, 4, 3), torch.randn(1, 6, 3), torch.randn(1, 6, 2)
    found = BACKEND.attention(q, k, v, Kernel(2), Adaptive(1.5), scale=1.0, causal=True, info=True)
    assert found.support.shape == (2, 4, 6)
    scores = (q.double() @ k.double().mT).masked_fill(~torch.ones(4, 6, dtype=torch.bool).tril(2), -math.inf)
    assert torch.equal(found.support, 1.5 * scores / 2 > found.threshold[..., None])
    weights = ((1.5 * scores / 2 - found.threshold[..., None]).clamp(min=0)) ** 2
    assert torch.allclose(weights.sum(-1), torch.ones((), dtype=torch.float64), rtol=0, atol=1e3 * U)
    assert torch.allclose(found.log_normalizer, -weights.amax(-1).log(), rtol=0, atol=1e3 * U)
    assert torch.equal(BACKEND.attention(q, k, v, Kernel(2), Adaptive(1.5), scale=1.0, causal=True), found.y)


def test_padded_keys_are_not_read() -> None:
    q, k, v = torch.randn(2, 1, 3, 2), torch.randn(2, 1, 4, 2), torch.randn(2, 1, 4, 2)
    k[0, :, 2:], v[0, :, 2:] = math.nan, math.inf
    for norm in (False, True):
        options = {"lengths": torch.tensor([2, 4]), "key_norm_term": norm}
        assert BACKEND.attention(q, k, v, Kernel(2), Adaptive(), **options).isfinite().all()
        grads = BACKEND.vjp("attention", torch.ones(2, 1, 3, 2), q, k, v, Kernel(2), Adaptive(), **options)
        assert all(g.isfinite().all() for g in grads.values())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda z: BACKEND.entmax(z.numpy()), "torch.Tensor; got numpy.ndarray"),
        (lambda z: BACKEND.entmax(z.long()), "floating array; got dtype int64; allowed: float64"),
        (lambda z: BACKEND.entmax(z.to(torch.complex64)), "got dtype complex64"),
        (lambda z: BACKEND.entmax(z[0, 0]), r"at least 1 axes; got shape \(\)"),
        (lambda z: BACKEND.entmax(z, dim=2), r"dim must be an int from -2 to 1; got 2"),
        (lambda z: BACKEND.entmax(z, order=2, alpha=2), "order or alpha, not both"),
        (lambda z: BACKEND.entmax(z, order=-1), "Adaptive takes orders below -1 or above 0, .* got order -1"),
        (lambda z: BACKEND.weights(z, Kernel(-0.5), Nearest(2)), "Adaptive takes orders below -1 or above 0"),
        (lambda z: BACKEND.entmax(z, order=-math.inf), r"order must be in \(-inf, inf\], .* got -inf"),
        (lambda z: BACKEND.entmax(z, order=0), "order 0 is defined with"),
        (lambda z: BACKEND.entmax(z, alpha=0), r"alpha must be in \(0, inf\]; got 0"),
        (lambda z: BACKEND.entmax(z, order=math.nan), "got nan"),
        (lambda z: BACKEND.weights(z, 2, Fixed(1)), "kernel must be a Kernel"),
        (lambda z: BACKEND.weights(z, Kernel(2), 2), "rule must be Fixed"),
        (lambda z: BACKEND.weights(z, Kernel(0), Anchored()), "order 0 is defined with"),
        (lambda z: BACKEND.weights(z, Kernel(2), Fixed(1), empty="none"), "empty must be one of"),
        (lambda z: BACKEND.regression(z, z[:, :1], z, Kernel(2), Fixed(1)), "same last axis"),
        (lambda z: BACKEND.regression(z, z, z[:1], Kernel(2), Fixed(1)), "same number of keys"),
        (lambda z: BACKEND.regression(z, z.half(), z, Kernel(2), Fixed(1)), "share one dtype"),
        (lambda z: BACKEND.attention(z, z, z, Kernel(2), Adaptive()), "at least 3 axes"),
        (
            lambda z: BACKEND.attention(z.expand(3, 2, 2), z.expand(2, 2, 2), z.expand(2, 2, 2), Kernel(2), Adaptive()),
            "multiple of Hk",
        ),
        (lambda z: BACKEND.vjp("softmax", z, z), "op must be one of"),
        (lambda z: BACKEND.vjp("entmax", z[0], z), "cotangent must be"),
    ],
)
def test_bad_input(call: Any, says: Any) -> None:
    with pytest.raises(DomainError, match=says):
        call(torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mask": torch.ones(3, 3)}, r"mask must broadcast to \(2, 1, 2, 2\); got shape \(3, 3\)"),
        ({"mask": torch.ones(2, 2).long()}, "mask must be bool"),
        ({"mask": np.ones((2, 2))}, "mask must be a torch.Tensor; got numpy.ndarray"),
        ({"lengths": [1]}, r"shape \(2,\) of the leading axes; got \(1,\)"),
        ({"lengths": [1, 3]}, r"lengths must be in \[0, 2\]; got \[1, 3\]"),
        ({"lengths": [0.5, 1]}, "lengths must be ints"),
        ({"mask": torch.full((2,), math.nan)}, "mask must be finite or -inf"),
        ({"mask": torch.full((2,), math.inf)}, "mask must be finite or -inf"),
        ({"causal": "yes"}, "causal must be True or False; got 'yes'"),
        ({"key_norm_term": 2}, "key_norm_term must be True or False; got 2"),
        ({"scale": math.nan}, "scale must be finite; got nan"),
        ({"scale": "1"}, "scale must be a number"),
    ],
)
def test_bad_options(options: Any, says: Any) -> None:
    z = torch.zeros(2, 1, 2, 2)
    with pytest.raises(DomainError, match=says):
        BACKEND.attention(z, z, z, Kernel(2), Adaptive(), **options)


def test_torch_is_imported_on_use() -> None:
    code = (
        "import sys\n"
        "from kernelproof.verify.backends.torch import BACKEND\n"
        "assert 'torch' not in sys.modules\n"
        "sys.modules['torch'] = None\n"
        "print(BACKEND.available(), BACKEND.devices())\n"
        "try: BACKEND.entmax(None)\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == [
        "torch is not installed; pip install 'kernelproof[torch]' ()",
        BackendUnavailable.__name__,
    ]
    assert BACKEND.available() is None
    assert "cpu" in BACKEND.devices()
