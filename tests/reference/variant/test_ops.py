from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import Adaptive, Anchored, DomainError, Kernel
from kernelproof.reference.variant import Constant, Root, Variant, cross_check, mass, weights, weights_vjp


def participation(x: Any, terms: list[Any], k: Any) -> Any:
    """(Σ K)²/Σ K² − k: the effective number of keys."""
    total = x.total(terms)
    return total * total / x.total([each * each for each in terms]) - k


SPARSEMAX = Variant("sparsemax", lambda x, t: -t, mass(1, (-4, 4)), geometry="shift", edge=0)
ENTMAX15 = Variant("entmax15", lambda x, t: (t / 2) ** 2, mass(1, (-4, 4)), geometry="shift", edge=0, order=2)
RELUMAX2 = Variant("relumax²", lambda x, t: (1 - t) ** 2, Constant(), order=2, parameters={"gamma": 2})
COSINE = Variant("cosine", lambda x, t: x.cos(x.pi * t / 2) ** 2, Constant(), order=2, parameters={"gamma": 2})
COSINE_MASS = Variant("cosine of mass 3", COSINE.profile, mass("total"), order=2, parameters={"total": 3})
SOFTPLUS = Variant("softplus", lambda x, t: x.log1p(x.exp(-t)), mass(1, (-64, 64)), geometry="shift", edge=None)
STRETCHED = Variant(
    "stretched", lambda x, t, a: x.exp(-a * t), Constant(), edge=None, parameters={"gamma": 2, "a": 1.5}
)
SHARED = Variant(
    "effective keys", lambda x, t: x.exp(-t), Root(participation, (2.0**-10, 2.0**20)), edge=None, parameters={"k": 3}
)
ALL = [SPARSEMAX, ENTMAX15, RELUMAX2, COSINE, COSINE_MASS, SOFTPLUS, STRETCHED, SHARED]
every_variant = pytest.mark.parametrize("variant", ALL, ids=lambda each: each.name)


def rows(count: int = 3, size: int = 9) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 2, (count, size))


@every_variant
def test_enclosures_hold_what_bisection_gives(variant: Variant) -> None:
    scores = rows()
    found = weights(scores, variant)
    assert not found.unsure.any()
    for lo, hi, row in zip(found.weights.lo, found.weights.hi, scores, strict=True):
        for low, high, second in zip(lo, hi, cross_check(row, variant), strict=True):
            assert mpmath.mpf(low) <= second <= mpmath.mpf(high)
    assert np.array_equal(found.support, found.weights.hi > 0)
    # Within two units in the last place, as enclosures published in float64 are.
    assert np.all(found.weights.hi - found.weights.lo <= 4 * np.spacing(found.weights.hi))


@pytest.mark.parametrize(
    ("variant", "kernel", "rule"),
    [
        (SPARSEMAX, Kernel(1), Adaptive()),
        (ENTMAX15, Kernel(2), Adaptive()),
        (RELUMAX2, Kernel(2), Anchored(2)),
    ],
    ids=["sparsemax", "entmax15", "relumax²"],
)
def test_named_mechanisms_written_as_variants_are_themselves(variant: Variant, kernel: Any, rule: Any) -> None:
    scores = rows()
    g = np.random.default_rng(6).normal(size=scores.shape)
    ours, theirs = weights(scores, variant), reference.weights(scores, kernel, rule)
    assert np.array_equal(ours.support, theirs.support)
    for dtype in ("float64", "float32", "bfloat16"):
        assert np.array_equal(ours.weights.round(dtype), theirs.weights.round(dtype))
    pulled, known = weights_vjp(scores, g, variant), reference.weights_vjp(scores, g, kernel, rule)
    assert np.array_equal(pulled["scores"].round("float64"), known["scores"].round("float64"))
    if "gamma" in pulled:
        assert pulled["gamma"].round("float64") == known["gamma"].round("float64")


@every_variant
def test_gradients_are_the_quotients_of_differences(variant: Variant) -> None:
    row, g = rows(1, 6)[0], np.random.default_rng(7).normal(size=6)
    found = weights_vjp(row, g, variant)["scores"].round("float64")

    def value(scores: np.ndarray) -> Any:
        return mpmath.fsum(a * b for a, b in zip(g, cross_check(scores, variant, bits=300), strict=True))

    for j in range(6):
        up, down = row.copy(), row.copy()
        up[j] += 2.0**-20
        down[j] -= 2.0**-20
        with mpmath.workprec(300):
            quotient = (value(up) - value(down)) / (mpmath.mpf(up[j]) - mpmath.mpf(down[j]))
        # A central difference over 2^-20 is off by its square times a third derivative of at most 2^10 here.
        assert abs(found[j] - quotient) < 2.0**-30


@pytest.mark.parametrize("variant", [COSINE, COSINE_MASS, STRETCHED, SHARED], ids=lambda each: each.name)
def test_gradients_by_parameters_are_the_quotients_of_differences(variant: Variant) -> None:
    row, g = rows(1, 6)[0], np.random.default_rng(8).normal(size=6)
    found = weights_vjp(row, g, variant)
    for name, value in variant.parameters.items():
        ends = []
        for sign in (1, -1):
            moved = Variant(
                variant.name,
                variant.profile,
                variant.bandwidth,
                variant.geometry,
                variant.edge,
                variant.order,
                {**variant.parameters, name: value + sign * 2.0**-20},
            )
            second = cross_check(row, moved, bits=300)
            with mpmath.workprec(300):
                ends.append(mpmath.fsum(a * b for a, b in zip(g, second, strict=True)))
        with mpmath.workprec(300):
            quotient = (ends[0] - ends[1]) * 2**19
        assert abs(found[name].round("float64") - quotient) < 2.0**-30


def test_keys_at_the_edge_are_decided_where_gamma_is_given_and_undecided_where_it_is_a_root() -> None:
    given = weights([0.0, -1.0, -2.0], COSINE)
    assert given.support.tolist() == [True, True, False]
    assert given.boundary.tolist() == [False, False, True]
    # Sparsemax of (0, −1): the second key lies exactly at the threshold, which no precision decides.
    sought = weights([0.0, -1.0], SPARSEMAX)
    assert bool(sought.unsure)
    assert np.isnan(sought.weights.lo).all()


@pytest.mark.parametrize(
    "variant",
    [
        Variant("hump", lambda x, t: x.sin(x.pi * t), Constant(), parameters={"gamma": 2}),
        Variant("step", lambda x, t: 1 - t / 2, Constant(), parameters={"gamma": 2}),
        Variant("wave", lambda x, t: 1 - t + x.sin(20 * t) / 10, mass(1)),
        Variant("negative", lambda x, t: t - 1, Constant(), parameters={"gamma": 2}),
        Variant("not rising", lambda x, t: x.exp(-t), Root(lambda x, terms: 2 - x.total(terms), (0.5, 8)), edge=None),
        Variant("step at a third", lambda x, t: 1 - t / 2, Constant(), edge=Fraction(1, 3), parameters={"gamma": 2}),
        Variant(
            "bump below a high start",
            lambda x, t: x.exp(-t) + x.exp(-((8 * (t - 1)) ** 2)),
            mass(1, (-64, 64)),
            geometry="shift",
            edge=None,
        ),
        Variant("order that lies", lambda x, t: 1 - t, Constant(), order=2, parameters={"gamma": 2}),
        Variant(
            "two folds",
            lambda x, t: x.exp(-t),
            Root(lambda x, ts: -(x.total(ts) - 1.5) * (x.total(ts) - 2) * (x.total(ts) - 2.5), (0.1, 9), rises=True),
            edge=None,
        ),
        Variant("no root", lambda x, t: x.exp(-t), mass(100), edge=None),
    ],
    ids=lambda each: each.name,
)
def test_outside_of_the_class_everything_is_undecided(variant: Variant) -> None:
    found = weights([0.0, -0.5, -1.0], variant)
    assert bool(found.unsure)
    assert bool(found.kink)
    assert not found.support.any()
    assert np.isnan(weights_vjp([0.0, -0.5, -1.0], [1.0, 0.0, 0.0], variant)["scores"].lo).all()


def test_an_equation_that_counts_its_terms_is_outside_where_keys_enter() -> None:
    mean = Root(lambda x, terms: x.total(terms) / len(terms) - Fraction(7, 10), (0.25, 8.0), rises=True)
    assert bool(weights([0.0, -0.5, -1.0], Variant("mean", lambda x, t: 1 - t, mean)).unsure)
    everywhere = Variant("mean", lambda x, t: x.exp(-t), mean, edge=None)
    assert not bool(weights([0.0, -0.5, -1.0], everywhere).unsure)


def test_a_search_with_an_end_that_is_no_float_ends() -> None:
    assert bool(
        weights([0.0, -0.5], Variant("x", lambda x, t: x.exp(-t), mass(0.5, (Fraction(1, 3), 3)), edge=None)).unsure
    )
    assert bool(
        weights([0.0, -0.5], Variant("x", lambda x, t: x.exp(-t), mass(9, (0.1, Fraction(1, 3))), edge=None)).unsure
    )


@pytest.mark.parametrize("order", [Fraction(1, 3), Fraction(1, 2), Fraction(3, 2), Fraction(5, 2), 0.7])
@pytest.mark.parametrize("rule", [mass(2), Constant()], ids=["mass", "given"])
def test_powers_that_are_no_integers_are_decided_up_to_the_edge(order: Any, rule: Any) -> None:
    given = {"gamma": 2} if isinstance(rule, Constant) else {}
    variant = Variant("power", lambda x, t: (1 - t) ** order, rule, order=order, parameters=given)
    found = weights(rows(2, 5), variant)
    assert not found.unsure.any()
    for lo, hi, row in zip(found.weights.lo, found.weights.hi, rows(2, 5), strict=True):
        for low, high, second in zip(lo, hi, cross_check(row, variant), strict=True):
            assert mpmath.mpf(low) <= second <= mpmath.mpf(high)


def test_fractions_in_a_profile_stay_exact_where_gamma_is_sought() -> None:
    # As a float, 4/3 is off by 2^-54 of it: 40 digits of γ tell.
    variant = Variant("x", lambda x, t: (1 + t) ** Fraction(-4, 3) * Fraction(2, 3), mass(1), edge=None)
    gamma = weights([0.0, -0.5, -1.0], variant).threshold
    with mpmath.workprec(300):
        want = mpmath.findroot(
            lambda c: sum((1 + mpmath.mpf(d) / c) ** (mpmath.mpf(-4) / 3) for d in (0, 0.5, 1)) - 1.5, 0.3
        )
        head, tail, radius = (float(part) for part in gamma.split())
        assert abs(mpmath.mpf(head) + mpmath.mpf(tail) - want) <= mpmath.mpf(radius)
        assert radius < 1e-30


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (lambda x, t: 1 / 0, "the profile of x raised ZeroDivisionError"),
        (lambda x, t: 1 if t == 0 else 1 - t, "without branches"),
        (lambda x, t: 1 - t if t else 1, "without branches"),
        (lambda x, t: None, "must give a number of its context; got None"),
        (lambda x, t: t**x.pi, "an exponent must be an exact number"),
    ],
)
def test_what_a_profile_may_not_do_is_said(profile: Any, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        weights([0.0, -0.5], Variant("x", profile, Constant(), parameters={"gamma": 2}))


def test_parameters_are_those_of_its_making() -> None:
    own = {"gamma": 2}
    variant = Variant("x", lambda x, t: 1 - t, Constant(), parameters=own)
    own["gamma"] = 3
    assert variant.gamma == 2


def test_masked_keys_and_rows() -> None:
    found = weights([[0.0, -np.inf, -0.5], [-np.inf] * 3], COSINE)
    assert found.empty.tolist() == [False, True]
    assert found.weights.hi[0, 1] == 0
    assert np.isnan(found.weights.lo[1]).all()
    pulled = weights_vjp([[0.0, -np.inf, -0.5], [-np.inf] * 3], np.ones((2, 3)), COSINE)
    assert np.isfinite(pulled["gamma"].lo)


def test_ties_at_the_top_are_kinks_unless_the_bandwidth_moves_along() -> None:
    assert bool(weights([1.0, 1.0, 0.0], COSINE).kink)
    assert not bool(weights([1.0, 1.0, 0.0], SOFTPLUS).kink)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"geometry": "log"}, "geometry must be"),
        ({"bandwidth": 3}, "bandwidth must be"),
        ({"parameters": {"gamma": float("nan")}}, "gamma must be a number"),
        ({"parameters": {"gamma": float("inf")}}, "parameters are finite numbers"),
        ({"parameters": {"gamma": 0}}, "γ must be positive"),
        ({"parameters": {}}, "needs a parameter 'gamma'"),
        ({"parameters": {"gamma": 1, "slope": 2}}, "unused: slope"),
        ({"order": 0}, "order must be positive"),
        ({"edge": "x"}, "edge must be"),
        ({"edge": 0}, "the edge must be positive"),
        ({"bandwidth": Root(participation, (-1, 1)), "parameters": {"k": 2}}, "γ must be positive"),
    ],
)
def test_what_is_no_variant_is_said(change: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {
        "name": "x",
        "profile": lambda x, t: 1 - t,
        "bandwidth": Constant(),
        "parameters": {"gamma": 1},
        **change,
    }
    with pytest.raises(DomainError, match=message):
        Variant(**fields)


@pytest.mark.parametrize("call", [lambda: mass(0), lambda: mass("no name"), lambda: Root(participation, (1, 1))])
def test_what_is_no_bandwidth_is_said(call: Callable[[], Any]) -> None:
    with pytest.raises(DomainError):
        call()


def test_a_row_beyond_every_float_is_undecided_in_words() -> None:
    # That it falls is not proved so far out, and how far that is no float64 says.
    sigmoid = Variant("sigmoid", lambda x, t: 1 / (1 + x.exp(t)), mass(0.75, (-64, 64)), geometry="shift", edge=None)
    assert weights([0.0, -1.7e308], sigmoid).unsure.all()
