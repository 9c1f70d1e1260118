"""Truths as bytes, and keys: nothing that changes a truth leaves its key as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.verify.truth.caching import LINES

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.truth import codec as cache_coding
from kernelproof.verify.truth.truth import truth_of


@pytest.mark.parametrize(
    "line",
    [
        *LINES[:1],
        "entmax order=2 rule=adaptive:1 dtype=float64 family=special shape=3x9 feature=nan seed=0",
        "attention order=1 rule=anchored:2 dtype=float32 family=random shape=2x1x3x5x4x2 feature=1 seed=0",
        "weights order=1/2 rule=nearest:2:fixed:3 dtype=bfloat16 family=random shape=3x6 feature=1 seed=0",
    ],
)
def test_every_kind_of_truth_survives(line: str) -> None:
    case = Case.parse(line)
    truth = truth_of(case, inputs_of(case))
    back, reason = cache_coding.decode(cache_coding.encode((truth, "because")))
    assert reason == "because"
    assert (truth is None) == (back is None)
    if truth is None or back is None:
        return
    assert (truth.gradients is None) == (back.gradients is None)
    assert (truth.gradients or {}).keys() == (back.gradients or {}).keys()
    pairs = [(getattr(truth, name), getattr(back, name)) for name in (*cache_coding._FLAGS, *cache_coding._FLOATS)]
    sets = [
        (truth.output, back.output),
        *((each, (back.gradients or {})[name]) for name, each in (truth.gradients or {}).items()),
    ]
    pairs += [(getattr(one, part), getattr(two, part)) for one, two in sets for part in cache_coding._VALUES]
    for one, two in pairs:
        np.testing.assert_array_equal(np.asarray(one), two)
        assert np.asarray(one).dtype == two.dtype
        assert np.asarray(one).shape == two.shape
        assert two.flags.writeable


@pytest.mark.parametrize("payload", [b"", b"\0\0\0\2{}", b"\0\0\0\1[x", cache_coding.encode((None, ""))[:-3]])
def test_other_bytes_are_no_truth(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"must have|no encoded|Expecting"):
        cache_coding.decode(payload)


def test_no_two_inputs_share_a_key() -> None:
    case = Case.parse(LINES[0])
    inputs = inputs_of(case)
    z = inputs.arrays["z"]
    moved = z.copy()
    moved.flat[0] = np.nextafter(moved.flat[0], np.inf)
    others = [
        replace(inputs, arrays={"z": moved}),
        replace(inputs, arrays={"z": z.reshape(7, 2)}),
        replace(inputs, arrays={"z": z.astype(np.float32)}),
        replace(inputs, cotangent=None),
        replace(inputs, rows=np.array([0])),
        replace(inputs, options={"empty": "zeros"}),
        replace(inputs, options={"empty": "nan"}),
        replace(inputs, options={"causal": True}),
        replace(inputs, options={"causal": 1}),
        replace(inputs, options={"mask": np.array([True, False])}),
    ]
    keys = [cache_coding.key_of(case, each, "dots") for each in (inputs, *others)]
    keys += [
        cache_coding.key_of(case, inputs, "differences"),
        cache_coding.key_of(Case.parse(LINES[1]), inputs, "dots"),
    ]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert cache_coding.key_of(case, inputs_of(case), "dots") == keys[0]


def test_a_rule_that_others_define_is_not_kept() -> None:
    case = Case.parse(LINES[0])
    own = type("Mine", (type(case.parsed_rule),), {})
    case.__dict__["parsed_rule"] = own(1)
    assert cache_coding.key_of(case, inputs_of(case), "dots") is None


def test_the_oracle_s_sources_are_all_hashed() -> None:
    found = cache_coding.sources()
    assert {"reference/bulk/double_word.py", "reference/ops/entmax.py", "reference/solver.py"} <= set(found)
    assert {
        f"kernelproof.verify.{name}"
        for name in ("truth.truth", "truth.units", "judging.errors", "records", "truth.codec")
    } <= set(found)
    # What is judged is no part of what judges.
    judged = ("backends", "checks", "cases.families", "targets", "workers")
    assert not [name for name in found if name.startswith(tuple(f"kernelproof.verify.{each}." for each in judged))]
