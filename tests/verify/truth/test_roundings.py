"""R of docs/theory.md §4: what storage roundings do at every corner of their box is never more, and not much less.

Rows of a few keys are computed again in float64 with each stored number moved as far as its rounding may move it, in
every combination of signs. The largest change is at most R; how much larger R may be is said by each test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.verify.truth.rounding_boxes import (
    FINITE,
    KEYS,
    NOISE,
    WIDTH,
    Query,
    covers,
    query,
    query_of_box,
    signs,
    weigh,
)

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.judging.precision import eta
from kernelproof.verify.records import Contract, Floats, Inputs, Truth
from kernelproof.verify.truth.roundings import with_roundings
from kernelproof.verify.truth.truth import truth_of

# one mean


def test_a_backward_that_flushes_weights_and_products_is_within_what_is_added() -> None:
    case = Case.parse(
        "entmax order=inf rule=adaptive:1 dtype=float32 family=subnormals shape=3x8 feature=weights seed=0"
    )
    inputs = inputs_of(case)
    truth = truth_of(case, inputs)
    assert truth is not None
    assert truth.gradients is not None
    least = 2.0**-126

    def flushed(values: Floats) -> Floats:
        return np.where(np.abs(values) < least, 0.0, values)

    # Large upstream gradients multiply what the weights have lost. All else is float64, whose roundings are far below.
    p, g = flushed(truth.weights), np.asarray(inputs.cotangent).astype(np.float64)
    mean = flushed(p * g).sum(axis=-1, keepdims=True)
    error = np.abs(flushed(p * (g - mean)) - truth.gradients["z"].head)
    flushing = with_roundings(case, inputs, truth, Contract(flush_to_zero=True)).gradients
    usual = with_roundings(case, inputs, truth, Contract()).gradients
    assert flushing is not None
    assert usual is not None
    assert (error > least).any()
    assert (error <= flushing["z"].stored + least).all()
    assert not np.any(usual["z"].stored)


@pytest.mark.parametrize("order", [*FINITE, "inf"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_stored_weights(dtype: str, order: str) -> None:
    """P stored before P·V: R is the sup over all signs, exactly, but for weights below η, which only fall to 0."""
    for seed in range(8):
        held = query(seed, dtype=dtype, order=order)
        p, v = weigh(held.scale * held.scores, held.order), held.array("v")
        off = held.u * p + np.minimum(held.eta, p)
        change = np.abs((signs(KEYS) * off) @ v).max(axis=0)
        covers(held.stored("weights"), change, float(np.abs(v).max()), 1 + NOISE)


def delta_of(held: Query, name: str) -> Floats:
    """(corners, S) how the scaled scores move at every corner of one declared rounding."""
    q, k, u, least, scale = held.q, held.array("k"), held.u, held.eta, held.scale
    if name == "scores":
        return np.asarray(scale * signs(KEYS) * (u * np.abs(held.scores) + least))
    if name == "scaled_scores":
        return np.asarray(signs(KEYS) * (u * np.abs(scale * held.scores) + least))
    if name == "queries":
        # The query is stored as it is used: multiplied by the scale.
        return np.asarray((signs(3) * (u * np.abs(scale * q) + least)) @ k.T)
    corners = signs(KEYS * 3).reshape(-1, KEYS, 3) * (u * np.abs(scale * k) + least)
    return np.asarray(corners @ q)


@pytest.mark.parametrize("order", [*FINITE, "inf"])
@pytest.mark.parametrize("name", ["scores", "scaled_scores", "queries", "keys"])
def test_stored_scores(name: str, order: str) -> None:
    """R of the scores is within 1.6 of the sup over all signs; a rounding of q moves all scores together: 12."""
    for seed in range(8):
        # Products of up to some tens, where first order is wrong in bfloat16.
        held = query(seed, order=order, size=2.5)
        v, z = held.array("v"), held.scale * held.scores
        base = weigh(z, held.order) @ v
        change = np.abs(weigh(z + delta_of(held, name), held.order) @ v - base).max(axis=0)
        stored = held.stored(name)
        assert (change <= stored * (1 + NOISE) + NOISE).all()
        if name in {"scores", "scaled_scores"} and order == "inf":
            assert (stored <= 1.6 * change + NOISE).all()


def test_the_bound_of_a_softmax_mean_against_two_thousand_boxes() -> None:
    """min(E(δ), max|v − y|) is an upper bound of the sup over the box, which lies at a corner, and within 2.5 of it."""
    generator = np.random.default_rng(2)
    corners, ratios = signs(KEYS), []
    for _ in range(2000):
        size = float(np.exp(generator.uniform(-1, 1.5)))
        held = query_of_box(generator, size)
        z, v = held.scale * held.scores, held.array("v")
        base = weigh(z, np.inf) @ v
        change = np.abs(weigh(z + corners * np.abs(delta_of(held, "scores")[0]), np.inf) @ v - base).max(axis=0)
        stored = held.stored("scores")
        assert (change <= stored * (1 + NOISE) + NOISE).all()
        ratios.append(float((stored / np.maximum(change, NOISE)).max()))
    assert max(ratios) <= 2.5


@pytest.mark.parametrize("name", ["queries", "keys"])
def test_stored_queries_and_keys_that_underflow(name: str) -> None:
    """Products with the scale below the smallest normal number are off by η, and not by η·scale."""
    for seed in range(4):
        held = query(seed, dtype="float16", scale=2.0**-6)
        tiny, large = (2.0**-12, 512.0) if name == "queries" else (512.0, 2.0**-12)
        arrays = held.inputs.arrays
        sizes = {"q": tiny, "k": large, "v": 1.0}
        arrays = {key: (array.astype(np.float64) * sizes[key]).astype(array.dtype) for key, array in arrays.items()}
        inputs = Inputs(arrays, held.inputs.options)
        truth = truth_of(held.case, inputs)
        assert truth is not None
        held = Query(held.case, inputs, truth, held.scale)
        v, z = held.array("v"), held.scale * held.scores
        change = np.abs(weigh(z + delta_of(held, name), np.inf) @ v - weigh(z, np.inf) @ v).max(axis=0)
        assert (change <= held.stored(name) * (1 + NOISE) + NOISE * 2.0**-20).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn"])
def test_stored_exponentials(dtype: str) -> None:
    """The exponentials are stored before they are added; the largest is 1. R is within 1.6 of the sup."""
    for seed in range(8):
        held = query(seed, dtype=dtype)
        v, z = held.array("v"), held.scale * held.scores
        e = np.exp(z - z.max())
        moved = e + signs(KEYS) * np.maximum(held.u * e, held.eta)
        moved = np.clip(moved, 0, None)
        change = np.abs((moved / moved.sum(-1, keepdims=True)) @ v - (e / e.sum()) @ v).max(axis=0)
        covers(held.stored("exponentials"), change, float(np.abs(v).max()), 1.6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn"])
@pytest.mark.parametrize("name", ["denominator", "unnormalized_output"])
def test_stored_sums(name: str, dtype: str) -> None:
    """A rounding to nearest moves a sum by u/(1 + u) of itself at most, so the quotient by u; within 1 + 2u."""
    for seed in range(8):
        held = query(seed, dtype=dtype)
        v, z = held.array("v"), held.scale * held.scores
        e = np.exp(z - z.max())
        total, top, off = e.sum(), e @ v, held.u / (1 + held.u)
        moved = [top / (total * (1 + sign * off)) for sign in (-1, 1)]
        if name == "unnormalized_output":
            moved = [(top + sign * np.maximum(off * np.abs(top), held.eta)) / total for sign in (-1, 1)]
        change = np.abs(np.array(moved) - top / total).max(axis=0)
        stored = held.stored(name)
        assert (change <= stored * (1 + NOISE) + NOISE).all()
        assert (stored <= (1 + 2 * held.u) * change + 2 * held.eta + NOISE).all()


def test_roundings_add_up() -> None:
    held = query(3)
    names = ("weights", "denominator", "unnormalized_output")
    assert held.stored(*names) == pytest.approx(sum(held.stored(name) for name in names), rel=NOISE)
    # All that moves scores is one box: E grows faster than its parts.
    together = held.stored("scores", "queries")
    assert (together >= held.stored("scores") + held.stored("queries")).all()
    # A power of two scales stored scores exactly.
    np.testing.assert_array_equal(held.stored("scores", "scaled_scores"), held.stored("scores"))
    odd = query(3, scale=0.3)
    assert (odd.stored("scores", "scaled_scores") > 1.9 * odd.stored("scores")).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_stored_more_narrowly_than_it_is_computed(dtype: str) -> None:
    held = query(1, dtype=dtype)
    for names in (("weights",), ("scores", "keys"), ("exponentials", "probabilities")):
        rounded = held.rounded(*names)
        assert rounded is held.truth


# gradients of one query


def score_boxes(held: Query, names: tuple[str, ...]) -> Floats:
    """(corners, S) every corner of all roundings of scores together."""
    places = np.zeros((1, KEYS))
    for name in names:
        places = (places[:, None] + delta_of(held, name)).reshape(-1, KEYS)
    return places


@dataclass(frozen=True)
class Moved:
    """The largest changes of gradients: (S, e) of the values, (S,) of the scores, (d,) of the query."""

    values: Floats
    scores: Floats
    query: Floats


def moved_gradients(held: Query, names: tuple[str, ...]) -> Moved:
    """What the backward of a fused kernel gives at every corner.

    P is stored, dS is stored, D = Σ g y is taken from the stored y (at order ∞; else from the stored weights), and
    with stored scores dP and dS·scale are stored as well.
    """
    u, least, g, v, k = held.u, held.eta, held.g, held.array("v"), held.array("k")
    z, up, size = held.scale * held.scores, signs(KEYS), np.abs(held.g)
    p, moved = weigh(z, held.order), weigh(z + score_boxes(held, names), held.order)[:, None]
    stored = moved + up * (u * moved + np.minimum(least, moved))
    local, endless = v @ g, held.order == np.inf
    power = 1.0 if endless else 1.0 - 1.0 / held.order

    def slopes(weights: Floats) -> Floats:
        return np.asarray(np.where(weights > 0, weights, 0.0) ** power * (weights > 0))

    def back(weights: Floats, dp: Floats) -> Floats:
        w = slopes(weights)
        return np.asarray(w * (dp - (w * dp).sum(-1, keepdims=True) / w.sum(-1, keepdims=True)))

    exact = back(p, local)
    noise = np.abs(v) @ size * (u if names else 0.0)
    y_off = u * np.abs(p @ v) + least + (u * p + np.minimum(least, p)) @ np.abs(v)
    by_score, by_query = np.zeros(KEYS), np.zeros(3)
    # What is stored may be the gradient in q·k, which is that in the score times the scale.
    under = least * max(1.0, 1.0 / held.scale)
    for dp in local + noise * (up if names else up[:1]):
        if endless:
            means = (moved * local).sum(-1, keepdims=True)
            found = [stored * (dp - (means + side * size @ y_off)) for side in (-1.0, 1.0)]
        else:
            found = [back(stored, dp)]
        for ds in found:
            slack = np.zeros_like(ds)
            if not endless:
                # The products w·dP are stored before their mean is taken, and once more where it is subtracted.
                w = slopes(stored)
                kept = u * w * np.abs(dp) + np.minimum(least, w * np.abs(dp))
                slack = kept + w / w.sum(-1, keepdims=True) * kept.sum(-1, keepdims=True)
            slack = slack + u * (np.abs(ds) + slack) + under
            if "scaled_scores" in names:
                slack = slack + u * (np.abs(ds) + slack) + under
            by_score = np.maximum(by_score, (np.abs(ds - exact) + slack).max(axis=(0, 1)))
            by_query = np.maximum(by_query, (np.abs((ds - exact) @ k) + slack @ np.abs(k)).max(axis=(0, 1)))
    by_value = np.abs((stored - p)[..., None] * g).max(axis=(0, 1))
    return Moved(by_value, by_score, by_query)


@pytest.mark.parametrize("names", [(), ("scores",), ("scaled_scores",)], ids=str)
@pytest.mark.parametrize("order", [*FINITE, "inf"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_of_attention(dtype: str, order: str, names: tuple[str, ...]) -> None:
    """R of dV is within 1.01 of the sup, of dK within 1.7, and of dQ, where terms of several keys are added, 2.5."""
    for seed in range(4):
        held = query(seed, dtype=dtype, order=order)
        moved = moved_gradients(held, names)
        size = float(np.abs(held.array("v") @ held.g).max())
        covers(held.stored_gradient("v", "weights", *names), moved.values, size, 1.01)
        wanted = held.scale * moved.scores[:, None] * np.abs(held.q)
        covers(held.stored_gradient("k", "weights", *names), wanted, size, 1.7)
        covers(held.stored_gradient("q", "weights", *names)[0], held.scale * moved.query, size, 2.5)


@pytest.mark.parametrize("names", [(), ("scores",), ("scaled_scores",)], ids=str)
@pytest.mark.parametrize("order", FINITE)
def test_the_gradient_in_the_order_of_attention(order: str, names: tuple[str, ...]) -> None:
    """G2 with stored P, scores at every corner and stored dP: R is within 4 of the sup."""
    for seed in range(6):
        held = query(seed, order=order)
        u, n = held.u, held.order
        z, local = held.scale * held.scores, held.array("v") @ held.g
        moved = weigh(z + score_boxes(held, names), n)[:, None]
        corners = moved + signs(KEYS) * (u * moved + np.minimum(held.eta, moved))

        def by_order(p: Floats, g: Floats, n: float = n) -> Floats:
            inside = p > 0
            base = np.where(inside, p, 1.0) ** (1 / n)
            w = np.where(inside, np.maximum(p, 0) / base, 0.0)
            terms = np.where(inside, p * (np.log(base) - 1 + 1 / base), 0.0)
            total = terms.sum(-1, keepdims=True) * w / w.sum(-1, keepdims=True)
            return np.asarray(((terms - total) * g).sum(-1))

        noise = u * np.abs(held.array("v")) @ np.abs(held.g) if names else np.zeros(KEYS)
        exact = by_order(weigh(z, n), local)
        found = [np.abs(by_order(corners, local + each) - exact).max() for each in signs(KEYS) * noise]
        gradients = held.rounded("weights", *names).gradients
        assert gradients is not None
        stored, change = float(gradients["order"].stored), float(np.max(found))
        size = float(np.abs(local).max())
        assert change <= stored * (1 + NOISE) + NOISE * size
        # Where one key has all the weight, only squares of roundings are left.
        assert stored <= 4 * change + u**2 * size


@pytest.mark.parametrize("order", ["2", "inf"])
def test_gradients_of_keys_add_up_over_queries(order: str) -> None:
    """Two queries and two heads that share a key: R of dK and dV is the sum of theirs, and each head is stored."""
    generator = np.random.default_rng(4)
    kind = FORMATS["bfloat16"].dtype
    sizes = {"q": (2, 2, 3), "k": (1, KEYS, 3), "v": (1, KEYS, WIDTH)}
    arrays: dict[str, Any] = {name: generator.normal(size=size).astype(kind) for name, size in sizes.items()}
    cotangent = generator.normal(size=(2, 2, WIDTH)).astype(kind)

    def found(queries: Any, upstream: Any) -> tuple[Truth, Truth]:
        lead = queries.shape
        case = Case(
            "attention", order, None, "adaptive:1", "bfloat16", "random", (1, lead[0], lead[1], KEYS, 3, WIDTH), "1", 0
        )
        inputs = Inputs(arrays | {"q": queries}, {"scale": 0.5}, upstream)
        truth = truth_of(case, inputs)
        assert truth is not None
        return truth, with_roundings(case, inputs, truth, Contract(roundings=("weights", "scores")))

    whole = found(arrays["q"], cotangent)[1].gradients
    assert whole is not None
    heads = [found(arrays["q"][h : h + 1], cotangent[h : h + 1]) for h in range(2)]
    single = [
        [found(arrays["q"][h : h + 1, t : t + 1], cotangent[h : h + 1, t : t + 1])[1].gradients for t in range(2)]
        for h in range(2)
    ]
    u, least = 2.0**-8, eta(FORMATS["bfloat16"])
    for name in "kv":
        total = np.zeros(arrays[name].shape)
        for (truth, _), parts in zip(heads, single, strict=True):
            assert truth.gradients is not None
            total += u * np.abs(truth.gradients[name].head) + least
            total += sum(np.asarray(part[name].stored) for part in parts if part is not None)
        np.testing.assert_allclose(whole[name].stored, total, rtol=NOISE * 2**8)


@pytest.mark.parametrize("order", ["1/16", "1/2", "1", "3/2", "inf"])
def test_what_may_be_infinite_is_not_nan(order: str) -> None:
    """Below order 1 a weight that may be 0 has an unbounded slope: R is infinite there, and nowhere else."""
    for seed in range(6):
        held = query(seed, order=order)
        names = ("weights", "scores", "scaled_scores", "queries", "keys", "probabilities", "exponentials")
        truth = held.rounded(*names)
        assert np.isfinite(truth.output.stored).all()
        assert truth.gradients is not None
        for name, each in truth.gradients.items():
            stored = np.asarray(each.stored)
            assert not np.isnan(stored).any(), name
            assert (stored >= 0).all(), name
            if float(held.case.kernel.order) >= 1:
                assert np.isfinite(stored).all(), name


@pytest.mark.parametrize("names", [("weights",), ("weights", "scores")], ids=str)
@pytest.mark.parametrize("order", [*FINITE, "inf"])
def test_the_gradient_in_beta_of_attention(order: str, names: tuple[str, ...]) -> None:
    """Σ c_i s_i with stored c and with moved scores: within 4 of the sup of the two together."""
    for seed in range(4):
        held = query(seed, order=order)
        gradients = held.rounded(*names).gradients
        assert gradients is not None
        moved = moved_gradients(held, tuple(name for name in names if name != "weights"))
        z = held.scale * held.scores
        box = np.abs(delta_of(held, "scores")).max(axis=0) if "scores" in names else np.zeros(KEYS)
        slopes = np.abs(np.asarray(gradients["k"].head)[0]) / (held.scale * np.abs(held.q))
        gaps = z.max() - z
        # Each gradient of a score is off by itself, so that the sum of their changes is one that may occur.
        change = moved.scores @ gaps
        stored = float(gradients["beta"].stored)
        size = float((gaps * np.abs(held.array("v") @ held.g)).max())
        assert change <= stored * (1 + NOISE) + NOISE * size
        assert (
            stored <= 1.7 * change + 4 * float(((slopes.max(axis=1) + moved.scores) * (box + box.max())).sum()) + NOISE
        )
