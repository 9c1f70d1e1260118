"""Cases in which a built-in backend once missed the grade that it promises: they stay."""

from __future__ import annotations

import importlib.util

import pytest

from kernelproof.api import verify

CASES = {
    # A sum of 128 terms of which the first is nearly all: BLAS rounded it 127 times.
    "attention order=10000 rule=adaptive:1 dtype=float64 family=tensors shape=2x2x1x128x32x32 feature=layer0.head1": (
        "torch"
    ),
    # The scale of a product, and the mean taken from its cotangents, each rounded several times.
    "entmax alpha=4/3 rule=adaptive:1 dtype=float64 family=two_keys shape=129x2 feature=small": "numba",
    # Keys that Nearest drops took part in the box of a gradient.
    "weights order=3/2 rule=nearest:3:adaptive:1/2 dtype=bfloat16 family=near_ties shape=2x12 feature=16": "torch",
}


@pytest.mark.parametrize("case", CASES)
def test_the_promised_grade_is_kept(case: str) -> None:
    name = CASES[case]
    if name == "torch" and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed; pip install 'kernelproof[torch]'")
    results = verify(name, case=f"{case} seed=0", device="cpu", serial=True)
    assert results.passed
    assert results.targets[0].grade == "A"
