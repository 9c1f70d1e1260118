"""The truth of a case by the filter is that by arb: the same flags, values within both radii, the same units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.reference.bulk.hard_rows import FAMILIES as HARD

from kernelproof.reference.errors import UndecidedError
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families import families
from kernelproof.verify.cases.inputs import cotangent_for, inputs_of
from kernelproof.verify.cases.numbers import cast
from kernelproof.verify.cases.plan import rule_text
from kernelproof.verify.cases.suites import ORDERS
from kernelproof.verify.records import Inputs, Truth, Values
from kernelproof.verify.truth import truth as module

UNIT_ROUNDING = 2.0**-40
"""Margins of both paths agree to 2^-49, relative; a unit sums second derivatives in which they are divided, and cancel
by some bits."""
DTYPES = ("float64", "float32", "bfloat16")


def truths(case: Case, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> tuple[Truth | None, ...]:
    """By the filter, and by arb."""
    found: list[Truth | None] = []
    for chosen in (True, False):
        monkeypatch.setattr(module, "pays", lambda _elements, chosen=chosen: chosen)
        try:
            found.append(module.truth_of(case, inputs))
        except UndecidedError:
            found.append(None)
    return tuple(found)


def compare_values(name: str, fast: Values, slow: Values) -> None:
    apart = np.abs((fast.head - slow.head) + (fast.tail - slow.tail))
    # Heads and tails are subtracted to a rounding of each difference.
    allowed = fast.radius + slow.radius + 2.0**-104 * np.abs(slow.head) + 2 * 5e-324
    same = (fast.head == slow.head) | (np.isnan(fast.head) & np.isnan(slow.head))
    assert np.all((apart <= allowed) | (same & ~np.isfinite(slow.head)) | np.isinf(slow.radius)), name
    # A radius is of no account beside what a rounding to float64 leaves open, or below 2^-980, where what keys
    # far below the others add to a gradient is not followed up.
    sharp = FORMATS["float64"].unit_roundoff / 64
    with np.errstate(invalid="ignore"):
        assert np.all((fast.radius <= sharp * fast.unit + 2.0**-980) | (fast.radius <= slow.radius * 2)), name
        close = np.abs(fast.unit - slow.unit) <= UNIT_ROUNDING * np.abs(slow.unit)
    assert np.all(close | (fast.unit == slow.unit)), f"the unit of {name}"


def compare(case: Case, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = truths(case, inputs, monkeypatch)
    if fast is None or slow is None:
        assert slow is None or fast is not None
        return
    for flag in ("support", "boundary", "empty", "unsure", "kink"):
        np.testing.assert_array_equal(getattr(fast, flag), getattr(slow, flag), err_msg=f"{flag} of {case.text}")
    compare_values("output", fast.output, slow.output)
    np.testing.assert_allclose(fast.margin, slow.margin, rtol=2.0**-30, atol=0, err_msg=case.text)
    np.testing.assert_allclose(fast.margin_unit, slow.margin_unit, rtol=UNIT_ROUNDING, atol=0, err_msg=case.text)
    assert (fast.gradients is None) == (slow.gradients is None)
    for name, values in (fast.gradients or {}).items():
        compare_values(name, values, (slow.gradients or {})[name])


def cases_of(family: str, op: str) -> Iterator[Case]:
    """Every recipe, at orders and rules in turn."""
    for turn, (shape, feature) in enumerate(families()[family].recipes("standard", op)):
        for at in range(3):
            order = ORDERS[(3 * turn + at) % len(ORDERS)]
            kind = ("adaptive", "fixed", "anchored", "nearest")[(turn + at) % 4]
            rule = "adaptive:1" if op == "entmax" else rule_text(kind, op, order, turn + at)
            yield Case(op, order, None, rule, DTYPES[(turn + at) % 3], family, shape, feature)


@pytest.mark.parametrize("op", ["entmax", "weights"])
@pytest.mark.parametrize("family", sorted(families()))
def test_both_paths_agree_on_every_family(family: str, op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for case in cases_of(family, op):
        if int(np.prod(case.shape)) <= 2048:
            compare(case, inputs_of(case), monkeypatch)


def hard_inputs(case: Case, family: Any, seed: int) -> Inputs:
    rows = family(np.random.default_rng(seed), min(float(exact_number(case.order, "order")), 1e9), 3, 14)
    with np.errstate(over="ignore"):
        scores = cast(np.where(np.abs(rows) > 1e30, np.sign(rows) * 1e30, rows), case.dtype)
    given = Inputs({"z" if case.op == "entmax" else "scores": scores})
    return replace(given, cotangent=cotangent_for(case, given))


@pytest.mark.parametrize("order", ["1/16", "1/2", "1", "3/2", "2", "64", "10000", "100000000", "inf"])
@pytest.mark.parametrize("family", HARD, ids=lambda family: family.__name__)
def test_both_paths_agree_on_hard_rows(family: Any, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = ["adaptive:1", *(rule_text(kind, "weights", order, 0) for kind in ("adaptive", "fixed", "anchored"))]
    for seed, rule in enumerate([*rules, "nearest:3:adaptive:1"]):
        op = "entmax" if rule == "adaptive:1" else "weights"
        case = Case(op, order, None, rule, DTYPES[seed % 2], "random", (3, 14), "1")
        compare(case, hard_inputs(case, family, seed), monkeypatch)


def test_what_proves_a_batch_depends_on_the_batch_alone() -> None:
    from kernelproof.reference.bulk import filter as row_filter

    for _ in range(3):
        assert not row_filter.pays(row_filter.WORTH - 1)
        assert row_filter.pays(row_filter.WORTH)
