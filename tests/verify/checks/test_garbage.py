"""Garbage: what the check is there to find is found, and the script of the failure shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.verify.witness.planted_faults import PADDING, Fault, Shown, parameters

from kernelproof.api import verify
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.checks.garbage import CHECK, FINITE, KINDS
from kernelproof.verify.record.schema import Verdict

FAULTS = (
    Fault(
        "garbage",
        "leaks",
        "def mixed(self, weights, values, mask):\n    return super().mixed(weights, values, mask) + values.mean()",
        PADDING,
        "Attention",
    ),
    Fault(
        "garbage",
        "product",
        "KERNELPROOF = {**Attention.KERNELPROOF, 'masked_nonfinite': 'ignored'}\n"
        "def mixed(self, weights, values, mask):\n    return weights @ values",
        PADDING,
        "Attention",
    ),
)
EAGER = """
import numpy as np

def fn(q, k, v, mask=None, causal=False):
    k, v = (np.repeat(x, q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    s = q @ np.swapaxes(k, -1, -2) / q.dtype.type(np.sqrt(q.shape[-1]))
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if causal:
        s = np.where(np.tri(*s.shape[-2:], s.shape[-1] - s.shape[-2], dtype=bool), s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    return ((e / e.sum(-1, keepdims=True)) @ v).astype(q.dtype)
"""
BIAS = "attention order=inf rule=adaptive:1 dtype=float32 family=masks shape=2x2x3x8x4x2 feature=low_bias seed=0"


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_a_planted_fault_is_found_and_its_script_shows_it(fault: Fault, shown: Shown) -> None:
    shown(fault)


@pytest.mark.parametrize("case", [PADDING, BIAS])
@pytest.mark.parametrize("promised", [False, True])
def test_nan_behind_a_mask_is_a_remark_and_a_failure_only_where_its_target_promises(
    case: str, *, promised: bool, tmp_path: Path
) -> None:
    file = tmp_path / "eager.py"
    file.write_text(EAGER, encoding="utf-8")
    contract = {"masked_nonfinite": "ignored"} if promised else {}
    target = verify(f"{file}:fn", case=case, contract=contract, serial=True).targets[0]
    found = next(check for check in target.checks if check.id == CHECK.id)
    assert found.verdict is (Verdict.FAIL if promised else Verdict.PASS)
    assert ('declares masked_nonfinite = "ignored"' in target.note) is not promised


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("feature", ["mask", "causal"])
def test_large_numbers_behind_a_mask_make_nothing_overflow(dtype: str, feature: str) -> None:
    line = (
        f"attention order=inf rule=adaptive:1 dtype={dtype} family=padding shape=2x1x3x8x4x2 feature={feature} seed=0"
    )
    case = Case.parse(line)
    call = CHECK.calls(case, inputs_of(case))[f"{FINITE} vjp"]
    q, k, v = (call.inputs.arrays[name].astype(np.float64) for name in "qkv")
    largest = FORMATS[dtype].largest
    assert np.abs(np.einsum("...td,...gsd->...ts", np.abs(q), np.abs(k))).max() < largest
    assert np.abs(np.asarray(call.inputs.cotangent).astype(np.float64)).sum(axis=-1).max() * np.abs(v).max() < largest
    assert max(np.abs(k).max(), np.abs(v).max()) > largest / 2**12
    assert not set(KINDS) & {FINITE}
