"""Sparsemax as Keras had it until August 2026: its threshold sums the cumulative sums, not the scores.

Written from the description of the fault in keras-team/keras issue 23425. With z sorted downwards and k keys in the
support, the threshold is (z_1 + … + z_k − 1)/k; the old one took the sum of the first k cumulative sums instead.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernelproof import api
from kernelproof.verify.record.schema import Verdict

SOURCE = """
import numpy as np

KERNELPROOF = {"order": 1, "array_library": "numpy", "dtypes": ["float64", "float32"]}


def sparsemax(z):
    ordered = -np.sort(-z, axis=-1)
    sums = np.cumsum(ordered, axis=-1)
    place = np.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    inside = 1 + place * ordered > sums
    count = inside.sum(axis=-1, keepdims=True)
    total = np.where(inside, PART, 0).sum(axis=-1, keepdims=True)
    threshold = (total - 1) / count
    return np.maximum(z - threshold, 0).astype(z.dtype)
"""


@pytest.fixture
def old(tmp_path: Path) -> str:
    path = tmp_path / "old.py"
    path.write_text(SOURCE.replace("PART", "sums"))
    return f"{path}:sparsemax"


@pytest.fixture
def mended(tmp_path: Path) -> str:
    path = tmp_path / "mended.py"
    path.write_text(SOURCE.replace("PART", "ordered"))
    return f"{path}:sparsemax"


def verdicts(target: str, family: str, shape: str, feature: str) -> dict[str, Verdict]:
    case = f"entmax order=1 rule=adaptive:1 dtype=float64 family={family} shape={shape} feature={feature} seed=0"
    found = api.verify(target, case=case, serial=True)
    return {each.id: each.verdict for each in found.targets[0].checks}


def test_rows_of_two_keys_and_more_do_not_sum_to_one(old: str) -> None:
    found = verdicts(old, "planted_support", "2x12", "3")
    assert found["simplex"] == Verdict.FAIL
    assert found["accuracy"] == Verdict.FAIL


def test_its_own_witness(old: str) -> None:
    namespace: dict[str, object] = {}
    exec(Path(old.partition(":")[0]).read_text(), namespace)  # noqa: S102 (our own text)
    sparsemax = namespace["sparsemax"]
    assert callable(sparsemax)
    np.testing.assert_array_equal(sparsemax(np.array([[0.0, 0.5, 1.0]])), [[0.0, 0.0, 0.25]])


def test_one_key_alone_hides_it(old: str) -> None:
    assert set(verdicts(old, "planted_support", "2x12", "1").values()) == {Verdict.PASS, Verdict.UNSUPPORTED}


def test_the_mended_one_is_not_called_wrong(mended: str) -> None:
    for family, shape, feature in (("planted_support", "2x12", "3"), ("random", "3x8", "1"), ("ties", "3x16", "3")):
        assert Verdict.FAIL not in verdicts(mended, family, shape, feature).values()
