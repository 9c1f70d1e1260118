"""What storage roundings do to rows of weights, at every corner of their box."""

from __future__ import annotations

import numpy as np
import pytest
from tests.verify.truth.rounding_boxes import (
    FINITE,
    NOISE,
    covers,
    signs,
    weigh,
)

from kernelproof.reference import Kernel
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import Adaptive, Anchored, Fixed
from kernelproof.verify.judging.allowance import rounded_weights
from kernelproof.verify.judging.precision import eta, precision_of
from kernelproof.verify.records import Contract, Floats
from kernelproof.verify.truth.stored_rows import of_order, of_products, weight_box
from kernelproof.verify.truth.units import RowUnits

# rows of weights


def units_of(order: str, rule: str, generator: np.random.Generator, keys: int = 6) -> RowUnits:
    n = float(Kernel(order).order)
    kinds: dict[str, Adaptive | Anchored | Fixed] = {
        "adaptive": Adaptive(1),
        "anchored": Anchored(2),
        "fixed": Fixed(2),
    }
    kind = kinds[rule]
    if n == np.inf:
        weights = weigh(generator.normal(size=keys), n)
        gaps = -np.log(weights / weights.max())
        return RowUnits(weights, np.full(keys, np.inf), n, kind, 1.0, gaps, gaps)
    margins = generator.uniform(0.05, 1.0, keys)
    if rule == "adaptive":
        gaps = n * (1 - margins)
        z = -gaps
        weights = weigh(z, n)
        root = (weights.max() ** (1 / n)) * n
        margins = root - (z.max() - z)
        keep = margins > 0
        return RowUnits(weights[keep], margins[keep], n, kind, 1.0, gaps[keep], gaps[keep])
    weights = margins**n / (margins**n).sum()
    return RowUnits(weights, margins, n, kind, 1.0, margins.max() - margins, margins)


@pytest.mark.parametrize("order", [*FINITE, "inf"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
def test_a_backward_that_reads_stored_weights(dtype: str, order: str) -> None:
    """`of_products` covers every corner of p and of the products p·g that are stored, within 2.5."""
    u, least = FORMATS[dtype].unit_roundoff, eta(FORMATS[dtype])
    generator = np.random.default_rng(6)
    for _ in range(12):
        units = units_of(order, "adaptive", generator, 5)
        p, g = units.weights, generator.normal(size=len(units.weights))
        n = units.order
        power = 1.0 if n == np.inf else 1 - 1 / n

        def back(at: Floats, power: float = power, g: Floats = g) -> tuple[Floats, Floats, Floats]:
            w = np.clip(at, 0, None) ** power
            share = w if power == 1.0 else w / w.sum(-1, keepdims=True)
            return w, share, w * (g - (share * g).sum(-1, keepdims=True))

        corners = p + signs(len(p)) * (u * p + np.minimum(least, p))
        w, share, c = back(corners)
        kept = u * w * np.abs(g) + np.minimum(least, w * np.abs(g))
        change = np.abs(c - back(p)[2]) + kept + share * kept.sum(-1, keepdims=True)
        covers(of_products(units, g, u, least), change.max(axis=0), 1.0, 2.5)


@pytest.mark.parametrize("order", [*FINITE, "inf"])
@pytest.mark.parametrize("rule", ["adaptive", "anchored", "fixed"])
def test_the_gradient_in_the_order_of_stored_weights(rule: str, order: str) -> None:
    """`of_order`: Σ|∂/∂p_i| times a rounding of p_i, by differences."""
    u, least = 2.0**-8, 0.0
    generator = np.random.default_rng(8)
    for _ in range(6):
        units = units_of(order, rule, generator)
        p, g = units.weights, generator.normal(size=len(units.weights))
        n = units.order

        def by_order(p: Floats, n: float = n, g: Floats = g, units: RowUnits = units) -> float:
            """G2 from weights that are given."""
            if n == np.inf:
                if rule != "adaptive":
                    return 0.0
                log = np.log(p)
                return float(g @ (p * ((p @ log**2) - log**2) / 2))
            if rule == "adaptive":
                base, w = p ** (1 / n), p ** (1 - 1 / n)
                phi = np.log(base) - 1 + 1 / base
                return float(g @ (p * phi - w / w.sum() * (p @ phi)))
            log = np.log(units.margins / units.margins.max())
            return float(g @ (p * (log - p @ log)))

        step = 2.0**-26
        slopes = [
            (by_order(p + step * p * (np.arange(len(p)) == i)) - by_order(p - step * p * (np.arange(len(p)) == i)))
            / (2 * step * p[i])
            for i in range(len(p))
        ]
        # The terms of each value sum to at most `size`, because Σ p = 1, and take some four roundings each: so far is a
        # slope times its p_i off, divided by the step, and there are len(p) slopes. The error of the difference itself,
        # the step squared, is below a rounding.
        widest = max(1.0, float((p ** (1 - 1 / n)).max()))
        size = float(np.abs(g).max()) * (1 + float(np.abs(np.log(p)).max())) ** 2 * widest
        error = u * len(p) * 4 * size * 2.0**-53 / step
        assert abs(float(of_order(units, g, u, least)) - float(np.abs(slopes) @ (u * p))) <= error


@pytest.mark.parametrize("order", ["1/2", "1", *FINITE, "inf"])
def test_the_box_of_weights(order: str) -> None:
    """`weight_box` holds the weights at every corner of a box of scores; from order 1 on it is within 1.1 of them
    where it is small."""
    generator = np.random.default_rng(9)
    n, count = float(Kernel(order).order), 0
    for trial in range(60):
        z, keys = generator.normal(0, n if n < np.inf else 2, 5), 5
        delta = np.abs(generator.normal(size=keys)) * float(generator.choice([2.0**-10, 2.0**-6, 2.0**-3]))
        p = weigh(z, n)
        gaps = z.max() - z
        root = n * p.max() ** (1 / n) if n < np.inf else np.inf
        margins = root - gaps if n < np.inf else np.full(keys, np.inf)
        inside = p > 0
        units = RowUnits(p, np.where(inside, margins, np.inf), n, Adaptive(1), 1.0, gaps, gaps)
        low, high = weight_box(units, margins, delta)
        own = 2 * np.eye(keys) - 1
        least = np.diag(weigh(z - own * delta, n))
        most = np.diag(weigh(z + own * delta, n))
        assert (low <= least + NOISE).all(), trial
        assert (high >= most - NOISE).all(), trial
        # No key may leave or enter, and no weight moves by much of itself.
        if n >= 1 and (high - low <= low / 4).all():
            count += 1
            assert (high - low <= 1.1 * (most - least) + NOISE).all(), trial
    assert n < 1 or count > 8


@pytest.mark.parametrize("order", ["1/2", "2", "8", "inf"])
@pytest.mark.parametrize("rule", ["anchored", "fixed"])
def test_the_box_of_weights_of_a_fixed_reach(rule: str, order: str) -> None:
    if rule == "anchored" and order == "inf":
        pytest.skip("argmax: its weights do not depend on scores")
    generator = np.random.default_rng(10)
    n = float(Kernel(order).order)
    reach = 2.0
    for _ in range(40):
        s = -np.abs(generator.normal(size=5))
        delta = np.abs(generator.normal(size=5)) * 2.0**-6

        def weights(s: Floats) -> Floats:
            gaps = (s.max(axis=-1, keepdims=True) - s) if rule == "anchored" else -s
            terms = np.exp(-gaps) if n == np.inf else np.clip(reach - gaps, 0, None) ** n
            return np.asarray(terms / terms.sum(axis=-1, keepdims=True))

        p = weights(s)
        gaps = (s.max() - s) if rule == "anchored" else -s
        margins = np.full(5, np.inf) if n == np.inf else reach - gaps
        kind = Anchored(2) if rule == "anchored" else Fixed(1)
        units = RowUnits(p, np.where(p > 0, margins, np.inf), n, kind, 1.0, gaps, gaps)
        low, high = weight_box(units, margins, delta)
        found = weights(s + signs(5) * delta)
        assert (low <= found.min(axis=0) + NOISE).all()
        assert (high >= found.max(axis=0) - NOISE).all()


def test_stored_terms_of_normalized_weights() -> None:
    """exponentials 2u·p(1 − p) + η, their sum u·p: within 1 + 8u of the sup, of which they are the first order."""
    generator = np.random.default_rng(12)
    for dtype in ("bfloat16", "float16"):
        u, least = FORMATS[dtype].unit_roundoff, eta(FORMATS[dtype])
        off = u / (1 + u)
        for _ in range(20):
            e = np.exp(-np.append(0.0, generator.exponential(2, 4)))
            p = e / e.sum()
            corners = e + signs(5) * np.maximum(off * e, least)
            for name, moved in (
                ("exponentials", corners / corners.sum(-1, keepdims=True)),
                ("denominator", np.array([p / (1 + off), p / (1 - off)])),
            ):
                change = np.abs(moved - p).max(axis=0)
                r = rounded_weights(p, precision_of(dtype, Contract(roundings=(name,))))
                assert (change <= r * (1 + 8 * u)).all()
                assert (r <= change * (1 + 8 * u) + least).all()
