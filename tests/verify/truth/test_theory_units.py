"""Every condition unit of docs/theory.md §4 against mpmath at two precisions, derivatives taken there.

What verify computes in float64 from proved weights is compared with the formula itself, evaluated from the definition
of the weights and sharing nothing with the oracle. What the units mean on perturbed inputs is in test_units.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from tests.reference.defined import both_precisions, mp, u_hat

from kernelproof.reference import Kernel
from kernelproof.reference.formats import FORMATS, Format
from kernelproof.verify.cases.case import Case
from kernelproof.verify.judging.errors import first_order
from kernelproof.verify.judging.grades import GRADE_LIMITS, grade_of, limit_of
from kernelproof.verify.judging.precision import eta, precision_of
from kernelproof.verify.records import Contract, Inputs, Truth
from kernelproof.verify.truth.box import STEPS, box_kappa
from kernelproof.verify.truth.truth import truth_of

ORDERS = ["1/2", "1", "3/2", "2", "8", "64", "inf"]
Z = [0.75, 0.5, 0.375, -0.25, -60.0]
every_order = pytest.mark.parametrize("order", ORDERS)
ROUNDINGS = 2.0**-44
"""A unit is a sum of terms of one sign over a few keys, each of some tens of float64 operations, 512 in all."""


def case_of(op: str, order: str, rule: str, dtype: str, shape: tuple[int, ...]) -> Case:
    return Case(op, order, None, rule, dtype, "random", shape, "1", 0)


def proved(case: Case, arrays: dict[str, Any], scores: str = "differences", **given: Any) -> Truth:
    truth = truth_of(case, Inputs(arrays, **given), scores)
    assert truth is not None
    return truth


def working(bits: int) -> Any:
    """Room for a power of 64 and for one of 1/2, which takes twice the bits."""
    return mpmath.workprec(2 * bits + 64)


def number(order: str) -> Any:
    return mpmath.inf if order == "inf" else mp(Kernel(order).order)


def entmax(z: list[Any], order: str) -> tuple[list[Any], list[Any]]:
    """p and w = p^(1 − 1/n) on the support, 0 off it."""
    n, top = number(order), max(z)
    if n == mpmath.inf:
        terms = [mpmath.exp(x - top) for x in z]
        p = [term / mpmath.fsum(terms) for term in terms]
        return p, p
    root = u_hat([top - x for x in z], n)
    u = [max(root - (top - x) / n, mpmath.mpf(0)) for x in z]
    return [x**n if x else x for x in u], [x ** (n - 1) if x else x for x in u]


def slope(function: Callable[[list[Any]], Any], z: list[Any], k: int) -> Any:
    """∂/∂z_k as a central difference; its error is about 2^(−2P/3) at P bits."""
    step = mpmath.mpf(2) ** (-mpmath.mp.prec // 3)
    ahead, behind = ([x + sign * step * (j == k) for j, x in enumerate(z)] for sign in (1, -1))
    return (function(ahead) - function(behind)) / (2 * step)


# the box


def corners(z: list[Any], order: str, key: int, reach: Any) -> tuple[Any, Any]:
    """p⁻ and p⁺ of weight `key`: its own logit moves one way by reach·d, every other the opposite way."""
    top = max(z)
    low, high = (
        entmax([x + (sign if j == key else -sign) * reach * (top - x) for j, x in enumerate(z)], order)[0][key]
        for sign in (-1, 1)
    )
    return low, high


def half_ulp(x: Any, target: Format) -> Any:
    """Half the spacing of the format at x, and that of its subnormal numbers below them."""
    size = abs(x)
    exponent = max(int(mpmath.floor(mpmath.log(size, 2))), target.emin) if size else target.emin
    return mpmath.mpf(2) ** (exponent - target.precision)


def admitted(
    z: list[Any], order: str, key: int, got: float, kappa: Any, target: Format, *, flush: bool = False
) -> bool:
    """p̂ ∈ [p⁻(κ)(1 − κu_c) − ½ulp_s(p), p⁺(κ)(1 + κu_c) + ½ulp_s(p⁺)], and what may be flushed on either side."""
    reach = kappa * mpmath.mpf(2) ** -max(target.precision, 24)
    flushed = mpmath.mpf(2) ** target.emin if flush else 0
    low, high = corners(z, order, key, reach)
    low, high = low * (1 - reach) - flushed, high * (1 + reach) + flushed
    weight = entmax(z, order)[0][key] + flushed
    return bool(low - half_ulp(weight, target) <= got <= high + half_ulp(high, target))


def least(z: list[Any], order: str, key: int, got: float, target: Format, *, flush: bool = False) -> Any:
    """The least κ that admits `got`, to a part in 2^40."""
    low, high = mpmath.mpf(2) ** -10, mpmath.mpf(10) ** 6
    for _ in range(46):
        middle = mpmath.sqrt(low * high)
        inside = admitted(z, order, key, got, middle, target, flush=flush)
        low, high = (low, middle) if inside else (middle, high)
    return high


@both_precisions
@every_order
def test_the_corners_of_the_box_are_its_extremes(order: str, bits: int) -> None:
    """p_i rises in z_i and falls in every other z_j, so over |δ_j| ≤ κu·d_j the corners are the extremes."""
    generator = np.random.default_rng(5)
    with working(bits):
        z, reach = [mp(x) for x in Z], mpmath.mpf(2) ** -6
        for key in range(len(z)):
            low, high = corners(z, order, key, reach)
            for _ in range(6):
                signs = generator.choice([-1.0, -0.5, 0.0, 1.0], len(z)).tolist()
                inside = [x + sign * reach * (max(z) - x) for x, sign in zip(z, signs, strict=True)]
                slack = mpmath.mpf(2) ** -bits
                assert low - slack <= entmax(inside, order)[0][key] <= high + slack


@both_precisions
@pytest.mark.parametrize(
    ("order", "gaps", "factor", "dtype"),
    [
        ("1/2", [0.125, 0.0625], 1 + 2.0**-18, "float32"),
        ("1/2", [0.5 - 2.0**-20], 0.0, "float32"),  # one key just inside the threshold
        ("1", [1 - 2.0**-20], 0.0, "float32"),
        ("3/2", [1.5 - 2.0**-18], 3.0, "float32"),
        ("2", [1.0, 0.25], 1 - 2.0**-19, "float32"),
        ("64", [3.0, 1.0], 1.25, "bfloat16"),
        ("inf", [5.0, 1.25], 1.25, "bfloat16"),
        ("inf", [14.0, 3.5], 0.75, "float16"),  # below the smallest normal number
    ],
)
def test_the_condition_normalized_error_is_the_least_that_the_box_admits(
    order: str, gaps: list[float], factor: float, dtype: str, bits: int
) -> None:
    """κ: the least κ whose box, in roundings of the compute dtype, holds p̂_i after one rounding to the storage."""
    scores, target = -np.array([0.0, *gaps]), FORMATS[dtype]
    case = case_of("entmax", order, "adaptive:1", dtype, (1, len(scores)))
    with working(bits):
        z = [mp(x) for x in scores.tolist()]
        weight = entmax(z, order)[0][1]
        assert weight > 0
        got = float(weight * factor)
        for flush in (False, True):
            expected = least(z, order, 1, got, target, flush=flush)
            found = box_kappa(case, scores, 1, got, precision_of(dtype, Contract(flush_to_zero=flush)))
            assert expected > 1 or (flush and weight < mpmath.mpf(2) ** target.emin)
            limits = [0.25, *(limit for limit in GRADE_LIMITS.values() if np.isfinite(limit))]
            top = next(limit for limit in limits[1:] if found <= limit)
            # `box_kappa` bisects log κ between two limits; `least` is known to a part in 2^40.
            width = (top / max(limit for limit in limits if limit < top)) ** (2.0**-STEPS)
            assert expected <= found * (1 + 2.0**-39)
            assert found <= max(expected, 0.25) * width * (1 + 2.0**-39)


@both_precisions
@pytest.mark.parametrize("name", list(FORMATS))
def test_eta_is_half_the_smallest_subnormal_and_the_smallest_normal_is_flushed(name: str, bits: int) -> None:
    """η half the smallest subnormal; under flush to zero the smallest normal number is added."""
    limits = {"float64": (-1074, -1022), "float32": (-149, -126), "float16": (-24, -14), "bfloat16": (-133, -126)}
    limits |= {"float8_e4m3fn": (-9, -6), "float8_e5m2": (-16, -14)}
    subnormal, normal = limits[name]
    with working(bits):
        assert precision_of(name, Contract(flush_to_zero=True)).flushed == mpmath.mpf(2) ** normal
        assert precision_of(name, Contract()).flushed == 0
        # Half the smallest subnormal of float64 is no float64.
        half = float(mpmath.mpf(2) ** (subnormal if name == "float64" else subnormal - 1))
        assert eta(FORMATS[name]) == half


# first order


@both_precisions
@every_order
def test_the_unit_of_a_weight_is_first_order_in_the_box(order: str, bits: int) -> None:
    """(|p̂_i − p_i| − ½ulp(p_i)) / (u·(p_i + w_i[(1 − 2w_i/W)d_i + Σ_j w_j d_j/W] + η/u)): what the corners do."""
    truth = proved(case_of("entmax", order, "adaptive:1", "float32", (1, len(Z))), {"z": np.array([Z])})
    target = FORMATS["float32"]
    wrong = truth.output.head + 2.0**-20
    found = first_order(wrong, truth.output, precision_of("float32", Contract())).kappa[0]
    with working(bits):
        z = [mp(x) for x in Z]
        p, w = entmax(z, order)
        total = mpmath.fsum(w)
        d = [max(z) - x for x in z]
        spread = mpmath.fsum(a * x for a, x in zip(w, d, strict=True)) / total
        u, least_number = mpmath.mpf(2) ** -24, mpmath.mpf(2) ** -150
        for i, weight in enumerate(p):
            unit = weight + w[i] * ((1 - 2 * w[i] / total) * d[i] + spread)
            assert float(truth.output.unit[0, i]) == pytest.approx(float(unit), rel=ROUNDINGS)
            got = mp(float(wrong[0, i]))
            kappa = (abs(got - weight) - half_ulp(weight, target)) / (u * (unit + least_number / u))
            # 2^-20 was added to a float64: the difference keeps 53 − 20 bits.
            assert float(found[i]) == pytest.approx(float(kappa), rel=2.0**-30)
            reach = mpmath.mpf(2) ** -100
            low, high = corners(z, order, i, reach)
            # The corners are quadratic in their reach, with terms of at most n² d².
            assert abs((high - low) / (2 * reach) - (unit - weight)) <= mpmath.mpf(2) ** -60


@both_precisions
@every_order
@pytest.mark.parametrize(
    ("op", "scores"), [("regression", "differences"), ("regression", "dots"), ("attention", "differences")]
)
def test_the_unit_of_a_mean(op: str, scores: str, order: str, bits: int) -> None:
    """u(|y| + Σ w_i|v_i| + Σ_i |∂y/∂s_i| σ_i), σ_i = D_i from differences, Σ_c |q_c k_ic| + ‖k_i‖²/2 from dots."""
    generator = np.random.default_rng(8)
    q, k, v = (generator.normal(0, 0.25, shape) for shape in ((1, 3), (5, 3), (5, 2)))
    arrays = {"q": q, "k": k, "v": v}
    if op == "attention":
        arrays = {name: array[None] for name, array in arrays.items()}
    case = case_of(op, order, "adaptive:3/4", "float32", (1, 5, 3, 2) if op == "regression" else (1, 1, 1, 5, 3, 2))
    truth = proved(case, arrays, scores, options={} if op == "regression" else {"scale": 0.5})
    with working(bits):
        beta, scale = mp(0.75), mp(0.5)
        pairs = [[(mp(a), mp(b)) for a, b in zip(q[0].tolist(), key, strict=True)] for key in k.tolist()]
        if op == "regression":
            sigma = [mpmath.fsum((a - b) ** 2 for a, b in pair) for pair in pairs]
            s = [-x / 2 for x in sigma]
            if scores == "dots":
                sigma = [mpmath.fsum(abs(a * b) + b * b / 2 for a, b in pair) for pair in pairs]
        else:
            sigma = [scale * mpmath.fsum(abs(a * b) for a, b in pair) for pair in pairs]
            s = [scale * mpmath.fsum(a * b for a, b in pair) for pair in pairs]
        for c, column in enumerate(v.T.tolist()):

            def mean(scores: list[Any], column: list[float] = column) -> Any:
                return mpmath.fdot(entmax([beta * x for x in scores], order)[0], map(mp, column))

            p = entmax([beta * x for x in s], order)[0]
            unit = abs(mean(s)) + mpmath.fsum(x * abs(y) for x, y in zip(p, column, strict=True))
            for i in range(len(s)):
                unit += abs(slope(mean, s, i)) * sigma[i]
            assert float(truth.output.head[0, c]) == pytest.approx(float(mean(s)), rel=2.0**-50)
            # v_i − centre cancels: the terms are up to 2^4 times the sum.
            assert float(truth.output.unit[0, c]) == pytest.approx(float(unit), rel=16 * ROUNDINGS)


@both_precisions
@every_order
def test_the_unit_of_a_vector_jacobian_product(order: str, bits: int) -> None:
    """u(Σ_j (w_i δ_ij + w_i w_j/W)|g_j| + Σ_jk |∂J_ij/∂z_k||g_j|d_k), J = diag(w) − wwᵀ/W."""
    g = [0.75, -1.5, 0.5, 2.0, 3.0]
    case = case_of("entmax", order, "adaptive:1", "float32", (1, len(Z)))
    truth = proved(case, {"z": np.array([Z])}, cotangent=np.array([g]))
    assert truth.gradients is not None
    with working(bits):
        z = [mp(x) for x in Z]
        size = len(z)

        def jacobian(i: int, j: int) -> Callable[[list[Any]], Any]:
            def entry(at: list[Any]) -> Any:
                w = entmax(at, order)[1]
                return (w[i] if i == j else 0) - w[i] * w[j] / mpmath.fsum(w)

            return entry

        w = entmax(z, order)[1]
        total = mpmath.fsum(w)
        for i in range(size):
            entries = [jacobian(i, j) for j in range(size)]
            product = mpmath.fsum(entry(z) * x for entry, x in zip(entries, g, strict=True))
            assert abs(product - float(truth.gradients["z"].head[0, i])) <= 2.0**-52
            unit = mpmath.fsum(((w[i] if i == j else 0) + w[i] * w[j] / total) * abs(g[j]) for j in range(size))
            for entry, x in zip(entries, g, strict=True):
                unit += mpmath.fsum(abs(slope(entry, z, k)) * abs(x) * (max(z) - z[k]) for k in range(size))
            assert float(truth.gradients["z"].unit[0, i]) == pytest.approx(float(unit), rel=16 * ROUNDINGS)


def test_grades() -> None:
    """A ≤ 4, B ≤ 32, C ≤ 10³, D ≤ 10⁶, E finite, F not; the same in every dtype."""
    kappas = [0.0, 1.0, 4.0, 5.0, 32.0, 33.0, 255.0, 257.0, 1e3, 1001.0, 1e6, 1e6 + 1, 1e7, 1e300, np.inf, np.nan]
    for kappa in kappas:
        limits = {"A": kappa <= 4, "B": kappa <= 32, "C": kappa <= 1e3, "D": kappa <= 1e6}
        allowed = [grade for grade, holds in limits.items() if holds]
        assert grade_of(kappa) == (allowed[0] if allowed else "E" if np.isfinite(kappa) else "F")
        for grade, holds in limits.items():
            # A better grade is also every worse one.
            assert (kappa <= limit_of(grade)) == holds
