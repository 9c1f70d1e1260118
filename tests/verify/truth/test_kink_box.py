"""The box of gradients next to a kink: it holds what moved inputs give, and not much more."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks import _kinks, checks
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.records import Contract, Floats, Judgement, Outcome
from kernelproof.verify.truth.kink_box import Row, extreme_mean
from kernelproof.verify.truth.truth import truth_of

UNIT = 2.0**-24
LINE = "entmax order=3/2 rule=adaptive:1 dtype={} family=kink shape=4x8 feature={} seed=1"


def test_the_extreme_mean_is_that_of_the_corners() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        values, low = generator.normal(size=5), generator.uniform(size=5)
        high = low + generator.uniform(size=5)
        corners = [np.where(np.array(pick), high, low) for pick in product((False, True), repeat=5)]
        best = max(float((w * values).sum() / w.sum()) for w in corners)
        # Two sums of five terms and a quotient, on either side.
        roundings = 2 * (2 * len(values) + 1) * np.finfo(np.float64).eps * np.abs(values).max()
        assert extreme_mean(values, low, high) == pytest.approx(best, rel=0, abs=roundings)


def gradient(z: Floats, g: Floats, order: float) -> Floats:
    head: Floats = reference.weights_vjp(z, g, reference.Kernel(order), reference.Adaptive(1), precision=128)[
        "scores"
    ].split()[0]
    return head


def row_of(z: Floats, g: Floats, order: float) -> Row:
    margin = reference.weights(z[None], reference.Kernel(order), reference.Adaptive(1), precision=128).margin[0]
    return Row(margin, z.max() - z, g, order, 1.0, UNIT, np.full(len(z), 2.0**-150))


@pytest.mark.parametrize("order", [1.0625, 1.25, 1.5, 1.875])
def test_it_holds_the_exact_gradient_at_moved_inputs(order: float) -> None:
    generator = np.random.default_rng(int(16 * order))
    for _ in range(10):
        # The last key lies at the threshold of a single best key: a gap of n.
        z = np.concatenate([[0.0], -generator.uniform(0.3, 1.0, 2) * order * 4, [-order]])
        z[1:3] = np.minimum(z[1:3], -order * 1.5) if generator.uniform() < 0.5 else z[1:3]
        g = generator.normal(size=4)
        row = row_of(z, g, order)
        for kappa in (1.0, 64.0, 4096.0):
            low, high = row.interval(kappa)
            for _ in range(8):
                moved = z + generator.choice([-1.0, 1.0, 0.3], 4) * kappa * UNIT * (z.max() - z)
                found = gradient(moved, g, order)
                assert (low <= found).all()
                assert (found <= high).all()
        assert (row.kappa(gradient(z, g, order), 4.0) <= 1.0).all()


def test_it_does_not_hold_what_is_wrong() -> None:
    z, g = np.array([0.0, -3.0, -1.5]), np.array([0.25, -2.0, 3.0])
    row = row_of(z, g, 1.5)
    right = gradient(z, g, 1.5)
    assert row.kappa(right, 4.0).max() <= 1.0
    # One inside and one at the threshold: w is 1 and 0, and √(κu) is what the box may add.
    reach = np.abs(row.interval(4.0)).max()
    assert 1e-4 < reach < 1e-2
    assert np.isinf(row.kappa(right + 0.3, 4.0)).all() or row.kappa(right + 0.3, 4.0).min() > 1e5
    assert (row.kappa(right + 2 * reach, 4.0) > 4.0).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("feature", ["0", "-1", "+1", "+16"])
def test_the_check_decides_rows_next_to_a_kink(dtype: str, feature: str) -> None:
    case = Case.parse(LINE.format(dtype, feature))
    inputs = inputs_of(case)
    truth = truth_of(case, inputs)
    assert truth is not None
    assert truth.gradients is not None
    check = checks()["gradients"]

    def ask(change: float) -> Judgement:
        z = truth.gradients["z"].head.copy()  # type: ignore[index]
        z[:, 0] += change
        arrays = {"z": z.astype(inputs.arrays["z"].dtype), "order": truth.gradients["order"].head}  # type: ignore[index]
        return check.judge(case, inputs, truth, {"vjp": Outcome(arrays)}, Contract(grade="A"))

    said = ask(0.0)
    assert said.failed == 0
    # Only the gradient in the order, a sum over all rows, may stay open.
    assert said.undecided <= 1
    assert said.decided + said.vacuous + said.undecided == 4 * 8 + 1
    # Where a row is nearly all on one key, its gradient is less than what the box allows to the weight √u of the key at
    # the threshold: κ = 4 and gaps up to 2n raise u by at most 16 roundings. 0 would pass there, for these two keys.
    size = np.abs(truth.gradients["z"].head).max(axis=1)
    upstream = np.abs(np.asarray(inputs.cotangent).astype(np.float64)).max(axis=1)
    unit = precision_of(dtype, Contract()).unit
    assert said.vacuous <= 2 * (size <= 2 * np.sqrt(16 * unit) * upstream).sum()
    assert ask(0.75).failed >= 4


def test_where_the_box_decides_it_says_what_is_seen() -> None:
    """The resolution is what the box allows, and not the first-order unit, which has no meaning next to a kink."""
    case = Case.parse(LINE.format("float32", "+1"))
    inputs = inputs_of(case)
    truth = truth_of(case, inputs)
    assert truth is not None
    assert truth.gradients is not None
    contract = Contract(grade="A")
    arrays = {name: values.head for name, values in truth.gradients.items()}
    said = checks()["gradients"].judge(case, inputs, truth, {"vjp": Outcome(arrays)}, contract)
    found = said.errors["d/dz"].resolution.reshape(4, 8)
    precision, head = precision_of("float32", contract), truth.gradients["z"].head
    rows = np.flatnonzero(_kinks.boxed(truth, _kinks.loose_rows(case, truth, precision)))
    assert len(rows) == 4
    for r in rows:
        row, free = _kinks.row_of(case, truth, inputs, int(r), contract)
        low, high = row.interval(4.0)
        size = np.maximum(np.abs(head[r]), np.sqrt((head[r] ** 2).mean()))[free]
        np.testing.assert_allclose(found[r, free] * size, np.maximum(high - head[r, free], head[r, free] - low))


def test_keys_that_nearest_drops_take_no_part() -> None:
    case = Case.parse(
        "weights order=3/2 rule=nearest:3:adaptive:1/2 dtype=bfloat16 family=near_ties shape=2x12 feature=16 seed=0"
    )
    inputs = inputs_of(case)
    truth = truth_of(case, inputs)
    assert truth is not None
    assert truth.gradients is not None
    exact = truth.gradients["scores"].head
    for change, failed in ((0.0, 0), (0.5, 1)):
        # Row 0 is decided; key 2 is none of its three nearest.
        given = exact.copy()
        given[0, 2] += change
        arrays = {name: values.head for name, values in truth.gradients.items()}
        arrays["scores"] = given.astype(inputs.arrays["scores"].dtype)
        said = checks()["gradients"].judge(case, inputs, truth, {"vjp": Outcome(arrays)}, Contract(grade="A"))
        assert said.failed == failed
